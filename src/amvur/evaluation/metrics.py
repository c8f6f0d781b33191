"""Errors of joints and vertices: distances, alignments, curves and F-scores, of many samples at once.

Everything is in metres and float64. Errors come unreduced, the caller averages. Working memory does not
grow with the number of samples beyond the results: samples are taken in chunks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import cKDTree

from amvur.geometry.procrustes import align_similarity, official_align
from amvur.hand.joints import JOINT_NAMES

CHUNK = 256
"""Samples that are worked on at once."""

F_THRESHOLDS: tuple[float, ...] = (0.005, 0.015)
"""The two distances (metres) of the official F-scores."""

AUC_LIMIT = 0.05
AUC_STEPS = 100

_WRIST, _MIDDLE_MCP = JOINT_NAMES.index("wrist"), JOINT_NAMES.index("middle_mcp")

Points = Float[np.ndarray, "S N 3"]


def point_errors(
    prediction: Float[np.ndarray, "*batch N 3"], target: Float[np.ndarray, "*batch N 3"]
) -> Float[np.ndarray, "*batch N"]:
    """Return the Euclidean distance of every point to its target, in the points' unit.

    Of points that were not aligned this is the error in camera space. Its mean over a sample's joints is
    the MPJPE, over its vertices the MPVPE: see `mean_point_error`.
    """
    return np.asarray(np.sqrt(np.sum(np.square(target - prediction), -1)))


def mean_point_error(
    prediction: Float[np.ndarray, "*batch N 3"], target: Float[np.ndarray, "*batch N 3"]
) -> Float[np.ndarray, "*batch"]:
    """Return each sample's MPJPE (of joints) or MPVPE (of vertices): the mean of `point_errors`."""
    return np.asarray(point_errors(prediction, target).mean(-1))


def align_root(
    prediction: Float[np.ndarray, "*batch N 3"],
    prediction_root: Float[np.ndarray, "*batch 3"],
    target_root: Float[np.ndarray, "*batch 3"],
) -> Float[np.ndarray, "*batch N 3"]:
    """Move `prediction` (joints or vertices) so that its root joint lies on the target's; nothing else."""
    return np.asarray(prediction - prediction_root[..., None, :] + target_root[..., None, :])


def align_scale_translation(
    prediction: Float[np.ndarray, "*batch N 3"],
    target: Float[np.ndarray, "*batch N 3"],
    root: int = _WRIST,
    end: int = _MIDDLE_MCP,
) -> Float[np.ndarray, "*batch N 3"]:
    """Give `prediction` the target's length from joint `root` to `end` and its place of `root`; no rotation.

    As HO3D's official evaluation, which uses the wrist and the middle finger's base (0 and 4 in its own
    order, 0 and 9 in ours). Steps and their order are the same, so that a perfect prediction has the same
    rounding; a prediction whose bone has no length is not divided by it.
    """
    length = np.sqrt(np.sum(np.square(prediction[..., end, :] - prediction[..., root, :]), -1))
    wanted = np.sqrt(np.sum(np.square(target[..., end, :] - target[..., root, :]), -1))
    scaled = prediction / np.where(length > 0, length, 1.0)[..., None, None] * wanted[..., None, None]
    return align_root(scaled, scaled[..., root, :], target[..., root, :])


def align_procrustes(prediction: Points, target: Points, *, strict: bool = False) -> Points:
    """Move each sample onto its target by scale, rotation and translation (Procrustes, "PA").

    By default exactly as the official evaluations of FreiHAND and HO3D, whose orthogonal matrix may mirror
    the hand: see `amvur.geometry.procrustes.official_align`. `strict=True` allows proper rotations only.
    """
    align: Callable[..., torch.Tensor] = align_similarity if strict else official_align
    aligned = np.empty(target.shape)
    for part in chunks(len(target)):
        source = torch.from_numpy(np.ascontiguousarray(prediction[part], np.float64))
        goal = torch.from_numpy(np.ascontiguousarray(target[part], np.float64))
        aligned[part] = align(source, goal).numpy()
    return aligned


@dataclass(frozen=True)
class CameraSpaceErrors:
    """Errors of the hand's place before the camera, per sample, in metres (z is forward)."""

    points: Float[np.ndarray, "S N"]
    """Distance of every point to its target, nothing aligned."""
    root: Float[np.ndarray, "S"]
    """Distance of the root joint."""
    root_lateral: Float[np.ndarray, "S"]
    """The part of it across the line of sight (x, y)."""
    root_depth: Float[np.ndarray, "S"]
    """The part of it along z, signed: positive where the prediction is too far away."""


def camera_space_errors(prediction: Points, target: Points, root: int = _WRIST) -> CameraSpaceErrors:
    """Return the errors of joints in the camera's frame (metres, OpenCV axes) and how `root` is misplaced."""
    points = point_errors(prediction, target)
    moved = prediction[:, root] - target[:, root]
    return CameraSpaceErrors(points, points[:, root], np.hypot(moved[:, 0], moved[:, 1]), moved[:, 2])


class ErrorCurve:
    """The mean error and the area under the curve of correct points, gathered chunk by chunk.

    As `EvalUtil` of the official evaluations: thresholds are `steps` values from 0 to `limit` metres with
    both ends; a point is correct where its error is at most the threshold; curve and area (trapezoids, over
    `limit`) are taken per point and then averaged over points. Keeps points × steps counts, no errors.
    """

    def __init__(self, points: int, limit: float = AUC_LIMIT, steps: int = AUC_STEPS) -> None:
        """Start with no samples of `points` points each."""
        self.thresholds = np.linspace(0.0, limit, steps)
        self._counts = np.zeros((points, steps + 1), np.int64)
        self._sums = np.zeros(points)
        self._samples = 0

    def update(self, errors: Float[np.ndarray, "S N"]) -> None:
        """Add the errors (metres) of samples."""
        bins = np.searchsorted(self.thresholds, errors, side="left")  # the first threshold not below it
        width = self._counts.shape[1]
        flat = (bins + np.arange(errors.shape[1]) * width).ravel()
        self._counts += np.bincount(flat, minlength=self._counts.size).reshape(self._counts.shape)
        self._sums += errors.sum(0)
        self._samples += len(errors)

    def mean(self) -> float:
        """Return the mean error in metres."""
        return float((self._sums / self._samples).mean())

    def curve(self) -> Float[np.ndarray, "N T"]:
        """Return for every point the share of samples that are correct at each threshold."""
        share: np.ndarray = np.cumsum(self._counts, 1)[:, :-1] / self._samples
        return share

    def area(self) -> float:
        """Return the area under the curve (AUC), between 0 and 1."""
        share = self.curve()
        widths = np.diff(self.thresholds)
        areas = ((share[:, 1:] + share[:, :-1]) / 2 * widths).sum(1) / widths.sum()
        return float(areas.mean())


def area_under_curve(
    errors: Float[np.ndarray, "S N"], limit: float = AUC_LIMIT, steps: int = AUC_STEPS
) -> float:
    """Return the AUC of errors in metres: see `ErrorCurve`."""
    curve = ErrorCurve(errors.shape[1], limit, steps)
    curve.update(errors)
    return curve.area()


def f_scores(
    prediction: Float[np.ndarray, "S N 3"],
    target: Float[np.ndarray, "S M 3"],
    thresholds: Sequence[float] = F_THRESHOLDS,
    workers: int | None = None,
) -> Float[np.ndarray, "S T"]:
    """Return each sample's F-score at distances in metres, between two sets of points without order.

    The harmonic mean of the shares of predicted points nearer than the threshold (`<`) to a target point
    and of target points nearer than it to a predicted one, 0 where both are 0 (Knapitsch et al. 2017).
    Nearest neighbours come from one k-d tree a set; `workers` threads share the samples (default: one per
    core, at most four).
    """
    limits = np.asarray(thresholds, np.float64)
    scores = np.empty((len(target), len(limits)))

    def score(index: int) -> None:
        scores[index] = _f_score(prediction[index], target[index], limits)

    with ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1)) as pool:
        for _ in pool.map(score, range(len(target))):  # asks for the results so that errors are raised
            pass
    return scores


def _f_score(
    prediction: Float[np.ndarray, "N 3"], target: Float[np.ndarray, "M 3"], limits: Float[np.ndarray, "T"]
) -> Float[np.ndarray, "T"]:
    """Return one sample's F-score at each limit."""
    # Neighbours further away than any limit need not be found, which makes far predictions fast.
    furthest = 1.001 * float(limits.max())
    trees = [cKDTree(points, balanced_tree=False, compact_nodes=False) for points in (prediction, target)]
    to_target = trees[1].query(prediction, distance_upper_bound=furthest)[0]
    to_prediction = trees[0].query(target, distance_upper_bound=furthest)[0]
    first, second = ((d[:, None] < limits).mean(0) for d in (to_target, to_prediction))
    total = first + second
    return np.asarray(2 * first * second / np.where(total > 0, total, 1.0))


def chunks(count: int, size: int = CHUNK) -> Iterator[slice]:
    """Yield slices that cover `count` samples, `size` at a time."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
