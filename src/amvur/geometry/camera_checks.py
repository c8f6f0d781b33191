"""What a pinhole camera of a user's can be: one rule for command line and Python. No heavy imports."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Float

from amvur.errors import InputError

FOV_RANGE_DEG = (1.0, 170.0)
"""Fields of view that a pinhole camera without distortion can have in practice."""
_LEAST_FOV_DEG = 0.1
"""Of given intrinsics: the picture may be a small part of a photograph."""
_LEAST_FOCAL_PX = 8.0
_LARGEST_FOCAL_PX = 1e7
_LARGEST_ASPECT = 4.0
"""Of the two focal lengths; anamorphic lenses have 2."""


def check_fov(fov_deg: Any, name: str = "The field of view") -> float:
    """Return a field of view in degrees; raises `InputError` for one that no pinhole camera has."""
    low, high = FOV_RANGE_DEG
    is_number = isinstance(fov_deg, Real) and not isinstance(fov_deg, bool)
    if not is_number or not low <= fov_deg <= high:  # false for NaN
        raise InputError(f"{name} wants degrees between {low:g} and {high:g}, found {fov_deg!r:.20}.")
    return float(fov_deg)


def check_intrinsics(intrinsics: object, name: str = "Intrinsics") -> Float[np.ndarray, "3 3"]:
    """Return a matrix in pixels as float64; raises `InputError` for one that is no camera of any picture."""
    try:
        matrix = np.asarray(intrinsics, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.zeros(0)
    good = matrix.shape == (3, 3) and bool(np.isfinite(matrix).all())
    if not good or min(matrix[0, 0], matrix[1, 1]) <= 0 or not np.allclose(matrix[2], (0, 0, 1)):
        raise InputError(
            f"{name} must be a finite 3x3 matrix [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with positive "
            f"focal lengths in pixels, found {np.asarray(intrinsics, dtype=object).tolist()}."
        )
    focal, center = matrix[(0, 1), (0, 1)], matrix[:2, 2]
    found = (
        f"found focal lengths {focal[0]:g} {focal[1]:g} and the principal point {center[0]:g} {center[1]:g}"
    )
    if min(focal) < _LEAST_FOCAL_PX or (min(center) > 0 and max(center) <= 1):
        raise InputError(
            f"{name} must be in pixels: {found}. If these are fractions of the picture, multiply by its "
            "width and height."
        )
    if max(focal) > _LARGEST_FOCAL_PX or max(focal) > _LARGEST_ASPECT * min(focal):
        raise InputError(f"{name} describe no camera: {found}. Give fx, fy, cx, cy in pixels.")
    if matrix[1, 0] != 0 or abs(matrix[0, 1]) > max(focal):
        raise InputError(
            f"{name} must be [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with a small skew s, found "
            f"{matrix.tolist()}."
        )
    return matrix


def check_view(matrix: Float[np.ndarray, "3 3"], width: int, height: int) -> Float[np.ndarray, "3 3"]:
    """Return the intrinsics (px), or raise `InputError` if no camera sees a picture of that size so."""
    low, high = _LEAST_FOV_DEG, FOV_RANGE_DEG[1]
    focal = matrix[(0, 1), (0, 1)]
    size = f"a picture {width} pixels wide and {height} high"
    longer = 0 if width >= height else 1
    fov = math.degrees(2 * math.atan(max(width, height) / 2 / focal[longer]))
    if not low <= fov <= high:
        raise InputError(
            f"A focal length of {focal[longer]:g} pixels gives {size} a field of view of {fov:.3g} degrees, "
            f"wanted are {low:g} to {high:g}. Give the intrinsics of the picture in this size."
        )
    off_axis = math.hypot(*((np.array([width, height]) / 2 - matrix[:2, 2]) / focal))
    if off_axis > math.tan(math.radians(high / 2)):
        raise InputError(
            f"The principal point {matrix[0, 2]:g} {matrix[1, 2]:g} lies too far from {size}. Give the "
            "intrinsics in pixels of this picture."
        )
    return matrix
