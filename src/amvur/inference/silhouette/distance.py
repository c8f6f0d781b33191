"""Exact distances of pixels to a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy.typing import NDArray


def nearest_marked(
    mask: Bool[NDArray[Any], "H W"],
) -> tuple[Float64[NDArray[Any], "H W"], Int64[NDArray[Any], "H W"], Int64[NDArray[Any], "H W"]]:
    """Return every pixel's distance (px) to the nearest marked one, and that one's row and column.

    Without a marked pixel distances are infinite, rows and columns 0.
    """
    from amvur.inference.silhouette._distance_numba import nearest_pixels  # numba takes a second to import

    distance = np.full(mask.shape, np.inf)
    row, column = np.zeros(mask.shape, np.int64), np.zeros(mask.shape, np.int64)
    if mask.any():
        nearest_pixels(np.require(mask, bool, ["C", "W"]), distance, row, column)
    return distance, row, column
