"""The door of a reconstruction: inside every hand is a right one, and its detector's passes are merged.

A left hand comes in as a right one in the mirror image of its photograph, and its reconstruction is mirrored
back on the way out. Nothing between knows sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float64

from amvur.inference.estimator.posterior import LaplacePosterior
from amvur.structures import (
    Camera,
    HandDetection,
    HandReconstruction,
    RgbImage,
    UvTexture,
)

MIRROR = np.array([-1.0, 1.0, 1.0])
_TURN = -MIRROR  # a rotation vector in a mirror: what turns about the normal of the mirror stays
# The right hand's palm seen with fingers up, thumb on the right, in units of its height, centred.
_OPEN_PALM = np.array(
    [
        [-0.02, 0.50], [0.13, 0.40], [0.25, 0.22], [0.33, 0.06], [0.39, -0.07],
        [0.12, 0.03], [0.15, -0.18], [0.17, -0.30], [0.18, -0.41], [0.01, 0.01],
        [0.01, -0.24], [0.01, -0.38], [0.01, -0.50], [-0.09, 0.05], [-0.12, -0.17],
        [-0.14, -0.31], [-0.15, -0.42], [-0.18, 0.11], [-0.24, -0.04], [-0.28, -0.13], [-0.31, -0.23],
    ]
)  # fmt: skip


@dataclass(frozen=True)
class MergedPasses:
    """One hand's landmarks over the detector's passes: their medians and how far passes differ.

    Where a joint was not seen, the mean of the others stands; where none was, an open palm in the box.
    """

    joints_2d_px: Float64[np.ndarray, "21 2"]
    spread_px: Float64[np.ndarray, "21"]
    depth_px: Float64[np.ndarray, "21"] | None
    landmarks_3d_m: Float64[np.ndarray, "21 3"] | None

    @property
    def size_px(self) -> float:
        """Return the longer side of the joints' box."""
        return float(np.ptp(self.joints_2d_px, axis=0).max())

    @property
    def relative_spread(self) -> float:
        """How far passes differ, root mean square over joints, in units of the hand's size (1 px or more)."""
        return float(np.sqrt(np.mean(self.spread_px**2)) / max(self.size_px, 1.0))


@dataclass(frozen=True, eq=False)
class HandFrame:
    """One detected hand as a right one: `camera`, `detection` and what follows are in the pixels of `image`.

    `image` is the photograph, for a left hand its mirror image (`mirrored`), None where only joints are
    known.
    """

    image: RgbImage | None
    camera: Camera
    detection: HandDetection
    mirrored: bool = False

    @property
    def box_only(self) -> bool:
        """Whether no joint of the hand was detected."""
        return not self.detection.confidence.any()

    @property
    def flip(self) -> Float[np.ndarray, "3"]:
        """Return what turns this right hand's points into those of the hand in the photograph."""
        return MIRROR if self.mirrored else np.ones(3)

    @cached_property
    def merged(self) -> MergedPasses:
        """Return the detector's passes as one."""
        return merge_passes(self.detection)


def enter(image: RgbImage | None, camera: Camera, detections: Sequence[HandDetection]) -> list[HandFrame]:
    """Return the hands of a photograph (None: only joints are known) as right ones."""
    twin, mirrored = (None if image is None else image[:, ::-1]), camera.mirrored()
    return [
        HandFrame(twin, mirrored, _mirrored(found, camera.width), True)
        if found.side == "left"
        else HandFrame(image, camera, found)
        for found in detections
    ]


def leave(hand: HandReconstruction, mirrored: bool) -> HandReconstruction:
    """Return the reconstruction of a right hand as that of the hand which came in."""
    if not mirrored:
        return hand
    width, pose, bones = hand.camera.width, hand.parameters, hand.skeleton
    turned = bones.T_camera_bone.copy()
    turned[:, :3, :3] *= np.outer(MIRROR, MIRROR).astype(np.float32)
    turned[:, :3, 3] *= MIRROR.astype(np.float32)
    posterior = hand.posterior
    assert isinstance(posterior, LaplacePosterior)
    return replace(
        hand,
        side="left",
        box_xyxy_px=_mirrored_box(hand.box_xyxy_px, width),
        camera=hand.camera.mirrored(),
        vertices=_flipped(hand.vertices),
        faces=hand.faces[:, ::-1].copy(),
        joints=_flipped(hand.joints),
        joints_2d=(hand.joints_2d * [-1, 1] + [width, 0]).astype(np.float32),
        parameters=replace(
            pose,
            global_orient=pose.global_orient * _TURN,
            hand_pose=pose.hand_pose * np.tile(_TURN, 15),
            transl=pose.transl * MIRROR,
        ),
        skeleton=replace(
            bones,
            rest_vertices=_flipped(bones.rest_vertices),
            rest_joints=_flipped(bones.rest_joints),
            T_camera_bone=turned,
        ),
        posterior=replace(posterior, side="left"),
        uv_texture=None if hand.uv_texture is None else _turned_faces(hand.uv_texture),
    )


def merge_passes(detection: HandDetection) -> MergedPasses:
    """Take medians over passes; `spread_px` is the passes' standard deviation per joint and axis (rms)."""
    seen = detection.confidence > 0
    if not seen.any():
        joints = _palm_in(detection)
        return MergedPasses(joints, np.zeros(21), None, None)

    def filled(values: np.ndarray) -> np.ndarray:
        # anything may stand at a joint that was not seen, NaN too
        mask = seen.reshape(-1, *[1] * (values.ndim - 2))
        return np.where(mask, values, values[:, seen].mean(1, keepdims=True))

    passes = filled(detection.joints_2d_px)
    depth, marks = (
        None if values is None else np.median(filled(values), 0)
        for values in (detection.depth_px, detection.landmarks_3d_m)
    )
    return MergedPasses(np.median(passes, 0), np.sqrt(passes.var(0).mean(-1)), depth, marks)


def lies_on(detection: HandDetection, joints_2d: Float[np.ndarray, "21 2"]) -> bool:
    """Whether a detection is of the hand with these joints (px): on average within 15 % of its size."""
    merged = merge_passes(detection)
    error = np.linalg.norm(merged.joints_2d_px - joints_2d, axis=-1).mean()
    return float(error) < 0.15 * merged.size_px


def _palm_in(detection: HandDetection) -> Float64[np.ndarray, "21 2"]:
    """Return the joints of an open palm that fills the box, fingers up: all that a box tells."""
    x0, y0, x1, y1 = detection.box_xyxy_px
    middle, side = np.array([(x0 + x1) / 2, (y0 + y1) / 2]), max(x1 - x0, y1 - y0)
    palm = _OPEN_PALM * ([-1.0, 1.0] if detection.side == "left" else [1.0, 1.0])
    joints: np.ndarray = middle + 0.9 * side * palm
    return joints


def _mirrored(detection: HandDetection, width: int) -> HandDetection:
    """Return a left hand's detection as a right hand's in the mirror image."""
    marks = detection.landmarks_3d_m
    return replace(
        detection,
        side="right",
        box_xyxy_px=_mirrored_box(detection.box_xyxy_px, width),
        joints_2d_px=detection.joints_2d_px * [-1, 1] + [width, 0],
        landmarks_3d_m=None if marks is None else marks * MIRROR,
    )


def _mirrored_box(box_xyxy_px: Float[np.ndarray, "4"], width: int) -> Float[np.ndarray, "4"]:
    """Return a box in the mirror image."""
    x0, y0, x1, y1 = box_xyxy_px
    return np.array([width - x1, y0, width - x0, y1])


def _flipped(points: np.ndarray) -> np.ndarray:
    """Return points (N,3) in the mirror, of the same kind of numbers."""
    flipped: np.ndarray = points * MIRROR.astype(points.dtype)
    return flipped


def _turned_faces(texture: UvTexture) -> UvTexture:
    """Return a texture picture whose faces have the other orientation."""
    return replace(texture, faces=texture.faces[:, ::-1].copy())
