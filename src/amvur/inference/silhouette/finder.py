"""The contours of hands in pictures, looked for near those of their meshes."""

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
from amvur.inference.estimator.config import ContourSettings
from amvur.inference.estimator.silhouette_term import Contours
from amvur.inference.frames import HandFrame
from amvur.inference.silhouette.contour import find_contour, scale_of
from amvur.inference.silhouette.segmentation import HandLook, Segmentation
from amvur.inference.view import HandView, look_at_hand
from amvur.structures import Camera

_NO_LINES = (np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
"""The contour of a hand that nobody sees."""
_ARM_M = 0.005
"""Skin further from the fingers than this beyond the wrist joint may be covered, or go on as an arm."""


class ContourFinder:
    """Looks for the contours of B hands near those of their meshes, and keeps what it saw.

    `looks` holds by row what was seen at last, None of a hand whose mesh is out of its picture.
    """

    def __init__(
        self,
        frames: Sequence[HandFrame],
        pose: HandPoser,
        segmentation: Segmentation,
        settings: ContourSettings,
    ) -> None:
        """Remember the pictures; nothing is looked at yet."""
        self._frames, self._pose = frames, pose
        self._segmentation, self._settings = segmentation, settings
        self._parts = parts_of(pose.arrays)
        self.looks: dict[int, HandLook | None] = {}

    def __call__(self, state: HandState, rows: Int[NDArray[Any], "N"]) -> Contours:
        """Look once at the hands of `rows`, as in `state` (N)."""
        meshes, settings = self._pose(state).vertices, self._settings
        views = {i: self._view(i, vertices) for i, vertices in zip(rows.tolist(), meshes, strict=True)}
        seen = {i: view for i, view in views.items() if view is not None}
        spread = [settings.mesh_std_px * scale_of(view, settings) for view in seen.values()]
        self.looks |= dict.fromkeys(views) | dict(
            zip(seen, self._segmentation(list(seen.values()), spread), strict=True)
        )
        found = [self._lines(i) for i in views]
        most = max(len(vertex) for vertex, *_ in found)
        padded = [[np.pad(x, [(0, most - len(x)), *[(0, 0)] * (x.ndim - 1)]) for x in row] for row in found]
        vertex, place, normal, weight = (np.stack(column) for column in zip(*padded, strict=True))
        return Contours(self._pose.hand.skin(state, vertex), place, normal, weight)

    def _view(self, row: int, vertices: Float[NDArray[Any], "V 3"]) -> HandView | None:
        """Return the picture near a hand's mesh, None of one that is out of it."""
        frame, faces = self._frames[row], self._pose.arrays.faces
        if frame.image is None:
            return None
        view = look_at_hand(frame.image, vertices, faces, frame.camera.intrinsics)
        return None if view is None or not view.raster.mask.any() else view

    def _lines(self, row: int) -> tuple[np.ndarray, ...]:
        """Take a contour to the picture: vertex, place, normal, weight."""
        look, camera = self.looks[row], self._frames[row].camera
        if look is None:
            return _NO_LINES
        view = look.view
        contour = find_contour(view, look.pixels, inside_image(view, camera), self._parts, self._settings)
        mesh = view.pixels[contour.vertex].astype(np.float64)
        place = view.crop.invert_points(mesh + contour.normal * contour.beyond_px[:, None])
        normal = contour.normal @ view.crop.axes
        return contour.vertex.astype(np.int64), place, normal, 1 / (contour.std_px * view.pixel_px)


def parts_of(arrays: HandModelArrays) -> Int[NDArray[Any], "V"]:
    """Number each vertex's part: the palm 0, fingers from 1; −1 beyond the wrist."""
    bone = arrays.lbs_weights.argmax(1)
    wrist, middle = arrays.joint_template[0], arrays.joint_template[BONE_JOINTS[4]]
    axis = (middle - wrist) / np.linalg.norm(middle - wrist)
    along = (arrays.v_template - wrist) @ axis
    parts: Int[NDArray[Any], "V"] = np.where(along < -_ARM_M, -1, (bone + 2) // 3)
    return parts


def inside_image(view: HandView, camera: Camera) -> np.ndarray:
    """Mark the pixels of a view that show the photograph and not what continues it."""
    middles = np.arange(view.crop.size_px) + 0.5
    x, y = view.crop.invert_points(np.stack([middles, middles], 1)).T  # views are upright
    sides = (camera.width, camera.height)
    column, row = ((v > 0.5) & (v < side - 0.5) for v, side in zip((x, y), sides, strict=True))
    inside: np.ndarray = row[:, None] & column
    return inside
