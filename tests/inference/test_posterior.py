"""Hands drawn from the Laplace posterior, against the normal distribution they are drawn from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from truth import exact_evidence, noisy, true_hands

from amvur.geometry.rotations import matrix_to_axis_angle
from amvur.hand.landmarks import HandState, landmarks_and_jacobian
from amvur.hand.model import HandModel
from amvur.inference.objective import quadratic
from amvur.inference.posterior import (
    LaplacePosterior,
    aligned_std,
    draw_meshes,
    projected_std,
    square_root_covariance,
)


@pytest.fixture(scope="module")
def truth():
    return true_hands(2, seed=7)


def make_posterior(truth, spread=1.0, side="right", dtype=torch.float32, limits=True):
    """The posterior about the first true hand, its standard deviations times `spread`."""
    evidence = noisy(exact_evidence(truth))
    curvature = quadratic(truth.chain, truth.prior, evidence, truth.state).curvature
    state = HandState(truth.state.rotations[:1], truth.state.betas[:1], truth.state.transl[:1])
    model, prior = HandModel(truth.model.arrays, dtype), truth.prior
    if not limits:
        far = torch.full_like(prior.upper, 10.0)
        prior = replace(prior, lower=-far, upper=far)
    factor = spread * square_root_covariance(curvature, torch.zeros_like(curvature), torch.ones(2))[0]
    return LaplacePosterior(model, prior, state, factor, side)


def test_factor_is_a_root_of_the_inverse_curvature(truth):
    curvature = quadratic(truth.chain, truth.prior, exact_evidence(truth), truth.state).curvature
    factor = square_root_covariance(curvature, torch.zeros_like(curvature), torch.ones(2))
    covariance = factor @ factor.transpose(-1, -2)
    eye = torch.eye(61).expand(2, 61, 61)
    np.testing.assert_allclose(covariance @ curvature, eye, atol=1e-3)


def test_inflation_widens_what_evidence_says_and_leaves_the_prior():
    prior = torch.eye(61, dtype=torch.float64)[None]
    evidence = torch.diag_embed(torch.tensor([[99.0] * 30 + [0.0] * 31], dtype=torch.float64))
    factor = square_root_covariance(prior + evidence, prior, torch.tensor([3.0], dtype=torch.float64))
    variance = factor.square().sum(-1)[0]
    np.testing.assert_allclose(variance[:30], 1 / (1 + 11), rtol=1e-4)
    np.testing.assert_allclose(variance[30:], 1, rtol=1e-4)


def test_directions_without_evidence_get_a_finite_spread():
    curvature = torch.diag_embed(torch.tensor([[1.0] * 60 + [0.0]], dtype=torch.float64))
    factor = square_root_covariance(curvature, torch.zeros_like(curvature), torch.ones(1))
    assert torch.isfinite(factor).all()


def test_drawn_hands_stay_within_the_range_of_motion(truth):
    posterior = make_posterior(truth, spread=20.0, dtype=torch.float64)
    drawn = draw_meshes(posterior, 50, seed=0)
    parents = list(posterior.model.parents[1:])
    local = drawn.bone_rotation[:, parents].transpose(-1, -2) @ drawn.bone_rotation[:, 1:]
    violation = posterior.prior.violation_deg(posterior.prior.angles(matrix_to_axis_angle(local)))
    assert violation.max() < 0.01


def test_joints_scatter_as_the_covariance_says(truth):
    """To first order a joint's covariance is J C Jᵀ; at a tenth of the spread that order is all."""
    posterior = make_posterior(truth, spread=0.1, dtype=torch.float64, limits=False)
    drawn = draw_meshes(posterior, 2000, seed=1).joints
    points, jacobian = landmarks_and_jacobian(truth.chain, posterior.state)
    by_noise = jacobian[0] @ posterior.factor
    np.testing.assert_allclose(drawn.mean(0), points[0], atol=5e-5)
    ours = np.einsum("nka,nkb->kab", drawn - points[0], drawn - points[0]) / len(drawn)
    expected = by_noise @ by_noise.transpose(-1, -2)
    size = torch.diagonal(expected, dim1=-2, dim2=-1).sum(-1)[:, None, None]
    # The standard error of a variance from 1000 independent draws is 4 %.
    assert (np.abs(ours - expected.numpy()) / size.numpy()).max() < 0.15


def test_the_joints_of_a_finger_move_together(truth):
    posterior = make_posterior(truth)
    joints = posterior.sample(400).joints
    off = joints - joints.mean(0)
    correlation = (off[:, 7] * off[:, 8]).sum() / np.sqrt((off[:, 7] ** 2).sum() * (off[:, 8] ** 2).sum())
    assert correlation > 0.6


def test_the_same_seed_draws_the_same_hands(truth):
    posterior = make_posterior(truth)
    one, other, another = (
        posterior.sample(5, seed=3),
        posterior.sample(5, seed=3),
        posterior.sample(5, seed=4),
    )
    np.testing.assert_array_equal(one.vertices, other.vertices)
    np.testing.assert_array_equal(one.joints, other.joints)
    assert np.abs(one.vertices - another.vertices).max() > 1e-5


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_any_number_can_be_drawn(truth, n):
    samples = make_posterior(truth).sample(n)
    assert samples.vertices.shape == (n, 1610, 3)
    assert samples.joints.shape == (n, 21, 3)
    assert samples.vertices.dtype == np.float32
    assert np.isfinite(samples.vertices).all()


def test_a_left_hand_is_drawn_mirrored(truth):
    right, left = make_posterior(truth).sample(3), make_posterior(truth, side="left").sample(3)
    np.testing.assert_array_equal(left.vertices, right.vertices * np.float32([-1, 1, 1]))
    np.testing.assert_array_equal(left.joints, right.joints * np.float32([-1, 1, 1]))


def test_hands_that_differ_by_a_similarity_have_no_spread_left():
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(30, 3)) * 0.05
    hands = [
        rng.uniform(0.5, 2) * turn.apply(mean) + rng.normal(size=3)
        for turn in Rotation.random(50, random_state=0)
    ]
    std = aligned_std(torch.as_tensor(np.array(hands)), torch.as_tensor(mean))
    assert std.dtype == np.float32
    np.testing.assert_allclose(std, 0, atol=1e-9)


def test_spread_after_alignment_is_the_spread_of_the_part_that_moves():
    rng = np.random.default_rng(0)
    mean = torch.as_tensor(rng.normal(size=(2000, 3)))
    hands = mean.repeat(400, 1, 1)
    hands[:, 0] += torch.as_tensor(0.02 * rng.normal(size=(400, 3)))
    std = aligned_std(hands, mean)
    np.testing.assert_allclose(std[0], 0.02, rtol=0.1)
    assert std[1:].max() < 0.001


def test_spread_in_the_picture_is_that_of_the_projected_hands(truth):
    posterior = make_posterior(truth)
    camera = np.array([[500.0, 0, 320], [0, 480.0, 240], [0, 0, 1]])
    drawn = draw_meshes(posterior, 40, seed=0).vertices.double().numpy()
    flat = drawn @ camera.T
    places = flat[..., :2] / flat[..., 2:]
    wanted = np.sqrt(np.square(places - places.mean(0)).mean((0, 2)))
    found = projected_std(torch.as_tensor(drawn).float(), torch.as_tensor(camera))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    assert wanted.max() > 0.1
    # a point that may lie behind the camera may lie anywhere
    drawn[3, 7, 2] = -0.1
    found = projected_std(torch.as_tensor(drawn), torch.as_tensor(camera))
    assert np.isinf(found[7])
    assert np.isfinite(np.delete(found, 7)).all()
