"""Where a hand is before the camera, from its shape and the places of its joints in the picture."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_ROUNDS = 6
_NEAREST = 0.05

Rows = Float[np.ndarray, "B 21 2 3"]


def fit_translation(
    relative: Float[np.ndarray, "B 21 3"],
    pixels: Float[np.ndarray, "B 21 2"],
    std_px: Float[np.ndarray, "B 21 2"],
    intrinsics: Float[np.ndarray, "B 3 3"],
) -> Float[np.ndarray, "B 3"]:
    """Return the translation (m) that projects `relative` (m, the camera's axes) best onto `pixels`.

    Least squares of distances in the picture over `std_px`: Gauss-Newton steps from the solution of
    K (p + t) × pixel = 0, which is linear. Where pixels are a projection the result is exact. Depths are
    kept above 5 cm.
    """
    # (k - pixel k3) (p + t) = 0 for the rows k of K: distance times depth
    rows = (intrinsics[:, None, :2] - pixels[..., None] * intrinsics[:, None, 2:]) / std_px[..., None]
    moved = _solve(rows, -(rows @ relative[..., None])[..., 0])
    for _ in range(_ROUNDS):
        points = (relative + moved[:, None]) @ intrinsics.transpose(0, 2, 1)
        depth = np.maximum(points[..., 2:], _NEAREST)
        seen = points[..., :2] / depth
        slope = (intrinsics[:, None, :2] - seen[..., None] * intrinsics[:, None, 2:]) / depth[..., None]
        moved = moved + _solve(slope / std_px[..., None], (pixels - seen) / std_px)
    return np.asarray(moved)


def _solve(rows: Rows, goal: Float[np.ndarray, "B 21 2"]) -> Float[np.ndarray, "B 3"]:
    """Return the least-squares solution of every hand's 42 equations."""
    a, b = rows.reshape(len(rows), -1, 3), goal.reshape(len(goal), -1, 1)
    return np.asarray(np.linalg.solve(a.transpose(0, 2, 1) @ a, a.transpose(0, 2, 1) @ b)[..., 0])
