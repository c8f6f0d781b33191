"""The solver on hands of known pose."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_objective import BLOCKS
from truth import aligned_error_mm, exact_evidence, moved, noisy, true_hands

from amvur.geometry.cameras import project
from amvur.hand.landmarks import HandState, landmarks
from amvur.inference.evidence import repeat, start_states
from amvur.inference.fit import FitSettings, best_of_starts, fit, retract, solve_translation
from amvur.inference.objective import DETECTED, Evidence, quadratic


@pytest.fixture(scope="module")
def truth():
    return true_hands(8)


def fitted(truth, evidence, settings=None):
    starts, n_starts = start_states(truth.chain, truth.prior, evidence, truth.prior.mean[None])
    result = fit(truth.chain, truth.prior, repeat(evidence, n_starts), starts, settings)
    return best_of_starts(result, n_starts)


def one_of(evidence, i):
    return Evidence(*(getattr(evidence, name)[i : i + 1] for name in DETECTED))


def all_finite(result):
    values = (*vars(result.state).values(), result.cost, result.curvature)
    return all(bool(torch.isfinite(value).all()) for value in values)


def test_retract_is_scipys_step(truth):
    step = 0.3 * np.random.default_rng(0).normal(size=61)
    ours = retract(truth.state, torch.as_tensor(step).expand(len(truth), -1))
    for name, expected in vars(moved(truth.state, step)).items():
        np.testing.assert_allclose(getattr(ours, name), expected, atol=1e-12)


def test_exact_evidence_gives_the_hand_back(truth):
    result = fitted(truth, exact_evidence(truth))
    assert result.converged.all()
    found = landmarks(truth.chain, result.state)
    assert aligned_error_mm(found, truth.points).max() < 0.5
    # One camera cannot tell size from distance: the prior over size draws both towards the mean hand's.
    assert ((found - truth.points).norm(dim=-1) / truth.points.norm(dim=-1)).max() < 0.15
    pixels = project(found, torch.as_tensor(exact_evidence(truth).intrinsics))
    assert (pixels - exact_evidence(truth).joints_2d).norm(dim=-1).max() < 1


@pytest.mark.parametrize(("block", "limit_mm"), [("pixels", 12.0), ("marks", 1.0)])
def test_each_evidence_alone_gives_the_articulation(block, limit_mm):
    truth = true_hands(3, seed=5)
    evidence = exact_evidence(truth, **BLOCKS[block])
    if block == "marks":  # 3D landmarks say nothing of the place
        evidence = replace(evidence, joints_2d_weight=evidence.joints_2d_weight + 1e-3)
    result = fitted(truth, evidence)
    error = aligned_error_mm(landmarks(truth.chain, result.state), truth.points)
    assert error.max() < limit_mm
    assert np.median(error) < 3


def test_another_convention_is_fitted_with_its_offsets():
    offsets = 0.004 * torch.as_tensor(np.random.default_rng(0).normal(size=(21, 3)))
    truth = true_hands(4, seed=2, offsets=offsets)
    result = fitted(truth, exact_evidence(truth))
    assert aligned_error_mm(landmarks(truth.chain, result.state), truth.points).max() < 0.5


def test_an_outlier_is_disregarded(truth):
    evidence = exact_evidence(truth)
    joints = evidence.joints_2d.clone()
    joints[:, 12] += 80
    result = fitted(truth, replace(evidence, joints_2d=joints))
    assert aligned_error_mm(landmarks(truth.chain, result.state), truth.points).max() < 1


def test_a_batch_is_its_hands_one_by_one(truth):
    evidence = noisy(exact_evidence(truth))
    together = fitted(truth, evidence)
    for i in (0, 3, 7):
        alone = fitted(truth, one_of(evidence, i))
        np.testing.assert_allclose(alone.cost[0], together.cost[i], rtol=1e-6)
        np.testing.assert_allclose(alone.state.transl[0], together.state.transl[i], atol=1e-6)
        np.testing.assert_allclose(alone.state.rotations[0], together.state.rotations[i], atol=1e-5)


def test_the_optimum_is_one(truth):
    evidence = noisy(exact_evidence(truth))
    result = fitted(truth, evidence, FitSettings(max_steps=100, tolerance=1e-9))
    optimum = quadratic(truth.chain, truth.prior, evidence, result.state)
    np.testing.assert_allclose(optimum.cost, result.cost)
    np.testing.assert_allclose(optimum.curvature, result.curvature)
    newton = -torch.linalg.solve(optimum.curvature, optimum.gradient[..., None])[..., 0]
    assert (newton.abs() < 1e-2 * torch.linalg.inv(optimum.curvature).diagonal(dim1=1, dim2=2).sqrt()).all()
    for seed in range(3):
        other = moved(result.state, 0.01 * np.random.default_rng(seed).normal(size=61))
        assert (quadratic(truth.chain, truth.prior, evidence, other).cost > result.cost).all()


@pytest.mark.parametrize("degrees", [30, 60])
def test_a_start_that_is_turned_away_still_leads_there(truth, degrees):
    evidence = exact_evidence(truth)
    starts, _ = start_states(truth.chain, truth.prior, evidence, truth.prior.mean[None])
    step = np.zeros(61)
    step[:3] = np.radians(degrees) * np.array([1, -2, 2]) / 3
    step[58:] = 0.05, -0.05, 0.2
    result = fit(truth.chain, truth.prior, evidence, moved(starts, step))
    error = aligned_error_mm(landmarks(truth.chain, result.state), truth.points)
    assert np.median(error) < 0.5
    assert np.mean(error < 1) > 0.7


def test_the_best_of_bad_and_good_starts_is_kept(truth):
    evidence = exact_evidence(truth)
    good, _ = start_states(truth.chain, truth.prior, evidence, truth.prior.mean[None])
    bad = moved(good, np.r_[3.0, np.zeros(60)])
    mixed = HandState(
        *(
            torch.stack([b, g, b], 1).flatten(0, 1)
            for b, g in zip(vars(bad).values(), vars(good).values(), strict=True)
        )
    )
    result = best_of_starts(fit(truth.chain, truth.prior, repeat(evidence, 3), mixed), 3)
    assert aligned_error_mm(landmarks(truth.chain, result.state), truth.points).max() < 0.5


def test_converged_says_whether_it_is(truth):
    evidence = exact_evidence(truth)
    assert not fitted(truth, evidence, FitSettings(max_steps=1)).converged.any()
    assert fitted(truth, evidence, FitSettings(max_steps=60)).converged.all()


def test_no_step_makes_it_worse(truth):
    evidence = noisy(exact_evidence(truth), amount=5)
    costs = [fitted(truth, evidence, FitSettings(max_steps=n)).cost for n in (1, 2, 4, 8, 16)]
    assert (torch.stack(costs).diff(dim=0) <= 0).all()


@pytest.mark.parametrize("kind", ["noise", "one point", "a line", "far away", "nothing", "flat in 3D"])
def test_nonsense_gives_finite_numbers(kind):
    truth = true_hands(2, seed=3)
    evidence, rng = exact_evidence(truth), np.random.default_rng(0)
    line = torch.linspace(0, 1, 21, dtype=torch.float64)
    changes = {
        "noise": {"joints_2d": rng.uniform(0, 640, (2, 21, 2)), "landmarks_3d": rng.normal(size=(2, 21, 3))},
        "one point": {"joints_2d": np.full((2, 21, 2), 100.0), "landmarks_3d": np.zeros((2, 21, 3))},
        "a line": {"joints_2d": (100 * line[:, None]).expand(2, 21, 2), "depth": (9 * line).expand(2, 21)},
        "far away": {"joints_2d": 1e7 * evidence.joints_2d, "depth": 1e7 * evidence.depth},
        "nothing": {"joints_2d_weight": np.zeros((2, 21)), "depth_weight": np.zeros((2, 21))},
        "flat in 3D": {"landmarks_3d": evidence.landmarks_3d * torch.tensor([1.0, 1.0, 0.0])},
    }[kind]
    evidence = replace(evidence, **{name: torch.as_tensor(value) for name, value in changes.items()})
    assert all_finite(fitted(truth, evidence))


def test_translation_of_an_exact_hand_is_found_at_once(truth):
    lost = HandState(truth.state.rotations, truth.state.betas, torch.zeros_like(truth.state.transl))
    found = solve_translation(truth.chain, exact_evidence(truth), lost)
    np.testing.assert_allclose(found.transl, truth.state.transl, atol=1e-6)


def test_translation_never_lies_behind_the_camera(truth):
    evidence = exact_evidence(truth)
    turned = replace(evidence, joints_2d=2 * evidence.intrinsics[:, None, :2, 2] - evidence.joints_2d)
    found = solve_translation(truth.chain, turned, truth.state)
    assert (found.transl[:, 2] > 0).all()
