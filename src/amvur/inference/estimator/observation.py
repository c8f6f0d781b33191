"""What a detector and a network saw of hands, as arrays with weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float64, Int

from amvur.detect.convention import LandmarkConvention, load_convention
from amvur.inference.frames import HandFrame

_BOX = replace(load_convention("amvur"), joints_2d_scale=np.full(21, 0.35))


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


def observe(frames: Sequence[HandFrame], convention: LandmarkConvention) -> Observations:
    """Return what a detector saw of hands.

    The spread between passes adds to a 2D landmark's variance; a joint of confidence 0 weighs nothing, and of
    a bare box an open palm's joints with wide standard deviations are all there is.
    """
    rows = [_observe_one(frame, _BOX if frame.box_only else convention) for frame in frames]
    return Observations(*(np.stack(column) for column in zip(*rows, strict=True)))


def _observe_one(frame: HandFrame, convention: LandmarkConvention) -> tuple[np.ndarray, ...]:
    """Return the fields of `Observations` of one hand."""
    merged, seen = frame.merged, np.ones(21) if frame.box_only else np.sqrt(frame.detection.confidence)
    size = max(merged.size_px, 1.0)
    scale = np.hypot(convention.joints_2d_scale * size, merged.spread_px)
    depth, depth_weight = np.zeros(21), np.zeros(21)
    if merged.depth_px is not None:
        depth = merged.depth_px * convention.depth_gain
        depth_weight = seen / (convention.depth_scale * size)
    marks, marks_weight = np.zeros((21, 3)), np.zeros(21)
    if merged.landmarks_3d_m is not None:
        marks, marks_weight = merged.landmarks_3d_m, seen / convention.landmarks_3d_scale_m
    camera = np.array(frame.camera.intrinsics, dtype=np.float64)
    return camera, merged.joints_2d_px, seen / scale, depth, depth_weight, marks, marks_weight
