"""A detector's landmarks: against scipy's densities, finite differences, and what must not count."""

from dataclasses import replace

import numpy as np
import pytest
from laws import assert_finite, assert_gradient, assert_hessian, assert_same, minus_log_t
from scipy.spatial.transform import Rotation
from truth import INTRINSICS, exact_observations, nearby, noisy, project_numpy, similar, true_hands

from amvur.inference.estimator.landmark_term import LandmarkTerm

PARTS = {
    "pixels": {"depth": False, "marks": False},
    "depth": {"pixels": False, "marks": False},
    "marks": {"pixels": False, "depth": False},
    "all": {},
}
OFFSETS = 0.01 * np.random.default_rng(0).normal(size=(21, 3))


@pytest.fixture(scope="module")
def truth():
    return true_hands(3, seed=1, offsets=OFFSETS)


def term_of(truth, seen):
    return LandmarkTerm(truth.hand, truth.landmarks, seen)


@pytest.mark.parametrize("part", PARTS)
def test_derivatives_are_finite_differences(truth, part):
    seen = exact_observations(truth, **PARTS[part])
    assert_gradient(term_of(truth, noisy(seen)), nearby(truth))
    assert_hessian(term_of(truth, seen), truth.state)


def test_cost_is_minus_the_logarithm_of_the_stated_densities(truth):
    seen, state = noisy(exact_observations(truth)), nearby(truth)
    points = truth.place(state)
    off = (project_numpy(points) - seen.joints_2d) * seen.joints_2d_weight[..., None]
    wrist, focal = points[:, :1, 2], (INTRINSICS[0, 0] + INTRINSICS[1, 1]) / 2
    deep = (focal * (points[..., 2] - wrist) / wrist - seen.depth) * seen.depth_weight
    marks = np.stack([similar(a, b) for a, b in zip(seen.landmarks_3d, points, strict=True)])
    shape = ((points - marks) * seen.landmarks_3d_weight[..., None]).reshape(len(truth), 63)
    expected = sum(minus_log_t(*each).sum(-1) for each in ((off, 2), (deep, 1), (shape, 63)))
    np.testing.assert_allclose(term_of(truth, seen)(state).cost, expected, rtol=1e-6)


def test_what_has_no_weight_has_no_effect(truth):
    seen, state, weights, changed = noisy(exact_observations(truth)), nearby(truth), {}, {}
    for name in ("joints_2d", "depth", "landmarks_3d"):
        weights[f"{name}_weight"] = getattr(seen, f"{name}_weight").copy()
        weights[f"{name}_weight"][:, 5:9] = 0
        changed[name] = getattr(seen, name).copy()
        changed[name][:, 5:9] += 1000.0
    seen = replace(seen, **weights)
    one, other = term_of(truth, seen)(state), term_of(truth, replace(seen, **changed))(state)
    assert_same(one, other, rtol=1e-7, atol=1e-6)


def test_landmarks_in_3d_count_up_to_a_similarity(truth):
    seen, state = noisy(exact_observations(truth, **PARTS["marks"])), nearby(truth)
    turn = Rotation.random(random_state=4).as_matrix()
    elsewhere = replace(seen, landmarks_3d=0.1 * seen.landmarks_3d @ turn.T + [3.0, -2, 1])
    assert_same(term_of(truth, seen)(state), term_of(truth, elsewhere)(state), rtol=1e-5, atol=1e-4)


def test_nothing_seen_and_hands_behind_the_camera_give_finite_numbers(truth):
    unseen = exact_observations(truth, pixels=False, depth=False, marks=False)
    nothing = term_of(truth, unseen)(truth.state)
    for values in vars(nothing).values():
        np.testing.assert_array_equal(values, 0)
    behind = replace(truth.state, transl=truth.state.transl * [1, 1, -1.0])
    assert_finite(term_of(truth, exact_observations(truth))(behind))
