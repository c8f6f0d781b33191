"""Vertex colors as a texture picture, which every program shows alike."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float, Int, Int64, UInt8
from numpy.typing import NDArray

from amvur.structures import UvTexture

_SIZE_PX, _MARGIN_PX = 256, 16
_REACH_PX = 32
_LEAST_SPAN = 1 / 255
"""Colors that differ by less than a step of 8 bits are not spread over the whole picture."""


def color_picture(colors: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> UvTexture:
    """Return vertex colors (sRGB in [0, 1]) as a picture with one point a vertex: no mesh is cut for it.

    The picture is a plane through the space of colors, along the two directions in which these colors differ
    most (their principal components), so that a triangle's colors change from corner to corner as evenly
    as vertex colors do. A vertex has a texel of its own, which has exactly its color; vertices of one
    color may share theirs.
    """
    colors = np.asarray(colors, dtype=np.float64).clip(0, 1)
    mean = colors.mean(0)
    # summed without BLAS: the same bytes with any number of threads
    covariance = ((colors - mean)[:, :, None] * (colors - mean)[:, None, :]).mean(0)
    axes = np.linalg.eigh(covariance)[1].T[:0:-1]
    places = (colors - mean) @ axes.T
    low, span = places.min(0), np.maximum(np.ptp(places, axis=0), _LEAST_SPAN)
    inner = _SIZE_PX - 1 - 2 * _MARGIN_PX
    across, down = (low + (np.arange(_SIZE_PX)[:, None] - _MARGIN_PX) / inner * span).T
    plane = mean + across[None, :, None] * axes[0] + down[:, None, None] * axes[1]
    pixels, exact = (np.rint(255 * part.clip(0, 1)).astype(np.uint8) for part in (plane, colors))
    texels = _own_texels(np.rint((places - low) / span * inner).astype(np.int64) + _MARGIN_PX, exact)
    pixels[texels[:, 1], texels[:, 0]] = exact
    uv = ((texels + 0.5) / _SIZE_PX).astype(np.float32)
    return UvTexture(pixels, uv, faces, np.arange(len(colors)))


@cache
def _steps() -> list[tuple[int, int]]:
    """Return the steps to all texels within reach, the nearest first."""
    reach = range(-_REACH_PX, _REACH_PX + 1)
    return sorted(((x, y) for x in reach for y in reach), key=lambda step: step[0] ** 2 + step[1] ** 2)


def _own_texels(
    wanted: Int64[NDArray[np.int64], "V 2"], colors: UInt8[np.ndarray, "V 3"]
) -> Int64[NDArray[np.int64], "V 2"]:
    """Return for every vertex the texel next to the wanted one that no other color has taken.

    Should all within reach be taken, it is the wanted one.
    """
    taken: dict[tuple[int, int], bytes] = {}
    texels = wanted.copy()
    for vertex, (x, y) in enumerate(wanted.tolist()):
        color = colors[vertex].tobytes()
        if taken.setdefault((x, y), color) == color:
            continue
        spots = ((x + right, y + down) for right, down in _steps())
        inside = (spot for spot in spots if min(spot) >= 0 and max(spot) < _SIZE_PX)
        texels[vertex] = next((spot for spot in inside if taken.setdefault(spot, color) == color), (x, y))
    return texels
