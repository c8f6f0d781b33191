"""The contours of hands in a picture, looked for near those of their meshes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from amvur.hand.joints import BONE_JOINTS
from amvur.hand.kinematics import HandState
from amvur.hand.model_arrays import HandModelArrays
from amvur.hand.posing import HandPoser
from amvur.inference.estimator.silhouette_term import Contours
from amvur.inference.silhouette.contour import ContourSettings, find_contour
from amvur.inference.silhouette.segmentation import HandLook, Segmentation
from amvur.inference.vertex_evidence import HandView, look_at_hand
from amvur.structures import RgbImage

_NO_LINES = (np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
"""The contour of a hand that nobody sees."""
_ARM_M = 0.005
"""Skin further from the fingers than this beyond the wrist joint may be covered, or go on as an arm."""


class ContourFinder:
    """Looks for the contours of B hands of one picture near those of their meshes, and keeps what it saw.

    `intrinsics` are the picture's own; hands are right ones, mirrored where `left`. `looks` holds what was
    seen at last, None of a hand whose mesh is out of the picture.
    """

    def __init__(
        self,
        image: RgbImage,
        pose: HandPoser,
        intrinsics: Float[np.ndarray, "3 3"],
        left: Sequence[bool],
        segmentation: Segmentation,
        settings: ContourSettings | None = None,
    ) -> None:
        """Remember the picture; nothing is looked at yet."""
        self._image, self._pose, self._intrinsics, self._left = image, pose, intrinsics, left
        self._segmentation, self._settings = segmentation, settings or ContourSettings()
        self._parts = parts_of(pose.arrays)
        self.looks: list[HandLook | None] = [None] * len(left)

    def __call__(self, state: HandState) -> Contours:
        """Look once, at hands as in `state`."""
        vertices = self._pose(state).vertices
        for i, own in enumerate(vertices):
            self.looks[i] = self._look(own, self._left[i], self.looks[i])
        found = [_NO_LINES if look is None else self._lines(look) for look in self.looks]
        most = max(len(vertex) for vertex, *_ in found)
        padded = [[np.pad(x, [(0, most - len(x)), *[(0, 0)] * (x.ndim - 1)]) for x in row] for row in found]
        vertex, place, normal, weight = (np.stack(column) for column in zip(*padded, strict=True))
        return Contours(self._pose.hand.skin(state, vertex), place, normal, weight)

    def _look(
        self, vertices: Float[NDArray[Any], "V 3"], left: bool, before: HandLook | None
    ) -> HandLook | None:
        """Segment the picture near one hand's mesh; what was seen `before` is kept where it can be."""
        flip, faces = np.array([-1.0 if left else 1.0, 1.0, 1.0]), self._pose.arrays.faces
        order = faces[:, ::-1] if left else faces
        kept = None if before is None else before.view
        view = look_at_hand(self._image, vertices * flip, order, self._intrinsics, left, before=kept)
        if view is None or not view.raster.mask.any():
            return None
        settings = self._settings
        return self._segmentation.look(view, settings.mesh_std_px * settings.scale(view))

    def _lines(self, look: HandLook) -> tuple[np.ndarray, ...]:
        """Take a contour to the picture, mirrored if the crop is: vertex, place, normal, weight."""
        view, width = look.view, self._image.shape[1]
        assert look.pixels is not None
        inside = inside_image(view, self._image)
        contour = find_contour(view, look.pixels, inside, self._parts, self._settings)
        mesh = view.pixels[contour.vertex].astype(np.float64)
        place = view.crop.invert_points(mesh + contour.normal * contour.beyond_px[:, None])
        normal = contour.normal @ view.crop.axes
        if view.crop.mirrored:
            place, normal = place * [-1, 1] + [width, 0], normal * [-1, 1]
        return contour.vertex.astype(np.int64), place, normal, 1 / (contour.std_px * view.pixel_px)


def parts_of(arrays: HandModelArrays) -> Int[NDArray[Any], "V"]:
    """Number each vertex's part: the palm 0, fingers from 1; −1 beyond the wrist."""
    bone = arrays.lbs_weights.argmax(1)
    wrist, middle = arrays.joint_template[0], arrays.joint_template[BONE_JOINTS[4]]
    axis = (middle - wrist) / np.linalg.norm(middle - wrist)
    along = (arrays.v_template - wrist) @ axis
    parts: Int[NDArray[Any], "V"] = np.where(along < -_ARM_M, -1, (bone + 2) // 3)
    return parts


def inside_image(view: HandView, image: RgbImage) -> np.ndarray:
    """Mark the pixels of a view that show the photograph and not what continues it."""
    middles = np.arange(view.crop.size_px) + 0.5
    x, y = view.crop.invert_points(np.stack([middles, middles], 1)).T  # views are upright
    column, row = ((v > 0.5) & (v < side - 0.5) for v, side in zip((x, y), image.shape[1::-1], strict=True))
    inside: np.ndarray = row[:, None] & column
    return inside
