"""What a photograph says at every vertex of a hand: its colors, the maps of a frozen network, geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy.typing import NDArray
from scipy import ndimage

from amvur.inference.view import HandView, Map
from amvur.raster import vertex_normals

GEOMETRY = 14
NEIGHBORHOOD = 6
_LENGTH_M = 0.1  # coordinates are told in this unit
_STEP_M = 0.01  # steps in depth in this one
_CELL_PX = 4  # of the maps that say what is near: outlines and steps in depth


@dataclass(frozen=True)
class VertexEvidence:
    """What a picture says at every vertex of a right hand: one of `amvur.models.texture.VertexEvidence`."""

    features: Float32[NDArray[Any], "V C"]
    colors: Float32[NDArray[Any], "V 3"]
    visible: Bool[NDArray[Any], "V"]
    pooled: Float32[NDArray[Any], "P"]


def vertex_evidence(
    view: HandView, template: Float[NDArray[Any], "V 3"], maps: Sequence[Map]
) -> VertexEvidence:
    """Return the evidence at the vertices of one hand (eq. 11's reverse interpolation).

    `template` (m) are the vertices of the hand model at rest, which tell the vertices apart; `maps` is what
    the frozen network says of the view's picture.
    """
    places = view.pixels / np.float32(view.crop.size_px)
    picture = view.picture.astype(np.float32) / 255
    sums = _blocks(np.add, picture, 8)
    near = [sums.transpose(2, 0, 1) / 8**2, _blocks(np.add, sums, 4).transpose(2, 0, 1) / 32**2]
    features = np.empty((len(places), sum(len(m) for m in (*maps, *near)) + GEOMETRY), dtype=np.float32)
    first = 0
    for values in (*maps, *near):
        _sample(values, places, features, first)
        first += len(values)
    features[:, first:] = _geometry(view, template, places)
    colors = sample_map(picture.transpose(2, 0, 1), places)
    return VertexEvidence(features, colors, view.visible, maps[-1].mean((1, 2)))


def sample_map(
    values: Float[NDArray[Any], "_ _ _"], places: Float32[NDArray[Any], "N 2"]
) -> Float32[NDArray[Any], "N _"]:
    """Return a map bilinearly at places, told in shares of its width and height; beyond its edge it goes on
    as it ends."""
    found = np.empty((len(places), len(values)), dtype=np.float32)
    _sample(values, places, found, 0)
    return found


def _sample(
    values: Float[NDArray[Any], "_ _ _"],
    places: Float32[NDArray[Any], "N 2"],
    found: Float32[NDArray[Any], "N _"],
    first: int,
) -> None:
    """Sample a map into the columns from `first` on."""
    from amvur.inference.texture._sampling_numba import sample  # numba takes a second to import

    # always of one kind, so that the loop is compiled once
    plane, place = (np.require(x, np.float32, ["C", "W"]) for x in (values, places))
    sample(plane, place, found, first)


def _blocks(join: np.ufunc, values: NDArray[Any], side: int) -> NDArray[Any]:
    """Join the numbers in whole blocks of side × side of (h,w,*c); what is left at the end is dropped."""
    rows, columns, *rest = (values.shape[0] // side, values.shape[1] // side, *values.shape[2:])
    whole = values[: rows * side, : columns * side]
    tall = join.reduce(whole.reshape(rows, side, -1), 1)  # along memory first, which is fast
    blocks: NDArray[Any] = join.reduce(tall.reshape(rows, columns, side, *rest), 2)
    return blocks


def _geometry(
    view: HandView, template: Float[NDArray[Any], "V 3"], places: Float32[NDArray[Any], "V 2"]
) -> Float32[NDArray[Any], "V 14"]:
    """Return coordinates at rest and posed, normals, and how near outlines and nearer parts are."""
    posed = view.vertices - view.vertices.mean(0)
    normals = vertex_normals(view.vertices, view.faces)
    cosine = facing(view.vertices, normals)[:, None]
    mask, border = view.raster.mask, _CELL_PX // 2
    shares = np.pad(mask.astype(np.float64), border) / (2 * _CELL_PX) ** 2
    near = _windows(np.add, _blocks(np.add, shares, _CELL_PX))
    depth = np.pad(np.where(mask, view.raster.zbuf, np.inf), border, constant_values=np.inf)
    wide = ndimage.uniform_filter(near, 7, mode="constant")
    front = _windows(np.minimum, _blocks(np.minimum, depth, _CELL_PX))
    far = view.vertices[:, 2].max()
    ahead = sample_map(np.minimum(front, far)[None], places)
    gap = ((view.vertices[:, 2:] - ahead) / _STEP_M).clip(-1, 5)
    at_rest = (template - template.mean(0)) / _LENGTH_M
    outlines = sample_map(np.stack([near, wide]), places)
    told = (at_rest, posed / _LENGTH_M, normals, cosine, outlines, gap, view.visible[:, None])
    return np.concatenate(told, axis=1).astype(np.float32)


def facing(
    vertices: Float[NDArray[Any], "V 3"], normals: Float[NDArray[Any], "V 3"]
) -> Float[NDArray[Any], "V"]:
    """Return the cosine between each vertex's normal and the way to the camera, at the origin."""
    cosine: NDArray[Any] = -(normals * vertices).sum(1) / np.linalg.norm(vertices, axis=1)
    return cosine


def _windows(join: np.ufunc, cells: Float[NDArray[Any], "h w"]) -> Float[NDArray[Any], "rows columns"]:
    """Join each cell with the next ones to the right, below and between: windows that overlap by half."""
    pairs = join(cells[:-1], cells[1:])
    windows: NDArray[Any] = join(pairs[:, :-1], pairs[:, 1:])
    return windows


def feature_width(level_widths: Sequence[int]) -> int:
    """Return how many numbers `VertexEvidence.features` has at a vertex, of maps with so many channels."""
    return sum(level_widths) + NEIGHBORHOOD + GEOMETRY
