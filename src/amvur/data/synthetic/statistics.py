"""What a set of synthetic hands holds: counts as whole numbers, so that parts add up exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from amvur.data.samples import HandBatch, JointState

BINS = 10
"""Histograms of occlusion and skin tone have ten bins from 0 to 1."""

Counts = dict[str, Any]
"""Whole numbers, lists and dictionaries of them: what `count_batch` returns and JSON holds."""


def count_batch(batch: HandBatch, kinds: Sequence[str]) -> Counts:
    """Count what a batch holds; `kinds` names the pose of every sample."""
    values = batch.images.to(torch.int64)
    states = torch.bincount(batch.joint_states.flatten(), minlength=len(JointState)).tolist()
    outside = (batch.joint_states == JointState.OUTSIDE).any(-1)
    return {
        "samples": len(batch),
        "left": int(batch.is_left.sum()),
        "occlusion_histogram": _histogram(batch.occlusion),
        "skin_tone_histogram": _histogram(batch.skin_tone),
        "pose_kinds": dict(sorted(Counter(kinds).items())),
        "joints": {state.name.lower(): states[state] for state in JointState},
        "samples_with_joints_outside": int(outside.sum()),
        "pixels": values[..., 0].numel(),
        "color_sum": values.sum((0, 1, 2)).tolist(),
        "color_square_sum": values.square().sum((0, 1, 2)).tolist(),
    }


def add_counts(parts: Iterable[Counts]) -> Counts:
    """Add up the counts of several parts."""
    total: Counts = {}
    for part in parts:
        total = _add(total, part)
    return total


def statistics(counts: Counts) -> dict[str, Any]:
    """Return counts with shares, and mean and standard deviation of the 8-bit colors."""
    counts = dict(counts)
    samples, pixels = counts["samples"], counts.pop("pixels")
    sums, squares = counts.pop("color_sum"), counts.pop("color_square_sum")
    means = [value / pixels for value in sums]
    deviations = [
        max(square / pixels - mean**2, 0) ** 0.5 for square, mean in zip(squares, means, strict=True)
    ]
    joints = sum(counts["joints"].values())
    return {
        **counts,
        "share_left": round(counts["left"] / samples, 4),
        "share_of_joints": {name: round(count / joints, 4) for name, count in counts["joints"].items()},
        "color_mean": [round(mean, 3) for mean in means],
        "color_std": [round(deviation, 3) for deviation in deviations],
    }


def _histogram(values: torch.Tensor) -> list[int]:
    """Count values in [0, 1] in ten equal bins."""
    places = (values.detach().cpu().double() * BINS).long().clamp(0, BINS - 1)
    return torch.bincount(places, minlength=BINS).tolist()


def _add(one: Any, other: Any) -> Any:
    """Add numbers, lists place by place and dictionaries key by key."""
    if isinstance(other, dict):
        keys = sorted({*one, *other}) if one else list(other)
        return {key: _add(one.get(key, _zero(other.get(key))), other.get(key, 0)) for key in keys}
    if isinstance(other, list):
        return [a + b for a, b in zip(one, other, strict=True)]
    return one + other


def _zero(like: Any) -> Any:
    """Return what adds nothing to a value."""
    return {} if isinstance(like, dict) else [0] * len(like) if isinstance(like, list) else 0
