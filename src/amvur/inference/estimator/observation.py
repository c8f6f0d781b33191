"""What a detector and a network saw of hands, merged and as right hands: left ones are mirrored in x here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from amvur.detect.convention import LandmarkConvention, load_convention
from amvur.structures import HandDetection

_MIRROR = np.array([-1.0, 1.0, 1.0])
# The left hand's palm seen with fingers up, thumb on the left, in units of its height, centred.
_OPEN_PALM = np.array(
    [
        [0.02, 0.50], [-0.13, 0.40], [-0.25, 0.22], [-0.33, 0.06], [-0.39, -0.07],
        [-0.12, 0.03], [-0.15, -0.18], [-0.17, -0.30], [-0.18, -0.41], [-0.01, 0.01],
        [-0.01, -0.24], [-0.01, -0.38], [-0.01, -0.50], [0.09, 0.05], [0.12, -0.17],
        [0.14, -0.31], [0.15, -0.42], [0.18, 0.11], [0.24, -0.04], [0.28, -0.13], [0.31, -0.23],
    ]
)  # fmt: skip
_BOX = replace(load_convention("amvur"), joints_2d_scale=np.full(21, 0.35))


@dataclass(frozen=True)
class MergedPasses:
    """One hand's landmarks over the detector's passes: their median and how far passes differ."""

    joints_2d_px: Float64[np.ndarray, "21 2"]
    spread_px: Float64[np.ndarray, "21"]
    size_px: float

    @property
    def relative_spread(self) -> float:
        """How far passes differ, root mean square over joints, in units of the hand's size (1 px or more)."""
        return float(np.sqrt(np.mean(self.spread_px**2)) / max(self.size_px, 1.0))


@dataclass(frozen=True)
class Observations:
    """A detector's landmarks of B right hands with weights 1/σ (0 where nothing was seen).

    `joints_2d` in pixels; `depth` relative to the wrist in pixels (weak perspective, larger is
    further); `landmarks_3d` in metres, known up to a similarity. Weights are in the inverse unit.
    """

    intrinsics: Float64[np.ndarray, "B 3 3"]
    joints_2d: Float64[np.ndarray, "B 21 2"]
    joints_2d_weight: Float64[np.ndarray, "B 21"]
    depth: Float64[np.ndarray, "B 21"]
    depth_weight: Float64[np.ndarray, "B 21"]
    landmarks_3d: Float64[np.ndarray, "B 21 3"]
    landmarks_3d_weight: Float64[np.ndarray, "B 21"]

    def down_weighted(self, share: Float64[np.ndarray, "B #21"]) -> Observations:
        """Return the same with all weights times `share`."""
        return replace(
            self,
            joints_2d_weight=share * self.joints_2d_weight,
            depth_weight=share * self.depth_weight,
            landmarks_3d_weight=share * self.landmarks_3d_weight,
        )

    def __getitem__(self, rows: Int[np.ndarray, "N"]) -> Observations:
        """Return the observations of some of the hands, each as often as it is named."""
        return Observations(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True)
class NetworkObservations:
    """What a network says of B right hands' own joints (no detector's convention).

    `relative_joints` are metres relative to the wrist in the camera's axes; `relative_weight` turns an error
    of theirs into standard deviations (a square root of the precision, 1/m; zero where there is nothing).
    `joints_2d` in pixels with weights 1/σ by axis.
    """

    relative_joints: Float64[np.ndarray, "B 21 3"]
    relative_weight: Float64[np.ndarray, "B 21 3 3"]
    joints_2d: Float64[np.ndarray, "B 21 2"]
    joints_2d_weight: Float64[np.ndarray, "B 21 2"]

    @property
    def present(self) -> Bool[np.ndarray, "B"]:
        """Which hands the network saw."""
        weight = self.relative_weight
        present: np.ndarray = np.abs(weight).reshape(len(weight), -1).sum(-1) > 0
        return present

    def __getitem__(self, rows: Int[np.ndarray, "N"]) -> NetworkObservations:
        """Return what was said of some of the hands, each as often as it is named."""
        return NetworkObservations(*(getattr(self, f.name)[rows] for f in fields(self)))


def merge_passes(detection: HandDetection) -> MergedPasses:
    """Take the median over passes; `spread_px` is the passes' standard deviation per joint and axis (rms)."""
    passes = without_unseen(detection).joints_2d_px
    middle = np.median(passes, 0)
    spread = np.sqrt(passes.var(0).mean(-1))
    return MergedPasses(middle, spread, float(np.ptp(middle, axis=0).max()))


def lies_on(detection: HandDetection, joints_2d: Float[np.ndarray, "21 2"]) -> bool:
    """Whether a detection is of the hand with these joints (px): on average within 15 % of its size."""
    merged = merge_passes(detection)
    error = np.linalg.norm(merged.joints_2d_px - joints_2d, axis=-1).mean()
    return float(error) < 0.15 * merged.size_px


def observe(
    detections: Sequence[HandDetection],
    intrinsics: Float[np.ndarray, "3 3"],
    width: int,
    convention: LandmarkConvention,
) -> Observations:
    """Return what a detector saw of the hands of a picture `width` pixels wide.

    The spread between passes adds to a 2D landmark's variance; a joint of confidence 0 weighs nothing.
    """
    hands = [_observe_one(d, intrinsics, width, convention) for d in detections]
    return Observations(*(np.stack(column) for column in zip(*hands, strict=True)))


def _observe_one(
    detection: HandDetection,
    intrinsics: Float[np.ndarray, "3 3"],
    width: int,
    convention: LandmarkConvention,
) -> tuple[np.ndarray, ...]:
    """Return the fields of `Observations` of one hand."""
    left = detection.side == "left"
    if not detection.confidence.any():
        convention = _BOX
    detection = without_unseen(detection)
    merged = merge_passes(detection)
    joints, camera = merged.joints_2d_px.copy(), np.array(intrinsics, dtype=np.float64)
    if left:
        joints[:, 0] = width - joints[:, 0]
        camera = mirror_intrinsics(camera, width)
    seen = np.sqrt(detection.confidence)
    size = max(merged.size_px, 1.0)
    scale = np.hypot(convention.joints_2d_scale * size, merged.spread_px)
    depth, depth_weight = np.zeros(21), np.zeros(21)
    if detection.depth_px is not None:
        depth = np.median(detection.depth_px, 0) * convention.depth_gain
        depth_weight = seen / (convention.depth_scale * size)
    marks, marks_weight = np.zeros((21, 3)), np.zeros(21)
    if detection.landmarks_3d_m is not None:
        marks = np.median(detection.landmarks_3d_m, 0) * (_MIRROR if left else 1.0)
        marks_weight = seen / convention.landmarks_3d_scale_m
    return camera, joints, seen / scale, depth, depth_weight, marks, marks_weight


def mirror_intrinsics(intrinsics: Float64[np.ndarray, "3 3"], width: int) -> Float64[np.ndarray, "3 3"]:
    """Return the camera of the picture mirrored left to right (x → width − x)."""
    mirrored = intrinsics.copy()
    mirrored[0, 2] = width - intrinsics[0, 2]
    mirrored[0, 1] = -intrinsics[0, 1]
    return mirrored


def without_unseen(detection: HandDetection) -> HandDetection:
    """Return a detection whose joints of confidence 0 lie amid the others: anything may stand there, NaN too.

    Where no joint was seen, all that is known is the box.
    """
    seen = detection.confidence > 0
    if not seen.any():
        return only_a_box(detection)

    def filled(values: np.ndarray) -> np.ndarray:
        mask = seen.reshape(-1, *[1] * (values.ndim - 2))
        return np.where(mask, values, values[:, seen].mean(1, keepdims=True))

    depth, marks = detection.depth_px, detection.landmarks_3d_m
    return replace(
        detection,
        joints_2d_px=filled(detection.joints_2d_px),
        depth_px=None if depth is None else filled(depth),
        landmarks_3d_m=None if marks is None else filled(marks),
    )


def only_a_box(detection: HandDetection) -> HandDetection:
    """Return a detection whose joints are those of an open palm filling the box, fingers up.

    All that a box tells: about where and how large the hand is. The weights (`_BOX`) say so.
    """
    x0, y0, x1, y1 = detection.box_xyxy_px
    middle, side = np.array([(x0 + x1) / 2, (y0 + y1) / 2]), max(x1 - x0, y1 - y0)
    open_palm = _OPEN_PALM * ([1.0, 1.0] if detection.side == "left" else [-1.0, 1.0])
    joints = middle + 0.9 * side * open_palm
    return replace(
        detection,
        joints_2d_px=joints[None],
        confidence=np.ones(21),
        depth_px=None,
        landmarks_3d_m=None,
    )
