"""The outline of hands as evidence: points of the skin that should lie on lines of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from amvur.geometry.cameras import project_with_jacobian
from amvur.hand.joints import BONE_JOINTS
from amvur.hand.landmarks import HandState, LandmarkChain
from amvur.hand.model import HandModel
from amvur.hand.surface import SurfacePoints, surface_and_jacobian, surface_points
from amvur.inference.segmentation import Segmentation
from amvur.inference.skin_edges import EdgeSettings, SkinEdges, find_edges, segmented_odds
from amvur.inference.vertex_evidence import HandView, look_at_hand
from amvur.models.landmark_trunk import LandmarkTrunk
from amvur.structures import RgbImage

_ARM_M = 0.005
"""Skin further from the fingers than this beyond the wrist joint may be covered, or go on as an arm."""


@dataclass(frozen=True)
class OutlineEvidence:
    """Where M points of the skin of each of B right hands lie across the outline of the picture.

    A point's projection should lie on the line through `places` (px) with the unit normal `normals`, up to a
    standard deviation of 1/`weight` (px; weight 0: nothing is known). `mismatch` is that of mesh and
    segmentation (`HandPixels`), NaN where none was asked.
    """

    surface: SurfacePoints
    places: Float[Tensor, "B M 2"]
    normals: Float[Tensor, "B M 2"]
    weight: Float[Tensor, "B M"]
    mismatch: Float[Tensor, "B"]


def outline_residual(
    chain: LandmarkChain, seen: OutlineEvidence, intrinsics: Float[Tensor, "B 3 3"], state: HandState
) -> tuple[Float[Tensor, "B M"], Float[Tensor, "B M 61"]]:
    """Return how far points are off their lines, in standard deviations, and the derivative of that."""
    points, jacobian = surface_and_jacobian(chain, seen.surface, state)
    pixels, by_point = project_with_jacobian(points, intrinsics)
    across = seen.normals * seen.weight[..., None]
    residual = ((pixels - seen.places) * across).sum(-1)
    return residual, (across[..., None, :] @ by_point @ jacobian)[..., 0, :]


def see_outlines(
    image: RgbImage,
    model: HandModel,
    state: HandState,
    intrinsics: Float[np.ndarray, "3 3"],
    left: list[bool],
    settings: EdgeSettings,
    segmentation: Segmentation | None = None,
) -> OutlineEvidence:
    """Look for the outlines of B hands of one picture near those of their meshes.

    `state` are right hands, mirrored where `left`; `intrinsics` are the picture's own. A segmentation tells
    the hand from the rest, else colors do.
    """
    sizes_px = settings.crop_px, LandmarkTrunk.size_px
    vertices = model.from_matrices(state.rotations, state.betas, state.transl).vertices.cpu().numpy()
    faces, parts = model.faces.cpu().numpy(), parts_of(model)
    found, mismatch = [], []
    for own, mirrored in zip(vertices, left, strict=True):
        flip = np.array([-1.0 if mirrored else 1.0, 1.0, 1.0])
        order = faces[:, ::-1] if mirrored else faces
        views = (look_at_hand(image, own * flip, order, intrinsics, mirrored, px) for px in sizes_px)
        view, fine = (None if v is None or not v.raster.mask.any() else v for v in views)
        pixels = None
        if segmentation is not None and fine is not None:
            pixels = segmentation(fine, settings.mesh_std_px * fine.crop.size_px / settings.crop_px)
        odds = None if pixels is None else segmented_odds(pixels, settings)
        edges = None if view is None else find_edges(view, inside_image(view, image), parts, settings, odds)
        found.append(_lines(view, edges, image.shape[1]))
        mismatch.append(np.nan if pixels is None else pixels.mismatch)
    most = max(len(vertex) for vertex, *_ in found)
    padded = [[np.pad(x, [(0, most - len(x)), *[(0, 0)] * (x.ndim - 1)]) for x in row] for row in found]
    vertex, place, normal, weight = (
        torch.from_numpy(np.stack(column)) for column in zip(*padded, strict=True)
    )
    surface = surface_points(model, state, vertex)
    return OutlineEvidence(surface, place, normal, weight, torch.tensor(mismatch, dtype=torch.float64))


def parts_of(model: HandModel) -> Int[NDArray[Any], "V"]:
    """Number each vertex's part: the palm 0, fingers from 1; −1 beyond the wrist."""
    bone = model.lbs_weights.argmax(1).cpu().numpy()
    joints = model.joint_template[list(BONE_JOINTS)]
    wrist, middle = model.joint_template[0], joints[4]
    axis = torch.nn.functional.normalize(middle - wrist, dim=0)
    along = ((model.v_template - wrist) @ axis).cpu().numpy()
    parts: Int[NDArray[Any], "V"] = np.where(along < -_ARM_M, -1, (bone + 2) // 3)
    return parts


def inside_image(view: HandView, image: RgbImage) -> np.ndarray:
    """Mark the pixels of a view that show the photograph and not what continues it."""
    size = view.crop.size_px
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1) + 0.5
    places = view.crop.invert_points(grid)
    inside: np.ndarray = ((places > 0.5) & (places < np.array(image.shape[1::-1]) - 0.5)).all(-1)
    return inside


def _lines(view: HandView | None, edges: SkinEdges | None, width: int) -> tuple[np.ndarray, ...]:
    """Take edges from a crop to the picture, mirrored if the crop is: vertex, place, normal, weight."""
    if view is None or edges is None:
        return np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0)
    mesh = view.pixels[0].double().numpy()[edges.vertex]
    place = view.crop.invert_points(mesh + edges.normal * edges.beyond_px[:, None])
    normal = edges.normal @ view.crop.axes
    if view.crop.mirrored:
        place, normal = place * [-1, 1] + [width, 0], normal * [-1, 1]
    return edges.vertex.astype(np.int64), place, normal, 1 / (edges.std_px * view.pixel_px)
