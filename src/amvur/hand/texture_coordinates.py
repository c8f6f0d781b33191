"""Texture coordinates of hand models: where on a square picture the skin of every face lies."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from jaxtyping import Float64, Int64

from amvur.errors import InputError
from amvur.hand.loading import OPEN_HAND
from amvur.hand.open_hand import VERSIONS
from amvur.reading import read_npz
from amvur.structures import Side

_MARGIN = 0.01


@dataclass(frozen=True)
class TextureCoordinates:
    """An atlas of a mesh: T points in the unit square, v downward from the top, and every face's three.

    A vertex on a seam has several points. `vertices` names the mesh vertex of every point.
    """

    uv: Float64[np.ndarray, "T 2"]
    faces: Int64[np.ndarray, "F 3"]
    vertices: Int64[np.ndarray, "T"]


def load_texture_coordinates(hand_model: str = OPEN_HAND, side: Side = "right") -> TextureCoordinates:
    """Return the atlas of a hand model, faces in the order and orientation of that side's mesh.

    Raises `InputError` for a model without one (a MANO file has none).
    """
    if hand_model != OPEN_HAND:
        raise InputError(
            f"The hand model {hand_model} has no texture coordinates, which a texture image needs. "
            "Use the open hand, or vertex colors (no --uv-texture)."
        )
    path = files("amvur.hand") / "assets" / VERSIONS[OPEN_HAND]
    data = read_npz(path.read_bytes())
    uv, corners, faces = (data[key] for key in ("uv", "uv_faces", "faces"))
    vertices = np.zeros(len(uv), dtype=np.int64)
    vertices[corners] = faces
    corners = corners.astype(np.int64)
    turned = corners[:, ::-1].copy() if side == "left" else corners
    # the hand is a small part of a body's atlas: it gets the whole square
    low, high = uv.min(0).astype(np.float64), uv.max(0).astype(np.float64)
    spread = (uv - (low + high) / 2) / (high - low).max() * (1 - 2 * _MARGIN)
    return TextureCoordinates(0.5 + spread * [1, -1], turned, vertices)
