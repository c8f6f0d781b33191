"""A texture picture of the skin: the photograph where it shows the hand, vertex colors elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int, Int64
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from amvur.hand.texture_coordinates import TextureCoordinates
from amvur.inference.silhouette.distance import nearest_marked
from amvur.inference.texture.evidence import facing
from amvur.inference.texture.regression import Texture
from amvur.inference.view import HandView, look_at_hand
from amvur.raster import rasterize, vertex_normals
from amvur.structures import RgbImage, UvTexture

_COSINES = (0.25, 0.5)
"""Skin seen at a smaller cosine is not taken from the photograph, at a larger one it is."""
_BEHIND_M = 0.004
"""A point so far behind the first surface is hidden by it."""
_INSIDE = (0.75, 1.0)
"""Shares of the neighborhood inside the outline, likewise: a mesh is a few pixels off."""
_SURE = (0.5, 0.9)
"""Probabilities to show the hand, likewise, where a segmentation states them."""


def bake(
    image: RgbImage,
    vertices: Float[NDArray[Any], "V 3"],
    faces: Int[NDArray[Any], "F 3"],
    intrinsics: Float[NDArray[Any], "3 3"],
    texture: Texture,
    atlas: TextureCoordinates,
    size_px: int,
) -> UvTexture:
    """Return the texture picture of one hand, `size_px` square.

    Arguments as of `TextureRegressor`, with the texture that it (or sampling) found and the atlas.
    Texels off the skin repeat the nearest skin, so that no seam shows.
    """
    face, weights = _texels(atlas, size_px)
    inside = face >= 0
    corners, weight = np.asarray(faces, np.int64)[face[inside]], weights[inside]
    colors = np.einsum("nk,nkc->nc", weight, texture.colors[corners].astype(np.float64))
    view = texture.view or look_at_hand(image, vertices, faces, intrinsics)
    if view is not None and view.visible.any():
        share = _photo_share(view, corners, weight, texture)
        points = np.einsum("nk,nkc->nc", weight, np.asarray(vertices, np.float64)[corners])
        places = (points @ np.asarray(intrinsics, np.float64).T)[:, :2] / points[:, 2:]
        photo = _photo_colors(image, places, max(1, int(view.crop.side_px) // size_px))
        colors = share[:, None] * photo + (1 - share[:, None]) * colors
    picture = np.zeros((size_px, size_px, 3))
    picture[inside] = colors
    _, row, column = nearest_marked(inside)
    pixels = (picture[row, column] * 255).round().clip(0, 255).astype(np.uint8)
    return UvTexture(pixels, atlas.uv.astype(np.float32), atlas.faces, atlas.vertices)


def _texels(
    atlas: TextureCoordinates, size_px: int
) -> tuple[Int64[NDArray[Any], "S S"], Float64[NDArray[Any], "S S 3"]]:
    """Return every texel's face (-1: none) and its barycentric weights."""
    flat = np.column_stack([atlas.uv * size_px, np.ones(len(atlas.uv))])
    raster = rasterize(flat, atlas.faces, np.eye(3), size_px, size_px)
    return raster.pix_to_face, raster.bary_coords


def _photo_share(
    view: HandView,
    corners: Int64[NDArray[Any], "N 3"],
    weight: Float64[NDArray[Any], "N 3"],
    texture: Texture,
) -> Float64[NDArray[Any], "N"]:
    """Return how far texels are to be taken from the photograph, 0 to 1."""
    cosine = facing(view.vertices, vertex_normals(view.vertices, view.faces))
    told = (view.pixels, view.vertices[:, 2], cosine, texture.visible)
    at_vertices = np.column_stack(told).astype(np.float64)
    x, y, depth, cosines, visible = np.einsum("nk,nkc->cn", weight, at_vertices[corners])
    size = view.crop.size_px
    column, row = (np.floor(v).clip(0, size - 1).astype(np.int64) for v in (x, y))
    behind = depth - view.raster.zbuf[row, column] > _BEHIND_M
    if texture.shows is None:
        whole = ndimage.uniform_filter(view.raster.mask.astype(np.float64), 9, mode="constant")
        skin = _ramp(whole[row, column], *_INSIDE)
    else:
        skin = _ramp(texture.shows.astype(np.float64)[row, column], *_SURE)
    share: Float64[NDArray[Any], "N"] = _ramp(cosines, *_COSINES) * skin * visible**2
    return np.where(behind, 0.0, share)


def _ramp(values: Float64[NDArray[Any], "N"], low: float, high: float) -> Float64[NDArray[Any], "N"]:
    """Return 0 below `low`, 1 above `high` and a line between."""
    line: Float64[NDArray[Any], "N"] = ((values - low) / (high - low)).clip(0, 1)
    return line


def _photo_colors(
    image: RgbImage, places: Float64[NDArray[Any], "N 2"], factor: int
) -> Float64[NDArray[Any], "N 3"]:
    """Sample the photograph bilinearly, shrunk by a whole factor first where it is finer than the texels."""
    low = np.floor(places.min(0)).clip(0, np.array(image.shape[1::-1]) - 1).astype(int)
    high = np.maximum(np.ceil(places.max(0)).clip(1, image.shape[1::-1]).astype(int), low + 1)
    part = Image.fromarray(np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]]))
    small = np.asarray(part.reduce(factor) if factor > 1 else part, dtype=np.float64) / 255
    x, y = ((places - low) / factor - 0.5).T
    channels = [ndimage.map_coordinates(small[..., c], [y, x], order=1, mode="nearest") for c in range(3)]
    return np.stack(channels, -1)
