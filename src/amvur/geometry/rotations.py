"""Rotations: axis-angle and matrices, exact near 0 and π.

The conversions are roma's (Brégier, "Deep regression on manifolds: a 3D rotation case study", 2021).
"""

from __future__ import annotations

import roma
from jaxtyping import Float
from torch import Tensor


def axis_angle_to_matrix(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Turn axis-angle vectors (radians) into rotation matrices (Rodrigues' formula)."""
    matrix: Tensor = roma.rotvec_to_rotmat(axis_angle)
    return matrix


def matrix_to_axis_angle(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Turn rotation matrices into axis-angle vectors with angles in [0, π]."""
    axis_angle: Tensor = roma.rotmat_to_rotvec(matrix)
    return axis_angle
