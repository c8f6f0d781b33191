"""Where a photograph shows the contour of a hand that lies about where a mesh has it.

A segmentation tells the hand from the rest; along the normal of each point of the mesh's outline the hand
ends somewhere, with a probability for each place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int
from numpy.typing import NDArray
from scipy import ndimage

from amvur.inference.estimator.config import ContourSettings
from amvur.inference.silhouette.segmentation import HandPixels
from amvur.inference.view import HandView

_STEP_PX = 0.5
_EVERY = 5
"""Two of so many pixels of the outline are asked, as seen in a crop of `ContourSettings.crop_px`."""
_SMOOTH_PX = 1.2
_MIN_VARIANCE_PX2 = 0.1


@dataclass(frozen=True)
class Contour:
    """N places of the outline in a view: the mesh's vertex there, its outward normal, by how many pixels of
    the view the hand goes on beyond the mesh (negative: ends before), and that number's deviation."""

    vertex: Int[NDArray[Any], "N"]
    normal: Float64[NDArray[Any], "N 2"]
    beyond_px: Float64[NDArray[Any], "N"]
    std_px: Float64[NDArray[Any], "N"]


def scale_of(view: HandView, settings: ContourSettings) -> float:
    """Return how many pixels of a view are one of the settings'."""
    return view.crop.size_px / settings.crop_px


def find_contour(
    view: HandView,
    pixels: HandPixels,
    inside_image: Bool[NDArray[Any], "S S"],
    parts: Int[NDArray[Any], "V"],
    settings: ContourSettings,
) -> Contour:
    """Find the contour of a hand near the outline of its mesh, by what a segmentation says of the pixels.

    `inside_image` are those that lie in the photograph; `parts` number the parts of the hand with a thickness
    of their own, −1 where the mesh ends and the arm goes on.
    """
    mask, scale = view.raster.mask, scale_of(view, settings)
    depth, odds = pixels.depth_px, pixels.evidence.clip(-settings.most_evidence, settings.most_evidence)
    row, column = _outline(mask, round(_EVERY * scale))
    normal = _normals(depth, row, column, _SMOOTH_PX * scale)
    vertex = _nearest_vertex(view, row, column)
    steps = np.arange(-settings.search_px, settings.search_px + _STEP_PX / 2, _STEP_PX)
    along = np.stack([row, column])[:, :, None] + normal.T[::-1, :, None] * (scale * steps)
    told = ndimage.map_coordinates(odds, along, order=1, mode="nearest")
    known = ndimage.map_coordinates(inside_image.astype(float), along, order=1, mode="constant") > 0.99
    straight = _straight(ndimage.map_coordinates(depth, along, order=1, mode="nearest") / scale, steps)
    beyond, precision = _locate(np.where(known & straight, told, 0.0), steps, settings)
    good = (precision > 0) & known[:, len(steps) // 2] & (parts[vertex] >= 0)
    vertex, normal, beyond, precision = (x[good] for x in (vertex, normal, beyond, precision))
    std = np.sqrt((1 / precision + settings.model_std_px**2) * settings.repeats)
    beyond = _without_thickness(beyond, std, parts[vertex], settings)
    return Contour(vertex, normal, scale * beyond, scale * std)


def _outline(
    mask: Bool[NDArray[Any], "S S"], every: int
) -> tuple[Int[NDArray[Any], "N"], Int[NDArray[Any], "N"]]:
    """Return rows and columns of two of `every` (odd) outermost pixels of a mask, however they run."""
    wide = np.pad(mask, 1, constant_values=True)
    surrounded = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    row, column = (mask & ~surrounded).nonzero()
    kept = np.isin((column + 2 * row) % every, (0, every // 2 + 1))
    return row[kept], column[kept]


def _normals(
    depth: Float64[NDArray[Any], "S S"],
    row: Int[NDArray[Any], "N"],
    column: Int[NDArray[Any], "N"],
    smooth_px: float,
) -> Float64[NDArray[Any], "N 2"]:
    """Return outward unit normals (x, y) of the outline."""
    smooth = ndimage.gaussian_filter(depth, smooth_px)
    top, bottom = np.maximum(row - 1, 0), np.minimum(row + 1, len(depth) - 1)
    left, right = np.maximum(column - 1, 0), np.minimum(column + 1, len(depth) - 1)
    by_row = (smooth[bottom, column] - smooth[top, column]) / (bottom - top)
    by_column = (smooth[row, right] - smooth[row, left]) / (right - left)
    normal = -np.stack([by_column, by_row], 1)
    unit: Float64[NDArray[Any], "N 2"] = normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9)
    return unit


def _nearest_vertex(
    view: HandView, row: Int[NDArray[Any], "N"], column: Int[NDArray[Any], "N"]
) -> Int[NDArray[Any], "N"]:
    """Return the vertex of each pixel's face that is nearest to it."""
    corners = view.faces[view.raster.pix_to_face[row, column]]
    nearest = view.raster.bary_coords[row, column].argmax(1)
    vertex: Int[NDArray[Any], "N"] = np.take_along_axis(corners, nearest[:, None], 1)[:, 0]
    return vertex


def _straight(
    depth: Float64[NDArray[Any], "N K"], steps: Float64[NDArray[Any], "K"]
) -> Bool[NDArray[Any], "N K"]:
    """Mark the stretch of each normal, about its middle, that leads straight out: no other part is nearer."""
    good = np.abs(depth + steps) < np.maximum(1.5, 0.35 * np.abs(steps))
    middle = len(steps) // 2
    outward = np.logical_and.accumulate(good[:, middle:], 1)
    inward = np.logical_and.accumulate(good[:, middle::-1], 1)[:, ::-1]
    return np.concatenate([inward[:, :-1], outward], 1)


def _locate(
    odds: Float64[NDArray[Any], "N K"], steps: Float64[NDArray[Any], "K"], settings: ContourSettings
) -> tuple[Float64[NDArray[Any], "N"], Float64[NDArray[Any], "N"]]:
    """Return where the skin ends along each normal and how precisely that is known, less what was believed.

    If it ends at e, all before is skin and all behind is none: ln P(colors | e) is the sum of the log odds up
    to e, but for a constant. The posterior's mean and variance, less the prior's part, are the answer;
    nothing is known (0) where the colors leave the place as open as before.
    """
    summed = settings.temper * _STEP_PX * (np.cumsum(odds, 1) - 0.5 * odds)
    prior = -0.5 * np.square(steps / settings.mesh_std_px)
    believed = np.exp(summed - summed.max(1, keepdims=True) + prior)
    believed /= believed.sum(1, keepdims=True)
    mean = believed @ steps
    variance = (believed @ np.square(steps) - mean**2).clip(_MIN_VARIANCE_PX2)
    before = np.exp(prior) / np.exp(prior).sum()
    precision = 1 / variance - 1 / (before @ np.square(steps))
    precision = np.where(precision > 0.06, precision, 0.0)
    place = mean / variance / np.where(precision > 0, precision, np.inf)
    return place.clip(-settings.search_px, settings.search_px), precision


def _without_thickness(
    beyond: Float64[NDArray[Any], "N"],
    std: Float64[NDArray[Any], "N"],
    parts: Int[NDArray[Any], "N"],
    settings: ContourSettings,
) -> Float64[NDArray[Any], "N"]:
    """Take off what all sides of a part have in common: it is thicker or thinner, and no further out."""
    left = beyond.copy()
    for part in np.unique(parts):
        own = parts == part
        weight = std[own] ** -2
        common = (weight * beyond[own]).sum() / (weight.sum() + settings.thickness_std_px**-2)
        left[own] -= common
    return left
