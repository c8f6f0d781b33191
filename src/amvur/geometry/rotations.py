"""Rotations: axis-angle and matrices, exact near 0 and π, and the derivative that a solver needs.

The conversions are roma's (Brégier, "Deep regression on manifolds: a 3D rotation case study", 2021).
"""

from __future__ import annotations

import roma
import torch
from jaxtyping import Float
from torch import Tensor

_SMALL_RAD = 1e-3


def axis_angle_to_matrix(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Turn axis-angle vectors (radians) into rotation matrices (Rodrigues' formula)."""
    matrix: Tensor = roma.rotvec_to_rotmat(axis_angle)
    return matrix


def matrix_to_axis_angle(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Turn rotation matrices into axis-angle vectors with angles in [0, π]."""
    axis_angle: Tensor = roma.rotmat_to_rotvec(matrix)
    return axis_angle


def skew(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the matrix `K` with `K @ p == cross(vector, p)`."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vector.shape, 3)


def inverse_right_jacobian(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Return d log(exp(w) exp(d)) / d d at d = 0: how an axis-angle moves with a body-frame turn.

    Source: Solà et al., "A micro Lie theory for state estimation in robotics", 2018, eq. 144:
    I + K/2 + (1/θ² − (1 + cos θ)/(2 θ sin θ)) K². Exact below 2π; a series is used near 0.
    """
    angle_squared = axis_angle.square().sum(-1)[..., None, None]
    angle = angle_squared.clamp_min(_SMALL_RAD**2).sqrt()
    # (1 + cos) / sin = 1 / tan(θ/2): finite at π, where the textbook form is 0/0.
    exact = 1 / angle**2 - 1 / (2 * angle * torch.tan(angle / 2))
    series = 1 / 12 + angle_squared / 720
    factor = torch.where(angle_squared < _SMALL_RAD**2, series, exact)
    k = skew(axis_angle)
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return eye + k / 2 + factor * (k @ k)
