"""Maximum a posteriori hands from landmarks: batched Levenberg–Marquardt with an analytic Jacobian.

The objective is -ln P(evidence | hand, camera) - ln P(hand) (`docs/method.md`): Student-t residuals
of 2D joints, of landmark depth and of 3D landmarks known up to a similarity, and the prior of
`amvur.hand.prior`. Every hand is a right hand here; left ones are mirrored before and after.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.hand.landmarks import BETAS, N_BONES, TRANSL, HandState, LandmarkChain, landmarks
from amvur.hand.prior import HandPrior
from amvur.inference.objective import Evidence, quadratic
from amvur.inference.prior_terms import prior_quadratic
from amvur.inference.quadratic import Quadratic

_T = TypeVar("_T", HandState, Quadratic)


@dataclass(frozen=True)
class FitSettings:
    """How far the solver goes: it stops when no hand's objective falls by more than `tolerance`."""

    max_steps: int = 25
    tolerance: float = 1e-3
    initial_damping: float = 1e-2
    max_damping: float = 1e6


@dataclass(frozen=True)
class FitResult:
    """The optimum of every hand, its objective and the curvature there: all of it, and the prior's part."""

    state: HandState
    cost: Float[Tensor, "B"]
    curvature: Float[Tensor, "B 61 61"]
    prior_curvature: Float[Tensor, "B 61 61"]
    converged: Bool[Tensor, "B"]


def retract(state: HandState, step: Float[Tensor, "B 61"]) -> HandState:
    """Move a state along a step of the 61 parameters: bones turn in their own frames."""
    turn = axis_angle_to_matrix(step[:, : 3 * N_BONES].unflatten(-1, (N_BONES, 3)))
    return HandState(
        rotations=state.rotations @ turn,
        betas=state.betas + step[:, BETAS],
        transl=state.transl + step[:, TRANSL],
    )


def fit(
    chain: LandmarkChain,
    prior: HandPrior,
    evidence: Evidence,
    start: HandState,
    settings: FitSettings | None = None,
) -> FitResult:
    """Find the most probable hands near `start` (Levenberg–Marquardt; every hand has its own damping)."""
    settings = settings or FitSettings()
    state, current = start, quadratic(chain, prior, evidence, start)
    damping = torch.full_like(current.cost, settings.initial_damping)
    done = torch.zeros_like(current.cost, dtype=torch.bool)
    for _ in range(settings.max_steps):
        trial_state = retract(state, _step(current, damping))
        # Most steps are accepted: evaluating the derivatives with the cost saves a second pass.
        trial = quadratic(chain, prior, evidence, trial_state)
        better = (trial.cost < current.cost) & ~done
        small = current.cost - trial.cost < settings.tolerance
        done = done | (better & small) | (damping > settings.max_damping)
        damping = torch.where(better, damping * 0.2, damping * 6.0).clamp_min(1e-9)
        state, current = _choose(better, trial_state, state), _choose(better, trial, current)
        if bool(done.all()):
            break
    prior_curvature = prior_quadratic(prior, state).curvature
    return FitResult(state, current.cost, current.curvature, prior_curvature, done)


def best_of_starts(result: FitResult, n_starts: int) -> FitResult:
    """Keep, of `n_starts` results of each hand (consecutive in the batch), the most probable one."""
    per_hand = result.cost.unflatten(0, (-1, n_starts))
    choice = per_hand.argmin(-1) + n_starts * torch.arange(len(per_hand), device=per_hand.device)
    state = HandState(result.state.rotations[choice], result.state.betas[choice], result.state.transl[choice])
    rest = (result.cost, result.curvature, result.prior_curvature, result.converged)
    return FitResult(state, *(value[choice] for value in rest))


def solve_translation(chain: LandmarkChain, evidence: Evidence, state: HandState) -> HandState:
    """Return `state` with the translation that projects it best onto the 2D joints (linear solve).

    A detector's joints and a network's count by their precisions, on the landmarks of `chain`: enough for
    a start. Each joint says `(u - cx) (Z + tz) = fx (X + tx)`, likewise in y: weighted least squares in t.
    """
    points = landmarks(chain, state) - state.transl[:, None]
    focal = evidence.intrinsics[:, None, (0, 1), (0, 1)]
    joints_2d, joints_weight = _placed(evidence)
    ray = (joints_2d - evidence.intrinsics[:, None, :2, 2]) / focal
    zero, one = torch.zeros_like(ray[..., 0]), torch.ones_like(ray[..., 0])
    rows = torch.stack([one, zero, -ray[..., 0], zero, one, -ray[..., 1]], -1).unflatten(-1, (2, 3))
    target = ray * points[..., 2:] - points[..., :2]
    weight = joints_weight[..., None]
    a, b = (rows * weight[..., None]).flatten(1, 2), (target * weight).flatten(1, 2)
    normal = a.transpose(-1, -2) @ a + 1e-9 * torch.eye(3, dtype=a.dtype, device=a.device)
    transl = torch.linalg.solve(normal, (a * b[..., None]).sum(1))
    # Behind or in the lens: start half a metre away along the mean ray instead.
    mean_ray = torch.cat([ray.mean(1), torch.ones_like(transl[:, :1])], -1)
    return HandState(state.rotations, state.betas, torch.where(transl[:, 2:] > 0.05, transl, 0.5 * mean_ray))


def _placed(evidence: Evidence) -> tuple[Float[Tensor, "B 21 2"], Float[Tensor, "B 21"]]:
    """Return the 2D joints (px) of detector and network merged, with weights 1/σ."""
    network, own = evidence.network, evidence.joints_2d_weight
    if network is None:
        return evidence.joints_2d, own
    first, second = own.square(), network.joints_2d_weight.square().mean(-1)
    total = first + second
    share = (second / total.clamp_min(1e-12))[..., None]
    return evidence.joints_2d + share * (network.joints_2d - evidence.joints_2d), total.sqrt()


def _step(current: Quadratic, damping: Float[Tensor, "B"]) -> Float[Tensor, "B 61"]:
    """Solve the damped normal equations (Marquardt's scaling by the diagonal)."""
    diagonal = torch.diagonal(current.curvature, dim1=-2, dim2=-1)
    damped = current.curvature + torch.diag_embed(damping[:, None] * diagonal + 1e-9)
    factor, _ = torch.linalg.cholesky_ex(damped)
    return -torch.cholesky_solve(current.gradient[..., None], factor)[..., 0]


def _choose(better: Bool[Tensor, "B"], a: _T, b: _T) -> _T:
    """Choose between two dataclasses of batched tensors hand by hand."""
    values = {}
    for field in fields(a):
        new, old = getattr(a, field.name), getattr(b, field.name)
        values[field.name] = torch.where(better.reshape(-1, *[1] * (new.dim() - 1)), new, old)
    return replace(b, **values)
