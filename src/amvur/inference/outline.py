"""The outline of hands as evidence: points of the skin that should lie on lines of the picture."""

from __future__ import annotations

from collections.abc import Sequence
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
from amvur.inference.segmentation import HandLook, Segmentation
from amvur.inference.skin_edges import EdgeSettings, SkinEdges, find_edges
from amvur.inference.vertex_evidence import HandView, look_at_hand
from amvur.models.landmark_trunk import LandmarkTrunk
from amvur.structures import RgbImage

_NO_LINES = (np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
"""What `_lines` returns of a hand that nobody sees."""
_ARM_M = 0.005
"""Skin further from the fingers than this beyond the wrist joint may be covered, or go on as an arm."""


@dataclass(frozen=True)
class OutlineEvidence:
    """Where M points of the skin of each of B right hands lie across the outline of the picture.

    A point's projection should lie on the line through `places` (px) with the unit normal `normals`, up to a
    standard deviation of 1/`weight` (px; weight 0: nothing is known).
    """

    surface: SurfacePoints
    places: Float[Tensor, "B M 2"]
    normals: Float[Tensor, "B M 2"]
    weight: Float[Tensor, "B M"]


def outline_residual(
    chain: LandmarkChain, seen: OutlineEvidence, intrinsics: Float[Tensor, "B 3 3"], state: HandState
) -> tuple[Float[Tensor, "B M"], Float[Tensor, "B M 61"]]:
    """Return how far points are off their lines, in standard deviations, and the derivative of that."""
    points, jacobian = surface_and_jacobian(chain, seen.surface, state)
    pixels, by_point = project_with_jacobian(points, intrinsics)
    across = seen.normals * seen.weight[..., None]
    residual = ((pixels - seen.places) * across).sum(-1)
    return residual, (across[..., None, :] @ by_point @ jacobian)[..., 0, :]


def see_hands(
    image: RgbImage,
    model: HandModel,
    state: HandState,
    intrinsics: Float[np.ndarray, "3 3"],
    left: list[bool],
    settings: EdgeSettings,
    segmentation: Segmentation | None,
    before: Sequence[HandLook | None],
) -> list[HandLook | None]:
    """Look at B hands of one picture; None of those whose mesh is out of it.

    `state` are right hands, mirrored where `left`; `intrinsics` are the picture's own; what was seen `before`
    of the same hands is kept where it can be.
    """
    vertices = model.from_matrices(state.rotations, state.betas, state.transl).vertices.cpu().numpy()
    faces = model.faces.cpu().numpy()
    size_px = settings.crop_px if segmentation is None else LandmarkTrunk.size_px
    looks: list[HandLook | None] = []
    for own, mirrored, earlier in zip(vertices, left, before, strict=True):
        flip = np.array([-1.0 if mirrored else 1.0, 1.0, 1.0])
        order = faces[:, ::-1] if mirrored else faces
        kept = None if earlier is None or earlier.pixels is None else earlier.view
        view = look_at_hand(image, own * flip, order, intrinsics, mirrored, size_px, kept)
        if view is None or not view.raster.mask.any():
            looks.append(None)
        elif segmentation is None:
            looks.append(HandLook(view))
        else:
            looks.append(segmentation.look(view, settings.mesh_std_px * settings.scale(view)))
    return looks


def see_outlines(
    image: RgbImage,
    looks: Sequence[HandLook | None],
    model: HandModel,
    state: HandState,
    settings: EdgeSettings,
) -> OutlineEvidence:
    """Find the outlines of B hands of one picture near those of their meshes, in what `see_hands` saw."""
    parts = parts_of(model)
    found: list[tuple[np.ndarray, ...]] = []
    for look in looks:
        if look is None:
            found.append(_NO_LINES)
            continue
        edges = find_edges(look.view, inside_image(look.view, image), parts, settings, look.pixels)
        found.append(_lines(look.view, edges, image.shape[1]))
    most = max(len(vertex) for vertex, *_ in found)
    padded = [[np.pad(x, [(0, most - len(x)), *[(0, 0)] * (x.ndim - 1)]) for x in row] for row in found]
    vertex, place, normal, weight = (
        torch.from_numpy(np.stack(column)) for column in zip(*padded, strict=True)
    )
    return OutlineEvidence(surface_points(model, state, vertex), place, normal, weight)


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
    middles = np.arange(view.crop.size_px) + 0.5
    x, y = view.crop.invert_points(np.stack([middles, middles], 1)).T  # views are upright
    column, row = ((v > 0.5) & (v < side - 0.5) for v, side in zip((x, y), image.shape[1::-1], strict=True))
    inside: np.ndarray = row[:, None] & column
    return inside


def _lines(view: HandView, edges: SkinEdges, width: int) -> tuple[np.ndarray, ...]:
    """Take edges from a crop to the picture, mirrored if the crop is: vertex, place, normal, weight."""
    mesh = view.pixels[0].double().numpy()[edges.vertex]
    place = view.crop.invert_points(mesh + edges.normal * edges.beyond_px[:, None])
    normal = edges.normal @ view.crop.axes
    if view.crop.mirrored:
        place, normal = place * [-1, 1] + [width, 0], normal * [-1, 1]
    return edges.vertex.astype(np.int64), place, normal, 1 / (edges.std_px * view.pixel_px)
