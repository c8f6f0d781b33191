"""The prior over pose, shape and distance, against its densities and finite differences."""

from dataclasses import replace

import numpy as np
import pytest
from factories import random_hand
from laws import assert_finite, assert_gradient
from scipy.spatial.transform import Rotation
from scipy.stats import multivariate_normal, norm
from truth import moved, nearby, true_hands

from amvur.hand.kinematics import HandState
from amvur.hand.prior_arrays import prior_arrays
from amvur.inference.estimator.config import EstimatorConfig
from amvur.inference.estimator.prior_term import AnatomicalPrior, inverse_right_jacobian


@pytest.fixture(scope="module")
def truth():
    return true_hands(3, seed=1)


@pytest.mark.parametrize("kind", ["open", "random"])
def test_gradient_is_the_finite_difference_of_the_cost(truth, kind):
    prior = truth.prior if kind == "open" else prior_arrays(random_hand(2))
    assert_gradient(AnatomicalPrior(prior, EstimatorConfig()), nearby(truth, 0.3))


def test_cost_is_minus_the_logarithm_of_the_stated_densities(truth):
    """But for a constant: the difference of two states'. Beyond the limits, half-normals of 4 degrees."""
    prior, wanted, states = truth.prior, [], (truth.state, nearby(truth, 0.4))
    for state in states:
        turns = Rotation.from_matrix(state.rotations[:, 1:].reshape(-1, 3, 3)).as_rotvec().reshape(-1, 15, 3)
        angles = np.einsum("kij,bkj->bki", prior.axes, turns).reshape(-1, 45)
        over = np.maximum(angles - prior.upper, prior.lower - angles).clip(0)
        density = multivariate_normal(prior.mean, np.linalg.inv(prior.precision)).logpdf(angles)
        density += norm(0, np.radians(4)).logpdf(over).sum(-1) + norm.logpdf(state.betas).sum(-1)
        wanted.append(-density - norm(np.log(0.5), 1).logpdf(np.log(state.transl[:, 2])))
    ours = [AnatomicalPrior(prior, EstimatorConfig())(state).cost for state in states]
    np.testing.assert_allclose(ours[1] - ours[0], wanted[1] - wanted[0], rtol=1e-8)


def test_it_says_nothing_of_attitude_and_place_across(truth):
    result, outside = AnatomicalPrior(truth.prior, EstimatorConfig())(truth.state), [0, 1, 2, 58, 59]
    assert (result.gradient[:, outside] == 0).all()
    assert (result.curvature[:, outside] == 0).all()
    np.testing.assert_array_equal(result.gradient[:, 48:58], truth.state.betas)


def test_leaving_the_range_of_motion_costs_more_and_more(truth):
    flexion = truth.prior.axes[1, 0]  # of the index finger's middle joint
    straight = truth.state.rotations.copy()
    straight[:, 2] = np.eye(3)
    costs = []
    for degrees in (0, -20, -40, -60):
        step = np.zeros(61)
        step[6:9] = np.radians(degrees) * flexion
        costs.append(
            AnatomicalPrior(truth.prior, EstimatorConfig())(
                moved(replace(truth.state, rotations=straight), step)
            ).cost
        )
    growth = np.diff(costs, axis=0)
    assert (growth > 0).all()
    assert (np.diff(growth, axis=0) > 0).all()


def test_a_hand_behind_the_camera_gives_finite_numbers(truth):
    state = truth.state
    assert_finite(
        AnatomicalPrior(truth.prior, EstimatorConfig())(
            HandState(state.rotations, state.betas, -state.transl)
        )
    )


@pytest.mark.parametrize("angle", [0.0, 1e-8, 0.9e-3, 1.1e-3, 1.0, 3.0])
def test_an_axis_angle_moves_with_a_turn_in_the_bodys_frame(angle):
    axis, h = np.array([2.0, -1.0, 2.0]) / 3, 1e-6
    start = Rotation.from_rotvec(angle * axis)
    turned = [[(start * Rotation.from_rotvec(s * h * e)).as_rotvec() for s in (1, -1)] for e in np.eye(3)]
    numeric = np.stack([(ahead - behind) / (2 * h) for ahead, behind in turned], -1)
    np.testing.assert_allclose(inverse_right_jacobian(angle * axis), numeric, atol=1e-8)
