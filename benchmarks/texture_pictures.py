"""A strip of pictures that shows one hand's texture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from amvur.inference.texture.regression import Texture
from amvur.inference.view import HandView
from amvur.raster import interpolate, rasterize

_FULL_SCALE = 0.2
"""The standard deviation of a color that is drawn in full yellow."""


def sheet(view: HandView, texture: Texture, sampled: np.ndarray, left: bool) -> np.ndarray:
    """Crop, textured mesh over it and alone, from behind (ours, sampled), uncertainty, visibility."""
    assert texture.std is not None
    assert texture.seen is not None
    photo = view.picture / 255
    front, mask = draw(view, texture.colors)
    behind = turned(view)
    tiles = [
        photo,
        np.where(mask, 0.3 * photo + 0.7 * front, photo),
        front,
        draw(behind, texture.colors)[0],
        draw(behind, sampled)[0],
        draw(view, heat(texture.std / _FULL_SCALE))[0],
        draw(behind, heat(texture.std / _FULL_SCALE))[0],
        draw(view, heat(texture.seen))[0],
    ]
    tiles = [tile[:, ::-1] for tile in tiles] if left else tiles
    return (np.concatenate(tiles, 1) * 255).round().clip(0, 255).astype(np.uint8)


def draw(view: HandView, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mesh in its vertex colors on gray, and where it is."""
    size = view.crop.size_px
    raster = rasterize(view.vertices, view.faces, view.intrinsics, size, size)
    picture = interpolate(raster, np.float32(colors), view.faces)
    mask = raster.mask[..., None]
    return np.where(mask, picture, 0.85), mask


def turned(view: HandView) -> HandView:
    """The hand seen from behind: half a turn about the upright axis through its middle."""
    middle = (view.vertices.min(0) + view.vertices.max(0)) / 2
    return replace(view, vertices=(view.vertices - middle) * np.float32([-1, 1, -1]) + middle)


def heat(values: np.ndarray) -> np.ndarray:
    """Colors of numbers from 0 (dark blue) to 1 (yellow)."""
    v = values.clip(0, 1)[:, None]
    return (1 - v) * np.array([0.1, 0.1, 0.35]) + v * np.array([1.0, 0.9, 0.2])
