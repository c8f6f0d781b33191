"""A network's word: against scipy's densities, finite differences, and a network that saw nothing."""

import numpy as np
import pytest
from laws import assert_gradient, assert_hessian, assert_nothing, minus_log_t
from told_joints import told_joints
from truth import nearby, project_numpy, true_hands

from amvur.inference.estimator.network_term import NetworkTerm
from amvur.inference.estimator.observation import NetworkObservations


@pytest.fixture(scope="module")
def truth():
    return true_hands(2, seed=1)


def term_of(truth, seen):
    return NetworkTerm(truth.hand, seen, truth.intrinsics)


def test_derivatives_are_finite_differences(truth):
    assert_gradient(term_of(truth, told_joints(truth)), nearby(truth))
    assert_hessian(term_of(truth, told_joints(truth, amount=0)), truth.state)


def test_cost_is_minus_the_logarithm_of_the_stated_densities(truth):
    seen, state = told_joints(truth), nearby(truth)
    points = truth.hand.place(truth.hand.joints, state)
    relative = points - points[:, :1] - seen.relative_joints
    deep = np.einsum("bkij,bkj->bki", seen.relative_weight, relative)
    flat = (project_numpy(points) - seen.joints_2d) * seen.joints_2d_weight
    expected = minus_log_t(deep, 3).sum(-1) + minus_log_t(flat, 2).sum(-1)
    np.testing.assert_allclose(term_of(truth, seen)(state).cost, expected, rtol=1e-9)


def test_a_network_that_saw_nothing_has_no_effect(truth):
    blind = NetworkObservations(*(np.zeros_like(x) for x in vars(told_joints(truth)).values()))
    assert_nothing(term_of(truth, blind)(nearby(truth)))
    assert not blind.present.any()
