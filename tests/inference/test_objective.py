"""The objective against independent densities, and its derivatives against finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import multivariate_t
from truth import INTRINSICS, aligned_error_mm, exact_evidence, moved, noisy, project_numpy, true_hands

from amvur.hand.landmarks import N_PARAMETERS, landmarks
from amvur.inference.objective import DEGREES_OF_FREEDOM, quadratic

BLOCKS = {
    "prior": {"pixels": False, "depth": False, "marks": False},
    "pixels": {"pixels": True, "depth": False, "marks": False},
    "depth": {"pixels": False, "depth": True, "marks": False},
    "marks": {"pixels": False, "depth": False, "marks": True},
    "all": {"pixels": True, "depth": True, "marks": True},
}
NU = DEGREES_OF_FREEDOM


@pytest.fixture(scope="module")
def truth():
    return true_hands(3, seed=1)


def nearby(truth, scale=0.1, seed=3):
    """States next to the truth, so that no residual is zero."""
    return moved(truth.state, scale * np.random.default_rng(seed).normal(size=61) * ([1] * 58 + [0.1] * 3))


def at(truth, evidence, state):
    return quadratic(truth.chain, truth.prior, evidence, state)


def minus_log_t(residual, dimension):
    """-ln of Student's t per row, 0 at residual 0: scipy's."""
    density = multivariate_t(loc=np.zeros(dimension), shape=np.eye(dimension), df=NU)
    return density.logpdf(np.zeros(dimension)) - density.logpdf(residual.reshape(-1, dimension))


@pytest.mark.parametrize("block", BLOCKS)
def test_gradient_is_the_finite_difference_of_the_cost(truth, block):
    evidence, state, h = noisy(exact_evidence(truth, **BLOCKS[block])), nearby(truth), 1e-6
    gradient = at(truth, evidence, state).gradient
    numeric = torch.zeros_like(gradient)
    for i, step in enumerate(h * np.eye(N_PARAMETERS)):
        costs = [at(truth, evidence, moved(state, sign * step)).cost for sign in (1, -1)]
        numeric[:, i] = (costs[0] - costs[1]) / (2 * h)
    scale = gradient.abs().amax(-1, keepdim=True)
    assert ((gradient - numeric).abs() / scale).max() < 1e-5


@pytest.mark.parametrize("block", ["pixels", "depth", "marks", "all"])
def test_curvature_is_the_hessian_where_the_evidence_fits(truth, block):
    """There the residuals vanish, and with them all that Gauss-Newton and the weights leave out."""
    evidence, nothing = (exact_evidence(truth, **BLOCKS[b]) for b in (block, "prior"))
    h = 1e-6

    def gradient(state):
        return at(truth, evidence, state).gradient - at(truth, nothing, state).gradient

    curvature = at(truth, evidence, truth.state).curvature - at(truth, nothing, truth.state).curvature
    hessian = torch.stack(
        [
            (gradient(moved(truth.state, step)) - gradient(moved(truth.state, -step))) / (2 * h)
            for step in h * np.eye(N_PARAMETERS)
        ],
        -1,
    )
    scale = torch.diagonal(curvature, dim1=-2, dim2=-1).amax(-1)[:, None, None]
    assert ((curvature - hessian).abs() / scale).max() < 1e-5


@pytest.mark.parametrize("block", BLOCKS)
def test_curvature_is_symmetric_and_not_negative(truth, block):
    result = at(truth, noisy(exact_evidence(truth, **BLOCKS[block]), amount=3), nearby(truth, 0.3))
    curvature = result.curvature
    np.testing.assert_allclose(curvature, curvature.transpose(-1, -2), rtol=1e-9, atol=1e-6)
    lowest = torch.linalg.eigvalsh(curvature)[:, 0]
    assert (lowest > -1e-9 * torch.diagonal(curvature, dim1=-2, dim2=-1).amax(-1)).all()
    if block in ("pixels", "all"):
        assert (lowest > 0).all()


def test_cost_is_minus_the_logarithm_of_the_stated_densities(truth):
    state = nearby(truth)
    evidence = noisy(exact_evidence(truth))
    nothing = exact_evidence(truth, **BLOCKS["prior"])
    points = landmarks(truth.chain, state).numpy()
    weight = evidence.joints_2d_weight.numpy()
    off = (project_numpy(points) - evidence.joints_2d.numpy()) * weight[..., None]
    wrist, focal = points[:, :1, 2], (INTRINSICS[0, 0] + INTRINSICS[1, 1]) / 2
    deep = (focal * (points[..., 2] - wrist) / wrist - evidence.depth.numpy()) * evidence.depth_weight.numpy()
    for i in range(len(truth)):
        marks, target = evidence.landmarks_3d[i].numpy(), points[i]
        turn, _ = Rotation.align_vectors(target - target.mean(0), marks - marks.mean(0))
        centred = turn.apply(marks - marks.mean(0))
        size = (centred * (target - target.mean(0))).sum() / (centred**2).sum()
        shape = (target - target.mean(0) - size * centred) * evidence.landmarks_3d_weight[i, 0].item()
        expected = minus_log_t(off[i], 2).sum() + minus_log_t(deep[i], 1).sum() + minus_log_t(shape, 63).sum()
        ours = at(truth, evidence, state).cost[i] - at(truth, nothing, state).cost[i]
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_small_residuals_cost_as_normal_ones(truth):
    """Student's t with ν degrees of freedom curves as a normal of variance ν/(ν+d) at its top."""
    evidence = exact_evidence(truth, **BLOCKS["pixels"])
    nothing = exact_evidence(truth, **BLOCKS["prior"])
    state = moved(truth.state, 2e-5 * np.random.default_rng(0).normal(size=61))
    off = project_numpy(landmarks(truth.chain, state).numpy()) - evidence.joints_2d.numpy()
    squared = ((off * evidence.joints_2d_weight.numpy()[..., None]) ** 2).sum((1, 2))
    ours = at(truth, evidence, state).cost - at(truth, nothing, state).cost
    np.testing.assert_allclose(ours, 0.5 * (NU + 2) / NU * squared, rtol=1e-3)


def test_an_outlier_pulls_less_the_further_it_is(truth):
    evidence = exact_evidence(truth, **BLOCKS["pixels"])
    pulls = []
    for far in (20.0, 200.0, 2000.0):
        joints = evidence.joints_2d.clone()
        joints[:, 8, 0] += far
        wrong = at(truth, replace(evidence, joints_2d=joints), truth.state)
        pulls.append((wrong.gradient - at(truth, evidence, truth.state).gradient).norm(dim=-1))
    assert (pulls[0] > pulls[1]).all()
    assert (pulls[1] > pulls[2]).all()


def test_what_has_no_weight_has_no_effect(truth):
    evidence, state = noisy(exact_evidence(truth)), nearby(truth)
    weights = {}
    for name in ("joints_2d_weight", "depth_weight", "landmarks_3d_weight"):
        weights[name] = getattr(evidence, name).clone()
        weights[name][:, 5:9] = 0
    evidence = replace(evidence, **weights)
    changed = {}
    for name in ("joints_2d", "depth", "landmarks_3d"):
        changed[name] = getattr(evidence, name).clone()
        changed[name][:, 5:9] += 1000.0
    one, other = at(truth, evidence, state), at(truth, replace(evidence, **changed), state)
    for name in ("cost", "gradient", "curvature"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-7, atol=1e-6)


def test_no_evidence_at_all_leaves_the_prior(truth):
    result = at(truth, exact_evidence(truth, **BLOCKS["prior"]), truth.state)
    assert torch.isfinite(result.curvature).all()
    outside = [0, 1, 2, 58, 59]  # attitude and place across, of which the prior says nothing
    assert (result.gradient[:, outside] == 0).all()
    assert (result.curvature[:, outside] == 0).all()
    np.testing.assert_array_equal(result.gradient[:, 48:58], truth.state.betas)


def test_landmarks_in_3d_count_up_to_a_similarity(truth):
    evidence, state = noisy(exact_evidence(truth, **BLOCKS["marks"])), nearby(truth)
    turn = torch.as_tensor(Rotation.random(random_state=4).as_matrix())
    moved_marks = 0.1 * evidence.landmarks_3d @ turn.T + torch.tensor([3.0, -2, 1])
    one, other = at(truth, evidence, state), at(truth, replace(evidence, landmarks_3d=moved_marks), state)
    np.testing.assert_allclose(one.cost, other.cost, rtol=1e-6)
    np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(aligned_error_mm(evidence.landmarks_3d, moved_marks), 0, atol=1e-6)


def test_leaving_the_range_of_motion_costs_more_and_more(truth):
    evidence = exact_evidence(truth, **BLOCKS["prior"])
    flexion = truth.prior.axes[1, 0].numpy()  # of the index finger's middle joint
    costs = []
    for degrees in (0, -20, -40, -60):
        step = np.zeros(61)
        step[6:9] = np.radians(degrees) * flexion
        straight = truth.state.rotations.clone()
        straight[:, 2] = torch.eye(3)
        costs.append(at(truth, evidence, moved(replace(truth.state, rotations=straight), step)).cost.numpy())
    growth = np.diff(costs, axis=0)
    assert (growth > 0).all()
    assert (np.diff(growth, axis=0) > 0).all()


def test_a_hand_behind_the_camera_gives_finite_numbers(truth):
    behind = replace(truth.state, transl=truth.state.transl * torch.tensor([1, 1, -1.0]))
    result = at(truth, exact_evidence(truth), behind)
    for name in ("cost", "gradient", "curvature"):
        assert torch.isfinite(getattr(result, name)).all()
