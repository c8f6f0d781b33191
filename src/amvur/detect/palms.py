"""From the palm network's raw outputs to squares around hands.

The arithmetic is that of MediaPipe's graphs `palm_detection_cpu`, `palm_detection_detection_to_roi` and
`hand_landmark_landmarks_to_roi` (Apache-2.0), restated in numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float

from amvur.crop import CropTransform

PALM_INPUT_PX = 192
HAND_INPUT_PX = 224
PALM_OUTPUTS = (36288, 2016)
"""Numbers in the palm network's outputs: 9 points for each of 2016 anchors, and their scores as logits."""
_WRIST, _MIDDLE_BASE = 0, 2
"""Which of a palm's seven key points are the wrist and the base of the middle finger."""
FRAME_JOINTS = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
"""The joints that move little when fingers bend, all but the outer two of every finger: their box makes the
square for the next look."""
GROW, LIFT = 2.0, 0.1
"""That square's side in units of the box's longer one, and its way towards the fingers in box heights."""


@dataclass(frozen=True)
class Palm:
    """A palm that the first network saw: a square and seven key points, in pixels of the image."""

    score: float
    center_px: Float[np.ndarray, "2"]
    side_px: float
    keypoints_px: Float[np.ndarray, "7 2"]


def decode_palms(
    boxes: Float[np.ndarray, "36288"],
    logits: Float[np.ndarray, "2016"],
    crop: CropTransform,
    threshold: float,
) -> list[Palm]:
    """Turn the palm network's outputs on `crop` into palms in image pixels; the same palm may occur often."""
    scores = 1 / (1 + np.exp(-np.clip(logits, -100.0, 100.0).astype(np.float64)))
    chosen = np.flatnonzero(scores >= threshold)
    values = boxes.reshape(-1, 9, 2)[chosen].astype(np.float64)
    points = values + _anchors()[chosen][:, None]
    centers, keypoints = crop.invert_points(points[:, 0]), crop.invert_points(points[:, 2:])
    sides = values[:, 1].max(axis=1) / crop.scale
    return [Palm(float(scores[i]), *rest) for i, *rest in zip(chosen, centers, sides, keypoints, strict=True)]


def merge_palms(palms: Sequence[Palm]) -> list[Palm]:
    """Average, weighted by score, the palms that overlap a better one (MediaPipe's weighted suppression).

    Returns the merged palms, best first. Palms of several crops of one image may be merged together.
    """
    remaining = sorted(palms, key=lambda palm: -palm.score)
    merged = []
    while remaining:
        centers = np.array([palm.center_px for palm in remaining])
        sides = np.array([palm.side_px for palm in remaining])
        near = _square_overlaps(centers, sides) > 0.3
        same = [palm for palm, is_near in zip(remaining, near, strict=True) if is_near]
        weights = [palm.score for palm in same]
        merged.append(
            Palm(
                score=same[0].score,
                center_px=np.average([palm.center_px for palm in same], axis=0, weights=weights),
                side_px=float(np.average([palm.side_px for palm in same], weights=weights)),
                keypoints_px=np.average([palm.keypoints_px for palm in same], axis=0, weights=weights),
            )
        )
        remaining = [palm for palm, is_near in zip(remaining, near, strict=True) if not is_near]
    return merged


def _square_overlaps(
    centers: Float[np.ndarray, "n 2"], sides: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """Intersection over union of each square with the first one."""
    half = sides[:, None] / 2
    low = np.maximum(centers - half, (centers - half)[0])
    high = np.minimum(centers + half, (centers + half)[0])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    overlaps: Float[np.ndarray, "n"] = shared / np.maximum(sides**2 + sides[0] ** 2 - shared, 1e-12)
    overlaps[0] = 1.0
    return overlaps


@cache
def _anchors() -> Float[np.ndarray, "2016 2"]:
    """Where, in pixels of the input, the outputs count from: 2 on each of 24×24 cells, 6 on 12×12."""
    grids = []
    for cells, repeats in ((24, 2), (12, 6)):
        ticks = (np.arange(cells) + 0.5) * (PALM_INPUT_PX / cells)
        grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
        grids.append(np.repeat(grid, repeats, axis=0))
    return np.concatenate(grids)


def crop_of_palm(palm: Palm) -> CropTransform:
    """The square around the whole hand of a palm, fingers up: 2.6 times the palm, half a palm further up."""
    toward = palm.keypoints_px[_MIDDLE_BASE] - palm.keypoints_px[_WRIST]
    size = np.array([palm.side_px, palm.side_px])
    return _upright(palm.center_px, size, _direction(toward), grow=2.6, lift=0.5)


def crop_of_landmarks(landmarks: Float[np.ndarray, "21 2"]) -> CropTransform:
    """The square around a hand whose landmarks (image pixels) are known, fingers up."""
    rotation = _direction(palm_vector(landmarks))
    cos, sin = math.cos(rotation), math.sin(rotation)
    axes = np.array([[cos, sin], [-sin, cos]])
    own = landmarks[list(FRAME_JOINTS)] @ axes.T
    low, high = own.min(axis=0), own.max(axis=0)
    return _upright((low + high) / 2 @ axes, high - low, rotation, GROW, LIFT)


def palm_vector(joints_2d: Float[np.ndarray, "21 2"]) -> Float[np.ndarray, "2"]:
    """The way from the wrist to the knuckles, which is up in an upright square."""
    vector: np.ndarray = (joints_2d[5] + joints_2d[13]) / 4 + joints_2d[9] / 2 - joints_2d[0]
    return vector


def _direction(toward: Float[np.ndarray, "2"]) -> float:
    """The rotation of a crop in which `toward` points up."""
    return math.atan2(toward[0], -toward[1])


def _upright(
    center: Float[np.ndarray, "2"], size: Float[np.ndarray, "2"], rotation: float, grow: float, lift: float
) -> CropTransform:
    """A square `grow` times the longer side of a box, moved `lift` of its height towards the fingers."""
    up = np.array([math.sin(rotation), -math.cos(rotation)])
    x, y = center + lift * size[1] * up
    side = max(float(np.max(size)) * grow, 1e-3)
    return CropTransform(float(x), float(y), side, HAND_INPUT_PX, rotation)
