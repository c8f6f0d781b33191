"""From errors to `results.json` and a table to read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import chi

from amvur.data.synthetic.benchmark_set import TONE_EDGES, TONES
from amvur.evaluation.metrics import F_THRESHOLDS
from amvur.evaluation.report import occlusion_strata, summarize
from amvur.evaluation.scoring import ALIGNMENTS, LEVELS, STATED, Errors, VertexErrors
from amvur.evaluation.uncertainty import ause, bootstrap_mean, coverage_curve, rank_correlation
from amvur.hand.joints import JOINT_NAMES

SCHEMA = "amvur-results/1"

Strata = dict[str, Bool[np.ndarray, "S"]]


def results_of(errors: Errors, configuration: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """Return all figures, ready for JSON; lengths in millimetres, figures that do not exist None.

    `joints` and `vertices` by alignment, `uncertainty`, `camera_space`, and `per_joint` and `strata` by the
    alignments of `STATED`. Intervals are 95 % bootstrap intervals over samples, drawn with `seed`.
    """
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "configuration": dict(configuration),
        "samples": errors.samples,
        "scored": len(errors.keys),
    }
    if errors.flat:
        results["joints_2d"] = _joints_2d(np.concatenate(errors.flat, axis=1), seed)
    if not errors.keys:
        return results
    rng = np.random.default_rng(seed)
    std, strata = np.concatenate(errors.joints_std), _strata(np.concatenate(errors.tags))
    rows = {name: np.concatenate(errors.joints[name]) for name in ALIGNMENTS}
    details = {name: summarize(rows[name], std, strata, JOINT_NAMES, seed=seed) for name in STATED}
    joints = {name: _joints(rows[name], details.get(name), seed) for name in ALIGNMENTS}
    vertices = {name: _vertices(errors.vertices[name], rng) for name in ALIGNMENTS}
    for name, detail in details.items():
        _add_vertices(detail["strata"], errors.vertices[name], strata)
    return results | {
        "joints": joints,
        "vertices": vertices,
        "uncertainty": _uncertainty(errors, rows, std),
        "camera_space": _camera_space(np.concatenate(errors.root), rng),
        "per_joint": {name: detail["per_point"] for name, detail in details.items()},
        "strata": {name: detail["strata"] for name, detail in details.items()},
    }


def _joints(
    errors: Float[np.ndarray, "S 21"], detail: dict[str, Any] | None, seed: int
) -> dict[str, Any] | None:
    """Describe the joints' errors under one alignment, of samples whose errors are known."""
    if detail is not None:
        return dict(detail["overall"])
    known = np.isfinite(errors).all(1)
    return dict(summarize(errors[known], seed=seed)["overall"]) if known.any() else None


def _joints_2d(flat: Float[np.ndarray, "3 S 21"], seed: int) -> dict[str, Any]:
    """Describe errors in the picture (px of the photograph, % of the hand's size) and stated deviations.

    Means are over hands, all else over joints; figures by size leave out hands of unknown size.
    Coverage is that of discs whose radius follows from the chi distribution of two degrees of freedom.
    """
    error, std, size = flat
    labelled = np.isfinite(error)
    share = (error / size)[np.isfinite(size[:, 0])]
    sized = share[np.isfinite(share)]
    mean = bootstrap_mean(np.nanmean(error, axis=-1), np.random.default_rng(seed))
    within = {
        _coverage(level): float((error <= chi.ppf(level, 2) * std)[labelled].mean()) for level in LEVELS
    }
    return {
        "count": len(error),
        "joints": int(labelled.sum()),
        "mean_px": mean.mean,
        "mean_px_interval_95": [mean.low, mean.high],
        "median_px": float(np.nanmedian(error)),
        "sized": len(share),
        "mean_percent_of_size": 100 * float(np.nanmean(share, axis=-1).mean()) if len(share) else None,
        "pck_5_percent": float((sized <= 0.05).mean()) if len(share) else None,
        "pck_10_percent": float((sized <= 0.10).mean()) if len(share) else None,
        **within,
        "rank_correlation": _or_none(rank_correlation(error[labelled], std[labelled])),
    }


def _vertices(errors: VertexErrors, rng: np.random.Generator) -> dict[str, Any] | None:
    """Describe the vertices' errors under one alignment."""
    means = np.concatenate([*errors.means, np.zeros(0)])
    known = np.isfinite(means)
    if not known.any() or errors.curve is None:
        return None
    described = {"count": int(known.sum()), **_mean_mm(means[known], rng), "auc": errors.curve.area()}
    if errors.f_scores:
        scores = np.concatenate(errors.f_scores)
        for column, threshold in enumerate(F_THRESHOLDS):
            interval = bootstrap_mean(scores[:, column], rng)
            name = f"f_score_{round(1000 * threshold)}"
            described[name] = interval.mean
            described[f"{name}_interval_95"] = [interval.low, interval.high]
    return described


def _add_vertices(described: dict[str, Any], errors: VertexErrors, strata: Strata) -> None:
    """Add the vertices' mean errors to the strata's figures."""
    means = np.concatenate([*errors.means, np.zeros(0)])
    for name, members in strata.items():
        if len(means) == len(members) and members.any():
            described[name]["vertices_mean_mm"] = 1000 * float(means[members].mean())


def _uncertainty(errors: Errors, rows: Mapping[str, np.ndarray], std: np.ndarray) -> dict[str, Any]:
    """Compare stated standard deviations with errors; the wrist of `root_relative` is left out: it is 0."""
    described: dict[str, Any] = {"nll_per_coordinate": float(np.concatenate(errors.nll).mean())}
    for name in STATED:
        first = 1 if name == "root_relative" else 0
        found, stated = rows[name][:, first:], std[:, first:]
        shares = coverage_curve(found, stated, LEVELS)
        described[name] = {
            "joints": {
                **{_coverage(level): share for level, share in zip(LEVELS, shares, strict=True)},
                "ause": ause(found, stated),
                "rank_correlation": _or_none(rank_correlation(found, stated)),
                "mean_std_mm": 1000 * float(stated.mean()),
            },
            "vertices": _vertex_uncertainty(errors, errors.vertices[name]),
        }
    return described


def _vertex_uncertainty(errors: Errors, found: VertexErrors) -> dict[str, Any] | None:
    """Coverage over all vertices; ranking of whole hands by their mean standard deviation."""
    if not found.points:
        return None
    means, stated = np.concatenate(found.means), np.concatenate(errors.vertices_std)
    return {
        **{_coverage(v): float(n / found.points) for v, n in zip(LEVELS, found.within, strict=True)},
        "ause_of_hands": ause(means, stated),
        "rank_correlation_of_hands": _or_none(rank_correlation(means, stated)),
        "mean_std_mm": 1000 * float(stated.mean()),
    }


def _camera_space(root: Float[np.ndarray, "S 3"], rng: np.random.Generator) -> dict[str, Any] | None:
    """Describe how the wrist is misplaced before the camera."""
    if not len(root):
        return None
    distance, lateral, depth = root.T
    return {
        "count": len(root),
        "root": _mean_mm(distance, rng),
        "root_lateral": _mean_mm(lateral, rng),
        "root_depth": _mean_mm(np.abs(depth), rng),
        "root_depth_bias_mm": 1000 * float(depth.mean()),
    }


def _mean_mm(values: Float[np.ndarray, "S"], rng: np.random.Generator) -> dict[str, Any]:
    """Return the mean of lengths (m) and its interval, in millimetres."""
    interval = bootstrap_mean(values, rng)
    return {
        "mean_mm": 1000 * interval.mean,
        "mean_mm_interval_95": [1000 * interval.low, 1000 * interval.high],
        "median_mm": 1000 * float(np.median(values)),
    }


def _strata(tags: Float[np.ndarray, "S 3"]) -> Strata:
    """Return the samples of every stratum: of occlusion and skin tone where they are known, and of side."""
    left, occlusion, tone = tags[:, 0] > 0, tags[:, 1], tags[:, 2]
    strata: Strata = {}
    if np.isfinite(occlusion).all():
        strata |= {f"occlusion {name}": part for name, part in occlusion_strata(occlusion).items()}
    if np.isfinite(tone).all():
        third = np.searchsorted(TONE_EDGES, tone)
        strata |= {f"skin {name}": third == number for number, name in enumerate(TONES)}
    return strata | {"left hands": left, "right hands": ~left}


def _coverage(level: float) -> str:
    return f"coverage_{round(100 * level)}"


def _or_none(value: float) -> float | None:
    """Return None for NaN, which JSON does not have."""
    return None if math.isnan(value) else value
