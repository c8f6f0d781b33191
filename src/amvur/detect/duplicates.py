"""Whether two detections are of one hand."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from amvur.structures import HandDetection


def without_duplicates(hands: list[HandDetection]) -> list[HandDetection]:
    """Keep one detection of each hand: the best, or the whole hand rather than a finger taken for a hand."""
    kept: list[HandDetection] = []
    for hand in sorted(hands, key=lambda hand: -hand.score):
        joints = np.median(hand.joints_2d_px, axis=0)
        rivals = [other for other in kept if same_joints(joints, other) or _nested(hand, other)]
        if any(extent(other) * 1.5 > extent(hand) for other in rivals):
            continue
        kept = [other for other in kept if not any(other is rival for rival in rivals)] + [hand]
    return kept


def same_joints(joints: Float[np.ndarray, "21 2"], hand: HandDetection) -> bool:
    """Whether the mean distance of corresponding joints is below a third of the smaller hand's extent."""
    known = np.median(hand.joints_2d_px, axis=0)
    smaller = min(float(np.max(np.ptp(points, axis=0))) for points in (joints, known))
    return float(np.mean(np.linalg.norm(joints - known, axis=1))) < smaller / 3


def extent(hand: HandDetection) -> float:
    """The longer side of a hand's box, in pixels."""
    return float(np.max(hand.box_xyxy_px[2:] - hand.box_xyxy_px[:2]))


def _nested(first: HandDetection, second: HandDetection) -> bool:
    """Whether most of the smaller box lies in the other one.

    Clasped hands overlap much too: a left and a right hand of similar size may share more.
    """
    shared, *areas = box_areas(first.box_xyxy_px, second.box_xyxy_px)
    limit = 0.6 if first.side == second.side or max(areas) > 4 * min(areas) else 0.8
    return shared > limit * min(areas)


def box_areas(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> tuple[float, float, float]:
    """Return the areas that two boxes share and have (square pixels)."""
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(shared), float(np.prod(a[2:] - a[:2])), float(np.prod(b[2:] - b[:2]))
