"""The pinhole camera with its derivative. OpenCV axes; the top-left pixel's centre is (0.5, 0.5)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

_NEAR_M = 1e-3


def project(
    points: Float64[np.ndarray, "*batch N 3"], intrinsics: Float64[np.ndarray, "*#batch 3 3"]
) -> Float64[np.ndarray, "*batch N 2"]:
    """Project points (m, camera frame) to pixels."""
    homogeneous = points @ intrinsics.swapaxes(-1, -2)
    pixels: np.ndarray = homogeneous[..., :2] / homogeneous[..., 2:]
    return pixels


def project_with_jacobian(
    points: Float64[np.ndarray, "B N 3"], intrinsics: Float64[np.ndarray, "B 3 3"]
) -> tuple[Float64[np.ndarray, "B N 2"], Float64[np.ndarray, "B N 2 3"]]:
    """Return pixels as `project` does, and their derivative by the points (px/m).

    Points nearer than 1 mm, or behind the camera, are taken to be at 1 mm, so that all stays finite.
    """
    z = np.maximum(points[..., 2:], _NEAR_M)
    ratio, affine = points[..., :2] / z, intrinsics[:, None, :2, :2]
    pixels = (affine @ ratio[..., None])[..., 0] + intrinsics[:, None, :2, 2]
    across = affine / z[..., None]
    return pixels, np.concatenate([across, -(across @ ratio[..., None])], -1)
