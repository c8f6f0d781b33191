"""The official evaluations of FreiHAND and HO3D: the same figures under the same names.

Written after the datasets' `eval.py` and `eval_util.py`, in bounded memory. What they fix: joints and mesh
are aligned separately, reflections are allowed, means are in centimetres, a curve of 100 thresholds from 0
to 50 mm, F-scores at 5 and 15 mm. One thing is not repeated: predictions of another number of vertices than
778 are refused, where the scripts go on with meshes that they shrink.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from amvur.evaluation.files import HandSet, read_predictions, read_truth
from amvur.evaluation.metrics import (
    F_THRESHOLDS,
    ErrorCurve,
    align_procrustes,
    align_scale_translation,
    chunks,
    f_scores,
    point_errors,
)

Protocol = Literal["freihand", "ho3d"]

_Align = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Curve:
    """One pair of figures of the scores: of which points, aligned how."""

    key: str
    points: Literal["joints", "vertices"]
    align: _Align | None = None


def _align_ho3d_bone(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Align by HO3D's wrist and middle finger's base, at 0 and 4 of its order."""
    return align_scale_translation(prediction, target, root=0, end=4)


# In the order of the scripts' scores.txt.
_CURVES: dict[str, tuple[_Curve, ...]] = {
    "freihand": (
        _Curve("xyz", "joints"),
        _Curve("xyz_al", "joints", align_procrustes),
        _Curve("mesh", "vertices"),
        _Curve("mesh_al", "vertices", align_procrustes),
    ),
    "ho3d": (
        _Curve("xyz", "joints"),
        _Curve("xyz_procrustes_al", "joints", align_procrustes),
        _Curve("xyz_scale_trans_al", "joints", _align_ho3d_bone),
        _Curve("mesh", "vertices"),
        _Curve("mesh_al", "vertices", align_procrustes),
    ),
}


def evaluate_files(predictions: Path, ground_truth: Path, protocol: Protocol) -> dict[str, float]:
    """Return the official scores of a prediction file: see `evaluate_hands`.

    `predictions`: pred.json or a zip that holds it (or a folder with one of them); `ground_truth`: the
    folder with evaluation_xyz.json and evaluation_verts.json. Raises `InputError`.
    """
    return evaluate_hands(*read_files(predictions, ground_truth), protocol)


def read_files(predictions: Path, ground_truth: Path) -> tuple[HandSet, HandSet]:
    """Return predictions and ground truth: see `evaluate_files`."""
    truth = read_truth(ground_truth)
    return read_predictions(predictions, len(truth.joints)), truth


def evaluate_hands(prediction: HandSet, truth: HandSet, protocol: Protocol) -> dict[str, float]:
    """Return the official scores, keys in the order of the scripts' scores.txt.

    Both sets in the dataset's own joint order and camera frame, metres. `*_mean3d` are in centimetres,
    `*_auc3d` and `f_*` between 0 and 1; `f_score_5` is at 5 mm, `f_al_score_5` after the mesh's alignment.
    """
    specs = _CURVES[protocol]
    curves = {spec.key: ErrorCurve(getattr(truth, spec.points).shape[1]) for spec in specs}
    plain, aligned = [], []
    for part in chunks(len(truth.joints)):
        moved = {}
        for spec in specs:
            found, wanted = getattr(prediction, spec.points)[part], getattr(truth, spec.points)[part]
            moved[spec.key] = found if spec.align is None else spec.align(found, wanted)
            curves[spec.key].update(point_errors(moved[spec.key], wanted))
        plain.append(f_scores(moved["mesh"], truth.vertices[part]))
        aligned.append(f_scores(moved["mesh_al"], truth.vertices[part]))
    scores: dict[str, float] = {}
    for spec in specs:
        scores[f"{spec.key}_mean3d"] = 100 * curves[spec.key].mean()
        scores[f"{spec.key}_auc3d"] = curves[spec.key].area()
    return scores | _f_keys(np.concatenate(plain), np.concatenate(aligned))


def _f_keys(plain: Float[np.ndarray, "S T"], aligned: Float[np.ndarray, "S T"]) -> dict[str, float]:
    """Return the mean F-scores under their official names."""
    scores = {}
    for threshold, f, f_aligned in zip(F_THRESHOLDS, plain.mean(0), aligned.mean(0), strict=True):
        scores[f"f_score_{round(1000 * threshold)}"] = float(f)
        scores[f"f_al_score_{round(1000 * threshold)}"] = float(f_aligned)
    return scores
