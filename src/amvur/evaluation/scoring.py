"""The second loop: errors of exported predictions, gathered part by part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.stats import chi

from amvur.evaluation.estimates import Estimates
from amvur.evaluation.metrics import (
    ErrorCurve,
    align_procrustes,
    align_root,
    align_scale_translation,
    camera_space_errors,
    f_scores,
    point_errors,
)
from amvur.evaluation.uncertainty import normal_nll

ALIGNMENTS: tuple[str, ...] = (
    "unaligned",
    "root_relative",
    "scale_translation",
    "procrustes",
    "procrustes_strict",
)
"""`procrustes` as the official evaluations take it, reflections allowed; `_strict` by proper rotations."""
F_ALIGNMENTS: tuple[str, ...] = tuple(name for name in ALIGNMENTS if name != "root_relative")
STATED: tuple[str, ...] = ("root_relative", "procrustes_strict")
"""Alignments after which errors are compared with stated standard deviations."""
LEVELS: tuple[float, ...] = (0.5, 0.9)
"""Stated levels of intervals whose coverage is counted."""

_LEAST_SIZE_PX = 1.0
_RADII = chi.ppf(LEVELS, 3)
_SAME_M = 1e-6

Points = Float[np.ndarray, "S N 3"]


@dataclass
class VertexErrors:
    """Errors of vertices under one alignment: means (m) and F-scores a sample, curve, counts in intervals."""

    means: list[np.ndarray] = field(default_factory=list)
    f_scores: list[np.ndarray] = field(default_factory=list)
    curve: ErrorCurve | None = None
    within: np.ndarray = field(default_factory=lambda: np.zeros(len(LEVELS)))
    points: int = 0


@dataclass
class Errors:
    """What is kept of every scored sample; lengths in metres.

    `joints` and `vertices` by alignment; NaN rows of `unaligned` are hands of unknown place. `nll` is of
    the joints relative to the wrist, without the wrist, per coordinate in view axes, averaged a sample.
    """

    samples: int = 0
    keys: list[str] = field(default_factory=list)
    joints: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in ALIGNMENTS})
    vertices: dict[str, VertexErrors] = field(
        default_factory=lambda: {name: VertexErrors() for name in ALIGNMENTS}
    )
    joints_std: list[np.ndarray] = field(default_factory=list)
    vertices_std: list[np.ndarray] = field(default_factory=list)
    nll: list[np.ndarray] = field(default_factory=list)
    root: list[np.ndarray] = field(default_factory=list)
    """Per placed sample: distance, lateral distance and signed depth error of the wrist."""
    tags: list[np.ndarray] = field(default_factory=list)
    """Per sample: is left, occlusion, skin tone."""
    flat: list[np.ndarray] = field(default_factory=list)
    """Per sample with 2D labels alone, (S,21) each: error (NaN without a label), stated standard deviation
    (px of the photograph), and the labelled hand's size (NaN where it is not known)."""


def gather_errors(parts: Iterable[tuple[list[str], Estimates]]) -> Errors:
    """Take the errors of all samples whose true joints are known."""
    errors = Errors()
    for keys, estimates in parts:
        errors.samples += len(estimates)
        _add_flat(errors, estimates)
        known = np.isfinite(estimates.true_joints).all((1, 2))
        if known.any():
            errors.keys += [key for key, good in zip(keys, known, strict=True) if good]
            _add(errors, estimates, known)
    return errors


def _add_flat(errors: Errors, estimates: Estimates) -> None:
    """Add the samples with 2D labels of one part.

    A hand's size is the longer side of the box of its labelled joints; if these coincide it is not known.
    """
    labels = estimates.true_joints_2d.astype(np.float64)
    known = np.isfinite(labels).all(-1).any(-1)
    if known.any():
        labels = labels[known]
        error = np.linalg.norm(estimates.joints_2d[known] - labels, axis=-1)
        size = (np.nanmax(labels, axis=1) - np.nanmin(labels, axis=1)).max(-1, keepdims=True)
        size = np.where(size < _LEAST_SIZE_PX, np.nan, size)
        std = estimates.joints_2d_std[known].astype(np.float64)
        errors.flat.append(np.stack([error, std, np.broadcast_to(size, error.shape)]))


def _add(errors: Errors, estimates: Estimates, known: np.ndarray) -> None:
    """Add the known samples of one part."""
    joints, truth = (x[known].astype(np.float64) for x in (estimates.joints, estimates.true_joints))
    std, turn = (x[known].astype(np.float64) for x in (estimates.joints_std, estimates.R_view_camera))
    placed = estimates.placed[known]
    moved = aligned_joints(joints, truth)
    for name in ALIGNMENTS:
        found = point_errors(moved[name], truth)
        errors.joints[name].append(np.where(placed[:, None], found, np.nan) if name == "unaligned" else found)
    errors.joints_std.append(np.sqrt(np.square(std).mean(-1)))
    residual = (moved["root_relative"] - truth) @ turn.transpose(0, 2, 1)
    errors.nll.append(normal_nll(residual[:, 1:], std[:, 1:]).mean((1, 2)))
    place = camera_space_errors(joints[placed], truth[placed])
    errors.root.append(np.stack([place.root, place.root_lateral, place.root_depth], -1))
    tags = (estimates.is_left, estimates.occlusion, estimates.skin_tone)
    errors.tags.append(np.stack([tag[known].astype(np.float64) for tag in tags], -1))
    if estimates.vertices.shape[1] and estimates.vertices.shape == estimates.true_vertices.shape:
        _add_vertices(errors, estimates, known & np.isfinite(estimates.true_vertices).all((1, 2)))


def _add_vertices(errors: Errors, estimates: Estimates, known: np.ndarray) -> None:
    """Add the meshes of the known samples of one part, of the same topology as the true ones."""
    names = ("joints", "true_joints", "vertices", "true_vertices", "vertices_std")
    joints, true_joints, vertices, truth, std = (
        getattr(estimates, name)[known].astype(np.float64) for name in names
    )
    placed = estimates.placed[known]
    moved = aligned_vertices(joints, true_joints, vertices, truth)
    plain_f: np.ndarray | None = None
    for name in ALIGNMENTS:
        chosen = placed if name == "unaligned" else np.ones(len(placed), dtype=bool)
        found = point_errors(moved[name][chosen], truth[chosen])
        into = errors.vertices[name]
        into.curve = into.curve or ErrorCurve(truth.shape[1])
        into.curve.update(found)
        into.means.append(np.where(chosen, 0.0, np.nan))
        into.means[-1][chosen] = found.mean(1)
        if name in F_ALIGNMENTS:
            before = None if name != "procrustes_strict" else (moved["procrustes"], plain_f)
            plain_f = _f_scores(moved[name][chosen], truth[chosen], before)
            into.f_scores.append(plain_f)
        if name in STATED:
            into.within += [(found <= radius * std).sum() for radius in _RADII]
            into.points += found.size
    errors.vertices_std.append(std.mean(1))


def _f_scores(
    prediction: Points, truth: Points, before: tuple[Points, np.ndarray | None] | None
) -> Float[np.ndarray, "S 2"]:
    """Return F-scores, taken from those `before` of points that are the same to a micrometre."""
    if before is None or before[1] is None:
        return f_scores(prediction, truth)
    scores = before[1].copy()
    changed = np.abs(prediction - before[0]).max((1, 2), initial=0.0) > _SAME_M
    scores[changed] = f_scores(prediction[changed], truth[changed])
    return scores


def aligned_joints(joints: Points, truth: Points) -> dict[str, Points]:
    """Return joints (our order) moved onto their targets in every way of `ALIGNMENTS`."""
    return {
        "unaligned": joints,
        "root_relative": align_root(joints, joints[:, 0], truth[:, 0]),
        "scale_translation": align_scale_translation(joints, truth),
        "procrustes": align_procrustes(joints, truth),
        "procrustes_strict": align_procrustes(joints, truth, strict=True),
    }


def aligned_vertices(
    joints: Float[np.ndarray, "S 21 3"],
    true_joints: Float[np.ndarray, "S 21 3"],
    vertices: Points,
    truth: Points,
) -> dict[str, Points]:
    """Return vertices moved in every way of `ALIGNMENTS`.

    By the joints' wrist and length for the simple ones, by all vertices themselves for Procrustes.
    """
    both, wanted = np.concatenate([joints, vertices], 1), np.concatenate([true_joints, truth], 1)
    return {
        "unaligned": vertices,
        "root_relative": align_root(vertices, joints[:, 0], true_joints[:, 0]),
        "scale_translation": align_scale_translation(both, wanted)[:, joints.shape[1] :],
        "procrustes": align_procrustes(vertices, truth),
        "procrustes_strict": align_procrustes(vertices, truth, strict=True),
    }
