"""The Laplace posterior of a fitted hand: correlated, calibrated, and able to draw hands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from amvur.geometry.cameras import project
from amvur.geometry.procrustes import align_similarity
from amvur.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from amvur.hand.landmarks import HandState
from amvur.hand.model import HandMesh, HandModel
from amvur.hand.prior import HandPrior
from amvur.inference.fit import retract
from amvur.structures import HandSamples, Side
from amvur.threads import threads_for

STD_SAMPLES = 48
"""Hands drawn to state standard deviations: their own sampling error is about 10 % of the value."""


@dataclass(frozen=True)
class LaplacePosterior:
    """A normal distribution over the 61 parameters about the most probable hand of one detection.

    `factor` is a square root of the covariance: `factor @ standard normal` is a step of `retract`.
    The model is a right hand; `side` says whether drawn hands are mirrored back.
    """

    model: HandModel
    prior: HandPrior
    state: HandState
    factor: Float[Tensor, "61 61"]
    side: Side

    def mesh(self) -> HandMesh:
        """Return the most probable right hand (a batch of one, m, camera frame)."""
        state, like = self.state, self.model.v_template
        return self.model.from_matrices(state.rotations.to(like), state.betas.to(like), state.transl.to(like))

    def sample(self, n: int, seed: int = 0) -> HandSamples:
        """Draw `n` plausible hands in the camera's frame (m), the same ones for the same `seed`."""
        with threads_for(n):
            mesh = draw_meshes(self, n, seed)
        flip = np.array([-1.0 if self.side == "left" else 1.0, 1.0, 1.0], dtype=np.float32)
        return HandSamples(mesh.vertices.cpu().numpy() * flip, mesh.joints.cpu().numpy() * flip)


def square_root_covariance(
    curvature: Float[Tensor, "B 61 61"],
    prior_curvature: Float[Tensor, "B 61 61"],
    inflation: Float[Tensor, "B"],
) -> Float[Tensor, "B 61 61"]:
    """Return F with F Fᵀ the covariance: Laplace's, the evidence's standard deviations inflated.

    `curvature` includes `prior_curvature`, which is not inflated: what the evidence does not tell is as
    uncertain as the prior, no more.
    """
    evidence = curvature - prior_curvature
    tempered = prior_curvature + evidence / inflation.square()[:, None, None]
    eye = torch.eye(curvature.shape[-1], dtype=curvature.dtype, device=curvature.device)
    lower = torch.linalg.cholesky(tempered + 1e-6 * eye)
    factor: Tensor = torch.linalg.solve_triangular(
        lower.transpose(-1, -2), eye.expand_as(curvature), upper=True
    )
    return factor


def draw_meshes(posterior: LaplacePosterior, n: int, seed: int) -> HandMesh:
    """Draw `n` right hands (antithetic pairs: their mean is the most probable hand to first order)."""
    generator = torch.Generator().manual_seed(seed)
    half = torch.randn((n + 1) // 2, 61, generator=generator, dtype=posterior.factor.dtype)
    noise = torch.cat([half, -half])[:n]
    state = posterior.state
    repeated = HandState(
        state.rotations.expand(n, -1, -1, -1), state.betas.expand(n, -1), state.transl.expand(n, -1)
    )
    drawn = _within_limits(posterior, retract(repeated, noise @ posterior.factor.T))
    like = posterior.model.v_template
    return posterior.model.from_matrices(
        drawn.rotations.to(like), drawn.betas.to(like), drawn.transl.to(like)
    )


def _within_limits(posterior: LaplacePosterior, drawn: HandState) -> HandState:
    """Bring drawn fingers back into the range of motion (or as far out as the most probable hand is)."""
    prior = posterior.prior
    fitted = prior.angles(matrix_to_axis_angle(posterior.state.rotations[:, 1:]))
    angles = prior.angles(matrix_to_axis_angle(drawn.rotations[:, 1:]))
    inside = torch.clamp(angles, torch.minimum(fitted, prior.lower), torch.maximum(fitted, prior.upper))
    local = axis_angle_to_matrix((prior.axis_angle(inside) + prior.pose_mean).reshape(-1, 15, 3))
    return HandState(torch.cat([drawn.rotations[:, :1], local], 1), drawn.betas, drawn.transl)


def aligned_std(samples: Float[Tensor, "N P 3"], mean: Float[Tensor, "P 3"]) -> Float32[np.ndarray, "P"]:
    """Return each point's standard deviation (m, rms over axes) after similarity alignment to `mean`."""
    aligned = align_similarity(samples, mean.expand_as(samples))
    std: np.ndarray = (aligned - mean).square().mean((0, 2)).sqrt().cpu().numpy().astype(np.float32)
    return std


def projected_std(
    samples: Float[Tensor, "N P 3"], intrinsics: Float[Tensor, "3 3"]
) -> Float32[np.ndarray, "P"]:
    """Return each point's standard deviation in the picture (px, rms over both axes).

    `samples` in metres before the camera. Points that may lie behind it are nowhere in particular: infinite.
    """
    points = samples.to(intrinsics)
    places = project(points, intrinsics)
    std = places.var(0, correction=0).mean(-1).sqrt()
    std = torch.where((points[..., 2] > 0).all(0), std, torch.inf)
    found: np.ndarray = std.cpu().numpy().astype(np.float32)
    return found
