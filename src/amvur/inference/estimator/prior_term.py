"""What hands do: the anatomical prior over pose, shape and distance."""

from __future__ import annotations

import numpy as np

from amvur.hand.kinematics import BETAS, HandState, axis_angles, skew
from amvur.hand.prior_arrays import PriorArrays
from amvur.inference.estimator.config import EstimatorConfig
from amvur.inference.estimator.term import Quadratic, nothing

POSE = slice(3, 48)
NEAR_M = 1e-3
_SMALL_RAD = 1e-3


class AnatomicalPrior:
    """Gaussian angles, soft limits of motion, standard normal betas, a distance of an arm."""

    def __init__(self, prior: PriorArrays, config: EstimatorConfig) -> None:
        """Take the prior of a hand model, and that of the distance."""
        self.prior = prior
        self._usual_m, self._log_std = config.usual_distance_m, config.log_distance_std

    def __call__(self, state: HandState) -> Quadratic:
        """Return the prior's part."""
        prior, count, result = self.prior, len(state), nothing(len(state))
        local = axis_angles(state.rotations[:, 1:])
        angles = prior.angles(local)
        by_turn = prior.axes @ inverse_right_jacobian(local)
        off = angles - prior.mean
        beyond = np.maximum(angles - prior.upper, 0) - np.maximum(prior.lower - angles, 0)
        over = beyond / prior.limit_scale
        pulled = off @ prior.precision
        force = (pulled + over / prior.limit_scale).reshape(count, 15, 3, 1)
        depth = np.maximum(state.transl[:, 2], NEAR_M)
        far = np.log(depth / self._usual_m) / self._log_std
        squares = (pulled * off + over**2).sum(-1) + (state.betas**2).sum(-1) + far**2
        back = by_turn.swapaxes(-1, -2)
        result.gradient[:, POSE] = (back @ force).reshape(count, 45)
        result.gradient[:, BETAS] = state.betas
        by_depth = 1 / (depth * self._log_std)
        result.gradient[:, -1] = far * by_depth
        stiffness = np.repeat(prior.precision[None], count, 0)
        stiffness[:, range(45), range(45)] += (over != 0) / prior.limit_scale**2
        blocks = stiffness.reshape(count, 15, 3, 15, 3).swapaxes(2, 3)
        blocks = back[:, :, None] @ blocks @ by_turn[:, None]
        result.curvature[:, POSE, POSE] = blocks.swapaxes(2, 3).reshape(count, 45, 45)
        result.curvature[:, BETAS, BETAS] = np.eye(10)
        result.curvature[:, -1, -1] = by_depth**2
        return Quadratic(0.5 * squares, result.gradient, result.curvature)


def inverse_right_jacobian(axis_angle: np.ndarray) -> np.ndarray:
    """Return d log(exp(w) exp(d)) / d d at d = 0 (…,3,3): how an axis-angle moves with a body-frame turn.

    Source: Solà et al., "A micro Lie theory for state estimation in robotics", 2018, eq. 144:
    I + K/2 + (1/θ² − (1 + cos θ)/(2 θ sin θ)) K². Exact below 2π; a series is used near 0.
    """
    squared = np.square(axis_angle).sum(-1)[..., None, None]
    angle = np.sqrt(np.maximum(squared, _SMALL_RAD**2))
    # (1 + cos) / sin = 1 / tan(θ/2): finite at π, where the textbook form is 0/0.
    exact = 1 / angle**2 - 1 / (2 * angle * np.tan(angle / 2))
    factor = np.where(squared < _SMALL_RAD**2, 1 / 12 + squared / 720, exact)
    k = skew(axis_angle)
    result: np.ndarray = np.eye(3) + k / 2 + factor * (k @ k)
    return result
