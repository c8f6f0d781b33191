"""Summaries of errors and stated uncertainty: over a set, per point and per stratum of occlusion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from amvur.errors import InputError
from amvur.evaluation.metrics import AUC_LIMIT, area_under_curve
from amvur.evaluation.uncertainty import ause, bootstrap_mean, coverage, rank_correlation

OCCLUSION_EDGES: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 1.0)
"""Bounds of the strata of occlusion (share of the hand that does not show) unless others are named."""


def occlusion_strata(
    occlusion: Float[np.ndarray, "S"], edges: Sequence[float] = OCCLUSION_EDGES
) -> dict[str, Bool[np.ndarray, "S"]]:
    """Return which samples belong to each stratum, named by its bounds: `0.00-0.20`, …

    A stratum holds its lower bound but not its upper one, except the last, which holds both.
    """
    strata = {}
    for low, high in pairwise(edges):
        top = occlusion <= high if high == edges[-1] else occlusion < high
        strata[f"{low:.2f}-{high:.2f}"] = (occlusion >= low) & top
    return strata


def summarize(
    errors: Float[np.ndarray, "S N"],
    std: Float[np.ndarray, "S N"] | None = None,
    strata: Mapping[str, Bool[np.ndarray, "S"]] | None = None,
    point_names: Sequence[str] | None = None,
    *,
    seed: int = 0,
    draws: int = 1000,
) -> dict[str, Any]:
    """Summarize errors (metres) of S samples and N points as a dictionary ready for JSON.

    `overall`, and under `strata` each named set of samples, hold `count`, `mean_mm` with its 95 % bootstrap
    interval over samples `[low, high]`, `median_mm`, `p90_mm` and `auc` (0 to 50 mm); where `std` (metres
    per axis) is given also `coverage_90` (share of errors within 2.50 std; 0.90 is wanted),
    `rank_correlation` and `ause`, all pooled over points, and `mean_std_mm`. `per_point` holds `mean_mm` and
    `coverage_90` of every point by name. Empty strata have only `count`; a number that does not exist is
    None. Raises `InputError` for no samples, values that are not finite or std that is not positive.
    """
    _check(errors, std, point_names)
    rng = np.random.default_rng(seed)
    summary: dict[str, Any] = {"overall": _describe(errors, std, rng, draws), "strata": {}}
    for name, members in (strata or {}).items():
        part = None if std is None else std[members]
        summary["strata"][name] = _describe(errors[members], part, rng, draws)
    names = [str(index) for index in range(errors.shape[1])] if point_names is None else point_names
    summary["per_point"] = {
        name: _describe_point(errors[:, index], None if std is None else std[:, index])
        for index, name in enumerate(names)
    }
    return summary


def _check(errors: np.ndarray, std: np.ndarray | None, names: Sequence[str] | None) -> None:
    """Raise `InputError` for values that no summary can be made of."""
    if errors.size == 0:
        raise InputError("There are no errors to summarize: give at least one sample and one point.")
    if not np.isfinite(errors).all() or (errors < 0).any():
        raise InputError("Errors must be finite distances, found NaN, infinite or negative ones. Mask them.")
    if std is not None and not (np.isfinite(std).all() and (std > 0).all()):
        raise InputError("Standard deviations must be finite and positive. Mask samples that have none.")
    if names is not None and len(names) != errors.shape[1]:
        raise InputError(f"{len(names)} names for {errors.shape[1]} points. Give one name for each.")


def _describe(
    errors: Float[np.ndarray, "S N"],
    std: Float[np.ndarray, "S N"] | None,
    rng: np.random.Generator,
    draws: int,
) -> dict[str, Any]:
    """Describe the errors of some samples; lengths in millimetres."""
    if len(errors) == 0:
        return {"count": 0}
    interval = bootstrap_mean(errors, rng, draws=draws)
    described: dict[str, Any] = {
        "count": len(errors),
        "mean_mm": 1000 * interval.mean,
        "mean_mm_interval_95": [1000 * interval.low, 1000 * interval.high],
        "median_mm": 1000 * float(np.median(errors)),
        "p90_mm": 1000 * float(np.quantile(errors, 0.9)),
        "auc": area_under_curve(errors, AUC_LIMIT),
    }
    if std is not None:
        described["coverage_90"] = coverage(errors, std)
        described["rank_correlation"] = _or_none(rank_correlation(errors, std))
        described["ause"] = ause(errors, std)
        described["mean_std_mm"] = 1000 * float(std.mean())
    return described


def _describe_point(errors: Float[np.ndarray, "S"], std: Float[np.ndarray, "S"] | None) -> dict[str, float]:
    """Describe the errors of one point over samples."""
    described = {"mean_mm": 1000 * float(errors.mean())}
    return described if std is None else described | {"coverage_90": coverage(errors, std)}


def _or_none(value: float) -> float | None:
    """Return None for NaN, which JSON does not have."""
    return None if math.isnan(value) else value
