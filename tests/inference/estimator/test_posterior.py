"""Hands drawn from the Laplace posterior, against the normal distribution they are drawn from."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from truth import exact_observations, noisy, true_hands

from amvur.hand.kinematics import axis_angles
from amvur.hand.posing import HandPoser
from amvur.inference.estimator.config import EstimatorConfig
from amvur.inference.estimator.landmark_term import LandmarkTerm
from amvur.inference.estimator.posterior import (
    LaplacePosterior,
    aligned_std,
    square_root_covariance,
)
from amvur.inference.estimator.prior_term import AnatomicalPrior
from amvur.inference.estimator.term import total


@pytest.fixture(scope="module")
def truth():
    return true_hands(2, seed=7)


@pytest.fixture(scope="module")
def curvature(truth):
    seen = noisy(exact_observations(truth))
    terms = AnatomicalPrior(truth.prior, EstimatorConfig()), LandmarkTerm(truth.hand, truth.landmarks, seen)
    return total(terms, truth.state).curvature


@pytest.fixture(scope="module")
def posterior_of(truth, curvature):
    """The posterior about the first true hand, its standard deviations times `spread`."""
    factor = square_root_covariance(curvature, np.zeros_like(curvature), np.ones(2))[0]

    def make(spread=1.0, side="right", dtype=np.float32, prior=truth.prior):
        return LaplacePosterior(HandPoser(truth.arrays, dtype), prior, truth.state[:1], spread * factor, side)

    return make


def test_factor_is_a_root_of_the_inverse_curvature(curvature):
    factor = square_root_covariance(curvature, np.zeros_like(curvature), np.ones(2))
    covariance = factor @ factor.swapaxes(-1, -2)
    np.testing.assert_allclose(covariance @ curvature, np.tile(np.eye(61), (2, 1, 1)), atol=1e-3)


def test_inflation_widens_what_was_observed_and_leaves_the_prior():
    prior, observed = np.eye(61)[None], np.diag([99.0] * 30 + [0.0] * 31)[None]
    factor = square_root_covariance(prior + observed, prior, np.array([3.0]))
    variance = np.square(factor).sum(-1)[0]
    np.testing.assert_allclose(variance[:30], 1 / (1 + 11), rtol=1e-4)
    np.testing.assert_allclose(variance[30:], 1, rtol=1e-4)


def test_directions_of_which_nothing_is_known_get_a_finite_spread():
    curvature = np.diag([1.0] * 60 + [0.0])[None]
    assert np.isfinite(square_root_covariance(curvature, 0 * curvature, np.ones(1))).all()


def test_drawn_hands_stay_within_the_range_of_motion(truth, posterior_of):
    drawn = posterior_of(spread=20.0, dtype=np.float64).draw(50, seed=0)
    parents = list(truth.arrays.parents[1:])
    local = drawn.bone_rotation[:, parents].swapaxes(-1, -2) @ drawn.bone_rotation[:, 1:]
    angles = truth.prior.angles(axis_angles(local))
    assert np.degrees(np.maximum(angles - truth.prior.upper, truth.prior.lower - angles)).max() < 0.01


def test_joints_scatter_as_the_covariance_says(truth, posterior_of):
    """To first order a joint's covariance is J C Jᵀ; at a tenth of the spread that order is all."""
    far = replace(truth.prior, lower=np.full(45, -10.0), upper=np.full(45, 10.0))
    posterior = posterior_of(spread=0.1, dtype=np.float64, prior=far)
    drawn = posterior.draw(2000, seed=1).joints
    points, jacobian = (x[0] for x in truth.hand.place_with_jacobian(truth.hand.joints, posterior.state))
    by_noise = jacobian @ posterior.factor
    np.testing.assert_allclose(drawn.mean(0), points, atol=5e-5)
    ours = np.einsum("nka,nkb->kab", drawn - points, drawn - points) / len(drawn)
    expected = by_noise @ by_noise.swapaxes(-1, -2)
    size = np.einsum("kaa->k", expected)[:, None, None]
    # The standard error of a variance from 1000 independent draws is 4 %.
    assert (np.abs(ours - expected) / size).max() < 0.15


def test_the_joints_of_a_finger_move_together(posterior_of):
    joints = posterior_of().sample(400).joints
    off = joints - joints.mean(0)
    correlation = (off[:, 7] * off[:, 8]).sum() / np.sqrt((off[:, 7] ** 2).sum() * (off[:, 8] ** 2).sum())
    assert correlation > 0.6


def test_the_same_seed_draws_the_same_hands(posterior_of):
    one, other, another = (posterior_of().sample(5, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.vertices, other.vertices)
    np.testing.assert_array_equal(one.joints, other.joints)
    assert np.abs(one.vertices - another.vertices).max() > 1e-5


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_any_number_can_be_drawn(posterior_of, n):
    samples = posterior_of().sample(n)
    assert samples.vertices.shape == (n, 1610, 3)
    assert samples.joints.shape == (n, 21, 3)
    assert samples.vertices.dtype == np.float32
    assert np.isfinite(samples.vertices).all()


def test_a_left_hand_is_drawn_mirrored(posterior_of):
    right, left = posterior_of().sample(3), posterior_of(side="left").sample(3)
    np.testing.assert_array_equal(left.vertices, right.vertices * np.float32([-1, 1, 1]))
    np.testing.assert_array_equal(left.joints, right.joints * np.float32([-1, 1, 1]))


def test_hands_that_differ_by_a_similarity_have_no_spread_left(rng):
    mean = rng.normal(size=(30, 3)) * 0.05
    turns = Rotation.random(50, random_state=0)
    hands = np.stack([rng.uniform(0.5, 2) * turn.apply(mean) + rng.normal(size=3) for turn in turns])
    std = aligned_std(hands, mean)
    assert std.dtype == np.float32
    np.testing.assert_allclose(std, 0, atol=1e-9)


def test_spread_after_alignment_is_the_spread_of_the_part_that_moves(rng):
    mean = rng.normal(size=(500, 3))
    hands = np.tile(mean, (400, 1, 1))
    hands[:, 0] += 0.02 * rng.normal(size=(400, 3))
    std = aligned_std(hands, mean)
    np.testing.assert_allclose(std[0], 0.02, rtol=0.1)
    assert std[1:].max() < 0.001
