"""The Laplace posterior of a fitted hand: correlated, calibrated, and able to draw hands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

from amvur.hand.kinematics import HandState, axis_angles, rotation_matrices
from amvur.hand.posing import HandPoser, PosedHands
from amvur.hand.prior_arrays import PriorArrays
from amvur.inference.estimator.similarity import align_similarity
from amvur.structures import HandSamples, Side

STD_SAMPLES = 48
"""Hands drawn to state standard deviations: their own sampling error is about 10 % of the value."""


@dataclass(frozen=True)
class LaplacePosterior:
    """A normal distribution over the 61 parameters about the most probable hand of one detection.

    `factor` is a square root of the covariance: `factor @ standard normal` is a step of `HandState.retract`.
    Hands are posed as right ones; `side` says whether drawn hands are mirrored back.
    """

    pose: HandPoser
    prior: PriorArrays
    state: HandState
    factor: Float64[np.ndarray, "61 61"]
    side: Side = "right"

    def mesh(self) -> PosedHands:
        """Return the most probable right hand (a batch of one, m, camera frame)."""
        return self.pose(self.state)

    def draw(self, n: int, seed: int = 0) -> PosedHands:
        """Draw `n` right hands (antithetic pairs: their mean is the most probable hand to first order)."""
        half = np.random.default_rng(seed).standard_normal(((n + 1) // 2, len(self.factor)))
        noise = np.concatenate([half, -half])[:n]
        repeated = self.state[np.zeros(n, dtype=np.int64)]
        return self.pose(self._within_limits(repeated.retract(noise @ self.factor.T)))

    def sample(self, n: int, seed: int = 0) -> HandSamples:
        """Draw `n` plausible hands in the camera's frame (m), the same ones for the same `seed`."""
        drawn = self.draw(n, seed)
        flip = np.array([-1.0 if self.side == "left" else 1.0, 1.0, 1.0], dtype=np.float32)
        return HandSamples(drawn.vertices * flip, drawn.joints * flip)

    def _within_limits(self, drawn: HandState) -> HandState:
        """Bring drawn fingers back into the range of motion (or as far out as the most probable hand is)."""
        prior = self.prior
        fitted = prior.angles(axis_angles(self.state.rotations[:, 1:]))
        angles = prior.angles(axis_angles(drawn.rotations[:, 1:]))
        inside = np.clip(angles, np.minimum(fitted, prior.lower), np.maximum(fitted, prior.upper))
        local = rotation_matrices(prior.local_axis_angle(inside))
        return HandState(np.concatenate([drawn.rotations[:, :1], local], 1), drawn.betas, drawn.transl)


def square_root_covariance(
    curvature: Float64[np.ndarray, "B 61 61"],
    prior_curvature: Float64[np.ndarray, "B 61 61"],
    inflation: Float[np.ndarray, "B"],
) -> Float64[np.ndarray, "B 61 61"]:
    """Return F with F Fᵀ the covariance: Laplace's, the observations' standard deviations inflated.

    `curvature` includes `prior_curvature`, which is not inflated: what the observations do not tell is as
    uncertain as the prior, no more.
    """
    observed = curvature - prior_curvature
    tempered = prior_curvature + observed / np.square(inflation)[:, None, None]
    lower = np.linalg.cholesky(tempered + 1e-6 * np.eye(curvature.shape[-1]))
    factor: np.ndarray = np.linalg.inv(lower).swapaxes(-1, -2)
    return factor


def aligned_std(
    samples: Float[np.ndarray, "N P 3"], mean: Float[np.ndarray, "P 3"]
) -> Float32[np.ndarray, "P"]:
    """Return each point's standard deviation (m, rms over axes) after similarity alignment to `mean`."""
    aligned = align_similarity(samples, np.broadcast_to(mean, samples.shape))
    off = aligned - mean
    std: np.ndarray = np.sqrt(np.einsum("npk,npk->p", off, off) / (3 * len(off))).astype(np.float32)
    return std
