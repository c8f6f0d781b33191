"""The prior's part of the negative log posterior: what hands do, and that their skin is solid."""

from __future__ import annotations

import torch

from amvur.geometry.rotations import inverse_right_jacobian, matrix_to_axis_angle
from amvur.hand.contact_layout import TOUCH_M
from amvur.hand.landmarks import BETAS, N_PARAMETERS, HandState
from amvur.hand.prior import HandPrior
from amvur.hand.skin_spheres import SkinSpheres, overlap_jacobian, overlaps
from amvur.inference.quadratic import Quadratic

_POSE = slice(3, 48)
_NEAR_M = 1e-3
_USUAL_DISTANCE_M = 0.5
_LOG_DISTANCE_STD = 1.0
_FLESH_STD_M = 0.002
"""How far flesh gives way beyond mere touching."""


def prior_quadratic(prior: HandPrior, state: HandState) -> Quadratic:
    """Return the prior's part: Gaussian angles, soft limits, standard normal betas, a distance of an arm.

    The distance's prior is log-normal and wide: it only keeps degenerate evidence from a hand in the lens.
    Where the prior has `skin`, fingers do not enter each other or the palm.
    """
    local = matrix_to_axis_angle(state.rotations[:, 1:])
    angles = prior.angles(local)
    by_turn = prior.axes @ inverse_right_jacobian(local)
    off = angles - prior.mean
    over = ((angles - prior.upper).clamp_min(0) - (prior.lower - angles).clamp_min(0)) / prior.limit_scale
    force = off @ prior.precision + over / prior.limit_scale
    squares = off @ prior.precision * off + over.square()
    depth = state.transl[:, 2].clamp_min(_NEAR_M)
    far = (depth / _USUAL_DISTANCE_M).log() / _LOG_DISTANCE_STD
    cost = 0.5 * (squares.sum(-1) + state.betas.square().sum(-1) + far.square())
    stiffness = prior.precision + torch.diag_embed((over != 0).to(over) / prior.limit_scale**2)
    blocks = stiffness.unflatten(-1, (15, 3))[..., None, :] @ by_turn[:, None]
    blocks = by_turn.transpose(-1, -2) @ blocks.flatten(-3).unflatten(1, (15, 3))
    gradient = angles.new_zeros(len(angles), N_PARAMETERS)
    gradient[:, _POSE] = (by_turn.transpose(-1, -2) @ force.unflatten(-1, (15, 3))[..., None]).flatten(1)
    gradient[:, BETAS] = state.betas
    by_depth = 1 / (depth * _LOG_DISTANCE_STD)
    gradient[:, -1] = far * by_depth
    curvature = angles.new_zeros(len(angles), N_PARAMETERS, N_PARAMETERS)
    curvature[:, _POSE, _POSE] = blocks.flatten(1, 2)
    curvature[:, BETAS, BETAS] = torch.eye(10, dtype=angles.dtype, device=angles.device)
    curvature[:, -1, -1] = by_depth.square()
    total = Quadratic(cost, gradient, curvature)
    return total if prior.skin is None else total + contact_quadratic(prior.skin, state)


def contact_quadratic(skin: SkinSpheres, state: HandState) -> Quadratic:
    """Return the cost of skin that passes through skin: half of each overlap's square, in `_FLESH_STD_M`."""
    depth = overlaps(skin, state) - TOUCH_M
    most = int((depth > 0).sum(-1).amax())
    if not most:
        zeros = depth.new_zeros(len(depth), N_PARAMETERS, N_PARAMETERS)
        return Quadratic(zeros[:, 0, 0], zeros[:, 0], zeros)
    depth, chosen = depth.topk(most, dim=-1)
    entered = (depth > 0) / _FLESH_STD_M
    residual, rows = depth * entered, overlap_jacobian(skin, state, chosen) * entered[..., None]
    return Quadratic(
        0.5 * residual.square().sum(-1),
        (residual[:, None] @ rows)[:, 0],
        rows.transpose(-1, -2) @ rows,
    )
