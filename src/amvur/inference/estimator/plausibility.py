"""Whether a fitted hand can be one: where it was seen, before the camera, at a hand's distance and size."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64

from amvur.hand.kinematics import CarriedPoints, HandState, Kinematics
from amvur.inference.estimator.config import PlausibleRange
from amvur.inference.estimator.observation import NetworkObservations, Observations
from amvur.inference.estimator.projection import project

HAND_SIZE_M = 0.17
"""From the wrist to the middle finger's tip, about the mean of adults."""
_ENOUGH_JOINTS = 15
"""Of fewer the size in the picture says little of the hand's."""
_NEAR_M = 1e-3


def excess(
    hand: Kinematics,
    landmarks: CarriedPoints,
    state: HandState,
    seen: Observations,
    network: NetworkObservations | None,
    allowed: PlausibleRange,
) -> Float64[np.ndarray, "B"]:
    """Return by what factor each hand leaves the plausible range at its worst; at most 1 is plausible.

    Where a detector saw no joints that count, the network's joints in the picture do.
    """
    points = hand.place(landmarks, state)
    joints, weight = _where_seen(seen, network)
    counts = weight > 0
    size = np.maximum(np.ptp(joints, axis=1).max(-1), 1.0)
    before = np.maximum(points, [-np.inf, -np.inf, _NEAR_M])
    off = np.linalg.norm(project(before, seen.intrinsics) - joints, axis=-1)
    sizes, sigmas = (_median(x, counts) for x in (off / size[:, None], off * weight))
    focal = 0.5 * (seen.intrinsics[:, 0, 0] + seen.intrinsics[:, 1, 1])
    ratio = np.maximum(points[..., 2].mean(-1), _NEAR_M) * size / (focal * HAND_SIZE_M)
    ratio = np.where(counts.sum(-1) < _ENOUGH_JOINTS, 1.0, ratio)
    low, high = allowed.distance_ratio
    factors = (
        np.minimum(sizes / allowed.offset_sizes, sigmas / allowed.offset_sigmas),
        np.abs(state.betas).max(-1) / allowed.betas,
        allowed.nearest_m / np.maximum(points[..., 2].min(-1), _NEAR_M),
        low / ratio,
        ratio / high,
    )
    worst: np.ndarray = np.max(factors, axis=0)
    return worst


def _median(values: Float64[np.ndarray, "B 21"], counts: Bool[np.ndarray, "B 21"]) -> np.ndarray:
    """Return the median of the numbers that count, 0 where none does."""
    kept = np.where(counts, values, np.nan)
    kept[~np.any(counts, axis=-1)] = 0.0
    middle: np.ndarray = np.nanmedian(kept, axis=-1)
    return middle


def _where_seen(
    seen: Observations, network: NetworkObservations | None
) -> tuple[Float64[np.ndarray, "B 21 2"], Float64[np.ndarray, "B 21"]]:
    """Return the 2D joints (px) of each hand that count, with weights 1/σ."""
    joints, weight = seen.joints_2d, seen.joints_2d_weight
    if network is None:
        return joints, weight
    unseen = ~np.any(weight > 0, axis=-1)
    said = network.joints_2d_weight.mean(-1)
    return (
        np.where(unseen[:, None, None], network.joints_2d, joints),
        np.where(unseen[:, None], said, weight),
    )
