"""The inner loops of distances to a mask, compiled by numba on first use and cached on disk."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from amvur.compiled import compiled

# `no_type_check` also keeps the tests' shape checker from wrapping what numba compiles.


@compiled
@no_type_check
def nearest_rows(mask: np.ndarray) -> np.ndarray:
    """Return the row of the nearest marked pixel of each pixel's column (H,W), -1 in columns without one."""
    height, width = mask.shape
    rows = np.empty((height, width), np.int64)
    last = np.full(width, -1)
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                last[x] = y
            rows[y, x] = last[x]
    last[:] = -1
    for y in range(height - 1, -1, -1):
        for x in range(width):
            if mask[y, x]:
                last[x] = y
            if rows[y, x] < 0 or (last[x] >= 0 and last[x] - y < y - rows[y, x]):
                rows[y, x] = last[x]
    return rows


@compiled
@no_type_check
def nearest_pixels(mask: np.ndarray, distance: np.ndarray, row: np.ndarray, column: np.ndarray) -> None:
    """Fill distance, row and column (H,W) of the marked pixel nearest to every pixel; some must be marked.

    The lower envelope of the columns' parabolas (Felzenszwalb and Huttenlocher 2012), exact.
    """
    height, width = mask.shape
    rows = nearest_rows(mask)
    place, start = np.empty(width, np.int64), np.empty(width, np.float64)
    for y in range(height):
        count = 0
        for x in range(width):
            if rows[y, x] < 0:
                continue
            own, begin = (rows[y, x] - y) ** 2 + x * x, -np.inf
            while count > 0:
                before = place[count - 1]
                other = (rows[y, before] - y) ** 2 + before * before
                begin = (own - other) / (2 * (x - before))
                if begin > start[count - 1]:
                    break
                count, begin = count - 1, -np.inf
            place[count], start[count] = x, begin
            count += 1
        k = 0
        for x in range(width):
            while k + 1 < count and start[k + 1] < x:
                k += 1
            row[y, x], column[y, x] = rows[y, place[k]], place[k]
            distance[y, x] = np.sqrt((row[y, x] - y) ** 2 + (place[k] - x) ** 2)
