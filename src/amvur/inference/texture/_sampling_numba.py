"""The inner loop of sampling maps at vertices, compiled by numba on first use and cached on disk."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from amvur.compiled import compiled

# `no_type_check` also keeps the tests' shape checker from wrapping what numba compiles.


@compiled
@no_type_check
def sample(values: np.ndarray, places: np.ndarray, found: np.ndarray, first: int) -> None:
    """Fill columns of found (N,_), from `first` on, with a map (C,h,w), both float32, sampled bilinearly at
    places (N,2), told in shares of its width and height.

    Beyond its edge the map goes on as it ends.
    """
    channels, height, width = values.shape
    count = len(places)
    corner, share = np.empty((count, 4), np.int64), np.empty((count, 2), np.float32)
    for i in range(count):
        x = places[i, 0] * np.float32(width) - np.float32(0.5)
        y = places[i, 1] * np.float32(height) - np.float32(0.5)
        x = min(max(x, np.float32(0)), np.float32(width - 1))
        y = min(max(y, np.float32(0)), np.float32(height - 1))
        left, top = int(x), int(y)
        right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
        share[i, 0], share[i, 1] = x - np.float32(left), y - np.float32(top)
        corner[i, 0], corner[i, 1] = top * width + left, top * width + right
        corner[i, 2], corner[i, 3] = bottom * width + left, bottom * width + right
    one = np.float32(1)
    for c in range(channels):  # one plane after the other stays in the cache
        plane = values[c].ravel()
        for i in range(count):
            a, b = share[i, 0], share[i, 1]
            upper = plane[corner[i, 0]] * (one - a) + plane[corner[i, 1]] * a
            lower = plane[corner[i, 2]] * (one - a) + plane[corner[i, 3]] * a
            found[i, first + c] = upper * (one - b) + lower * b
