"""Which colors a picture has near a pixel, among the pixels of some weight: a mixture of local Gaussians."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64, Int
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

CELL_PX = 4
"""Colors are gathered in cells of so many pixels; pictures' sides must be multiples of it."""
_ROOT = (2 * np.pi) ** 1.5


def color_moments(image: Float[Tensor, "3 S S"]) -> Float[Tensor, "5 S S"]:
    """Return 1, the color (sRGB in [0, 1]) and the squared color of every pixel, for `local_density`."""
    return torch.cat([torch.ones_like(image[:1]), image, image.square().sum(0, keepdim=True)])


def local_density(
    moments: Float[Tensor, "5 S S"],
    weight: Float[Tensor, "S S"],
    at: tuple[Int[NDArray[Any], "N"], Int[NDArray[Any], "N"]],
    reach_px: Sequence[float],
    any_color: float,
    least_std: float,
) -> Float64[NDArray[Any], "N"]:
    """Return how dense the colors of the pixels `at` (rows, columns) are among weighted pixels near them.

    `moments` are a picture's `color_moments`. About every pixel, and for every reach, what has weight has a
    mean color and a spread, no less than `least_std`; these Gaussians and a share `any_color` of any color
    alike are mixed.
    """
    cells = F.avg_pool2d(weight * moments, CELL_PX).numpy()
    row, column = at
    cell = row // CELL_PX * cells.shape[2] + column // CELL_PX
    pixels = moments[1:4, row, column].T.numpy()
    density = np.full(len(pixels), any_color)
    share = (1 - any_color) / len(reach_px)
    for reach in reach_px:
        down, across = (_blur(length, reach / CELL_PX) for length in cells.shape[1:])
        near = (down @ cells @ across.T).reshape(5, -1)
        total = near[0] + 1e-6
        mean = near[1:4] / total
        variance = (near[4] / total - np.square(mean).sum(0)) / 3
        std = np.sqrt(variance.clip(0) + least_std**2)
        density += share * gaussian(pixels, mean.T.take(cell, 0), std.take(cell))
    return density


@lru_cache(maxsize=16)
def _blur(length: int, sigma: float) -> Float32[NDArray[Any], "length length"]:
    """Return a Gaussian filter of a line (beside it all is 0) as a matrix: for short lines that is faster."""
    line: np.ndarray = ndimage.gaussian_filter1d(np.eye(length), sigma, axis=0, mode="constant")
    return line.astype(np.float32)


def gaussian(
    colors: Float[NDArray[Any], "N 3"],
    mean: Float[NDArray[Any], "N 3"],
    std: Float[NDArray[Any], "N"],
) -> Float[NDArray[Any], "N"]:
    """Return the density of colors under Gaussians with one standard deviation for all channels."""
    off = colors - mean
    variance = std * std
    distance = np.einsum("nc,nc->n", off, off) / variance  # a sum over an axis of three is slow
    density: np.ndarray = np.exp(-0.5 * distance) / (_ROOT * variance * std)
    return density
