"""Frequent mistakes in prediction files, told from the numbers: units, axes, order of joints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from amvur.data.joint_orders import AMVUR_FROM_HO3D, HO3D_FROM_AMVUR, flip_opengl
from amvur.evaluation.files import HandSet
from amvur.evaluation.metrics import align_procrustes, mean_point_error

SAMPLES = 200
"""Samples that are looked at, spread over the set."""

_BETTER = 0.5
"""A mistake is told where undoing it at least halves the error."""
_MUCH_M = 0.015
"""Errors below this are no sign of a mistake."""
_NEAR = 0.2
"""Vertices in another order lie on the same surface: the nearest is less than so much of the own one's
distance away."""
_COMPARED, _MESHES = 60, 20
_UNITS = {"millimetres": 1000.0, "centimetres": 100.0, "decimetres": 10.0}
_FRAMES = {
    "freihand": "OpenCV's (x right, y down, z forward)",
    "ho3d": "OpenGL's (x right, y up, z backward)",
}

Joints = Float[np.ndarray, "S 21 3"]


def find_hints(prediction: HandSet, truth: HandSet, protocol: Literal["freihand", "ho3d"]) -> list[str]:
    """Return a sentence for every likely mistake; both sets in the dataset's order and frame, metres.

    Only what at least halves an error when it is undone is told, so that bad predictions alone give no
    hint. Looks at `SAMPLES` samples.
    """
    chosen = np.unique(np.linspace(0, len(truth.joints) - 1, min(SAMPLES, len(truth.joints))).astype(int))
    found, wanted = prediction.joints[chosen], truth.joints[chosen]
    hints = list(_unit_hints(found, wanted))
    if hints:
        found = found / _size_ratio(found, wanted)
    return [
        *hints,
        *_frame_hints(found, wanted, protocol),
        *_order_hints(found, wanted, protocol),
        *_side_hints(found, wanted),
        *_sample_hints(found, wanted),
        *_vertex_hints(prediction.vertices[chosen], truth.vertices[chosen], _aligned_error(found, wanted)),
    ]


def _unit_hints(found: Joints, wanted: Joints) -> Iterator[str]:
    ratio = _size_ratio(found, wanted)
    for unit, factor in _UNITS.items():
        if 0.5 < ratio / factor < 2:
            yield (
                f"Predicted hands are {ratio:.0f} times as large as the true ones: they seem to be in "
                f"{unit}. Write metres."
            )


def _frame_hints(found: Joints, wanted: Joints, protocol: Literal["freihand", "ho3d"]) -> Iterator[str]:
    plain, flipped = _error(found, wanted), _error(flip_opengl(found), wanted)
    if flipped < _BETTER * plain:
        yield (
            f"With y and z negated the joints' error would be {100 * flipped:.1f} cm instead of "
            f"{100 * plain:.1f}: predictions seem to be in the other camera frame. Write {_FRAMES[protocol]}."
        )
    absolute = float(np.linalg.norm(wanted[:, 0], axis=-1).mean())
    near = float(np.linalg.norm(found.mean(1), axis=-1).mean())
    if near < 0.15 < absolute:
        yield (
            f"Predicted hands lie {100 * near:.0f} cm from the origin, true ones {100 * absolute:.0f} cm: "
            "they seem to be relative to the wrist. The unaligned scores want places before the camera."
        )


def _order_hints(found: Joints, wanted: Joints, protocol: Literal["freihand", "ho3d"]) -> Iterator[str]:
    """Compare aligned errors under the two orders; by rotations, or a mirror could pass for an order."""
    plain = _aligned_error(found, wanted)
    own, other = ("FreiHAND's", "HO3D's") if protocol == "freihand" else ("HO3D's", "FreiHAND's")
    # a file in the other order, at whose place k stands the joint that ours has elsewhere
    undo = AMVUR_FROM_HO3D if protocol == "freihand" else HO3D_FROM_AMVUR
    error = _aligned_error(found[:, list(undo)], wanted)
    if error < _BETTER * plain:
        yield (
            f"With joints taken as in {other} order their aligned error would be {1000 * error:.1f} mm "
            f"instead of {1000 * plain:.1f}: write {own} order."
        )


def _side_hints(found: Joints, wanted: Joints) -> Iterator[str]:
    plain, mirrored = _aligned_error(found, wanted), _aligned_error(found * [-1, 1, 1], wanted)
    if mirrored < _BETTER * plain:
        yield (
            f"Mirrored, hands' aligned joint error would be {1000 * mirrored:.1f} mm instead of "
            f"{1000 * plain:.1f}: predictions seem to be of the other hand. Mirror them back (x negated)."
        )


def _sample_hints(found: Joints, wanted: Joints) -> Iterator[str]:
    """Compare every prediction with every truth of a part of the set."""
    found, wanted = found[:_COMPARED], wanted[:_COMPARED]
    count = len(found)
    pairs = np.repeat(found, count, 0), np.tile(wanted, (count, 1, 1))
    errors = mean_point_error(align_procrustes(*pairs, strict=True), pairs[1]).reshape(count, count)
    plain, best = float(np.median(np.diagonal(errors))), float(np.median(errors.min(0)))
    shifts = [float(np.median(np.diagonal(errors, k))) for k in (-1, 1) if count > 2]
    if count > 2 and plain > _MUCH_M and min(best, *shifts) < _BETTER * plain:
        yield (
            f"Most true hands are nearer to another sample's prediction (aligned {1000 * best:.1f} mm) "
            f"than to their own ({1000 * plain:.1f}): samples seem to be in another order. Keep its."
        )


def _vertex_hints(
    found: Float[np.ndarray, "S 778 3"], wanted: Float[np.ndarray, "S 778 3"], joints_m: float
) -> Iterator[str]:
    """Compare vertices of a number with the nearest of any, where joints (off by `joints_m`) are better."""
    found, wanted = found[:_MESHES], wanted[:_MESHES]
    a, b = (v - v.mean(1, keepdims=True) for v in (found, wanted))
    a = (
        a
        * (np.sqrt(np.square(b).sum((1, 2))) / np.maximum(np.sqrt(np.square(a).sum((1, 2))), 1e-9))[
            :, None, None
        ]
    )
    own = float(np.median(np.linalg.norm(a - b, axis=-1)))
    nearest = float(np.median([cKDTree(x).query(y)[0].mean() for x, y in zip(a, b, strict=True)]))
    if own > max(_MUCH_M, 2 * joints_m) and nearest < _NEAR * own:
        yield (
            f"Predicted vertices lie {1000 * own:.0f} mm from the true ones of the same number, but the "
            f"nearest of any number only {1000 * nearest:.0f}: vertices seem to be in another order."
        )


def _size_ratio(found: Joints, wanted: Joints) -> float:
    """Return how much larger predicted hands are, by their spread about their centres."""
    spreads = [np.linalg.norm(j - j.mean(1, keepdims=True), axis=-1).mean(1) for j in (found, wanted)]
    return float(np.median(spreads[0]) / max(float(np.median(spreads[1])), 1e-9))


def _error(found: Joints, wanted: Joints) -> float:
    return float(np.median(mean_point_error(found, wanted)))


def _aligned_error(found: Joints, wanted: Joints) -> float:
    return float(np.median(mean_point_error(align_procrustes(found, wanted, strict=True), wanted)))
