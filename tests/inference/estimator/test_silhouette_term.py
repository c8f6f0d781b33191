"""Points of the skin on lines of the picture: against scipy's density and finite differences."""

from dataclasses import replace

import numpy as np
import pytest
from laws import assert_gradient, assert_hessian, assert_nothing, minus_log_t
from truth import moved, nearby, project_numpy, true_hands

from amvur.inference.estimator.silhouette_term import Contours, SilhouetteTerm


@pytest.fixture(scope="module")
def truth():
    return true_hands(2, seed=1)


def contours_of(truth, off_px=3.0, m=9, weight=0.7):
    """Random points of the skin, each on a random line some pixels from it."""
    rng = np.random.default_rng(2)
    vertex = rng.integers(0, len(truth.arrays.v_template), (len(truth), m))
    surface = truth.hand.skin(truth.state, vertex)
    normals = rng.normal(size=(len(truth), m, 2))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    places = project_numpy(truth.hand.place(surface, truth.state)) + off_px * rng.normal(size=normals.shape)
    return Contours(surface, places, normals, np.full(vertex.shape, weight))


def term_of(truth, seen):
    return SilhouetteTerm(truth.hand, seen, truth.intrinsics)


def test_the_cost_is_that_of_the_distances_from_the_lines(truth):
    seen, state = contours_of(truth), nearby(truth, 0.02)
    off = project_numpy(truth.hand.place(seen.surface, state)) - seen.places
    wanted = minus_log_t((off * seen.normals).sum(-1) * 0.7, 1).sum(-1)
    np.testing.assert_allclose(term_of(truth, seen)(state).cost, wanted, rtol=1e-9)
    # along its line a point may move as it likes
    slid = replace(seen, places=seen.places + 50 * seen.normals[..., ::-1] * [1.0, -1.0])
    np.testing.assert_allclose(term_of(truth, slid)(state).cost, wanted, rtol=1e-9)


def test_derivatives_are_finite_differences(truth):
    assert_gradient(term_of(truth, contours_of(truth)), moved(truth.state, np.full(61, 0.01)))
    assert_hessian(term_of(truth, contours_of(truth, off_px=0.0)), truth.state)


def test_points_without_weight_have_no_effect(truth):
    assert_nothing(term_of(truth, contours_of(truth, weight=0.0))(truth.state))


def test_hands_may_have_no_points(truth):
    assert_nothing(term_of(truth, contours_of(truth, m=0))(truth.state))
