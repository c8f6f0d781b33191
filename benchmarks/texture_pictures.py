"""A strip of pictures that shows one hand's texture."""

from __future__ import annotations

import numpy as np
import torch
from texture_cases import Case, mesh_of

from amvur.inference.regressed_texture import TextureRegressor
from amvur.inference.texture import sample_vertex_colors
from amvur.inference.vertex_evidence import HandView, look_at_hand
from amvur.render import interpolate, rasterize

_FULL_SCALE = 0.2
"""The standard deviation of a color that is drawn in full yellow."""


def sheet(case: Case, regressor: TextureRegressor) -> np.ndarray:
    """Crop, textured mesh over it and alone, from behind (ours, sampled), uncertainty, visibility."""
    view = look_at_hand(*mesh_of(case), case.left)
    texture = regressor(*mesh_of(case), case.left)
    if view is None or texture.std is None or texture.seen is None:
        return np.zeros((224, 224, 3), dtype=np.uint8)
    photo = view.image[0].permute(1, 2, 0).numpy()
    front, mask = draw(view, texture.colors)
    sampled, _ = sample_vertex_colors(*mesh_of(case))
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
    tiles = [tile[:, ::-1] for tile in tiles] if case.left else tiles
    return (np.concatenate(tiles, 1) * 255).round().clip(0, 255).astype(np.uint8)


def draw(view: HandView, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mesh in its vertex colors on gray, and where it is."""
    size = view.crop.size_px
    raster = rasterize(view.vertices, view.faces, view.intrinsics, size, size)
    picture = interpolate(raster, torch.as_tensor(colors).float()[None], view.faces)[0].numpy()
    mask = raster.mask[0].numpy()[..., None]
    return np.where(mask, picture, 0.85), mask


def turned(view: HandView) -> HandView:
    """The hand seen from behind: half a turn about the upright axis through its middle."""
    from dataclasses import replace

    middle = (view.vertices.amin(1) + view.vertices.amax(1)) / 2
    return replace(view, vertices=(view.vertices - middle) * torch.tensor([-1.0, 1.0, -1.0]) + middle)


def heat(values: np.ndarray) -> np.ndarray:
    """Colors of numbers from 0 (dark blue) to 1 (yellow)."""
    v = values.clip(0, 1)[:, None]
    return (1 - v) * np.array([0.1, 0.1, 0.35]) + v * np.array([1.0, 0.9, 0.2])
