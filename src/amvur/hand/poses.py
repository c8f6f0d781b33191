"""Named hand poses as clinical joint angles, and their conversion to the open hand's `hand_pose`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

BONE_FINGERS = ("index", "middle", "little", "ring", "thumb")
"""Fingers in the order of the bones 1..15 (MANO's order), three bones each."""

Angles = tuple[float | int, ...]
"""Degrees: flexion of the three joints from base to tip, abduction of the base joint and, where given
as a fifth number, its twist (the thumb's opposition turns it by a negative angle)."""

#: Clinical angles (degrees) of named poses. A finger: MCP, PIP, DIP flexion and MCP abduction. The
#: thumb: CMC, MCP, IP flexion and CMC palmar abduction; CMC flexion counts from the rest pose.
#: Zero is the straight finger in line with its metacarpal.
POSES: dict[str, dict[str, Angles]] = {
    "flat": {
        "index": (0, 0, 0, 0),
        "middle": (0, 0, 0, 0),
        "ring": (0, 0, 0, 0),
        "little": (0, 0, 0, 0),
        "thumb": (0, 5, 0, 15),
    },
    "relaxed": {
        "index": (25, 30, 15, 2),
        "middle": (32, 36, 18, 0),
        "ring": (36, 40, 20, 2),
        "little": (38, 40, 20, 4),
        "thumb": (5, 15, 20, 28),
    },
    "spread": {
        "index": (0, 0, 0, 16),
        "middle": (0, 0, 0, 0),
        "ring": (0, 0, 0, 12),
        "little": (0, 0, 0, 20),
        "thumb": (-20, 0, 0, 45),
    },
    "fist": {
        "index": (84, 100, 58, 6),
        "middle": (86, 102, 60, 0),
        "ring": (88, 102, 60, 3),
        "little": (88, 100, 58, 3),
        "thumb": (23, 35, 46, 37, -9),
    },
    "pinch": {
        "index": (63, 43, 8, -5),
        "middle": (30, 35, 20, 0),
        "ring": (25, 30, 18, 2),
        "little": (20, 25, 15, 6),
        "thumb": (30, 22, 0, 47, -21),
    },
    "point": {
        "index": (0, 0, 0, 0),
        "middle": (84, 102, 60, 3),
        "ring": (88, 102, 60, 4),
        "little": (88, 100, 58, 3),
        "thumb": (30, 30, 45, 36, -6),
    },
    "thumbs_up": {
        "index": (84, 100, 58, 3),
        "middle": (86, 102, 60, 0),
        "ring": (88, 102, 60, 3),
        "little": (88, 100, 58, 2),
        "thumb": (-22, -5, -10, 8),
    },
    "victory": {
        "index": (0, 0, 0, 12),
        "middle": (0, 0, 0, -10),
        "ring": (86, 102, 60, 4),
        "little": (88, 100, 58, 2),
        "thumb": (30, 50, 35, 48, -4),
    },
    "hook": {
        "index": (0, 90, 60, 0),
        "middle": (0, 92, 62, 0),
        "ring": (0, 92, 62, 0),
        "little": (0, 88, 60, 0),
        "thumb": (0, 10, 10, 20),
    },
    "grasp": {
        "index": (45, 40, 22, 6),
        "middle": (48, 44, 24, 0),
        "ring": (50, 46, 24, 5),
        "little": (50, 44, 22, 10),
        "thumb": (5, 15, 20, 50),
    },
}


def _quaternions(
    axes: Float[np.ndarray, "*n 3"], angles: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n 4"]:
    half = 0.5 * angles[..., None]
    return np.concatenate([np.cos(half), np.sin(half) * axes], axis=-1)


def _multiply(p: Float[np.ndarray, "*n 4"], q: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n 4"]:
    (a, u), (b, v) = (p[..., :1], p[..., 1:]), (q[..., :1], q[..., 1:])
    scalar = a * b - (u * v).sum(-1, keepdims=True)
    return np.concatenate([scalar, a * v + b * u + np.cross(u, v)], axis=-1)


def compose_rotations(
    angles: Float[np.ndarray, "*n 3"], axes: Float[np.ndarray, "*n 3 3"]
) -> Float[np.ndarray, "*n 3"]:
    """Axis-angle of R_abduction R_flexion R_twist, angles (rad) about the rows of `axes`.

    Abduction turns the hinge with the finger, as a goniometer does: a finger abducted by 10 degrees
    and flexed by 90 still points away from the palm. Adding the two rotation vectors would not.
    Valid for total turns below 180 degrees.
    """
    flexion, abduction, twist = (_quaternions(axes[..., k, :], angles[..., k]) for k in range(3))
    q = _multiply(_multiply(abduction, flexion), twist)
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    turn = 2 * np.arctan2(sine, q[..., :1])
    factor = np.where(sine < 1e-8, 2.0, turn / np.maximum(sine, 1e-8))
    return np.asarray(factor * q[..., 1:])


def hand_pose_from_angles(
    angles: Mapping[str, Angles],
    pose_axes: Float[np.ndarray, "15 3 3"],
    rest_angles: Float[np.ndarray, "15 3"],
) -> Float[np.ndarray, "45"]:
    """Axis-angle `hand_pose` (rad, MANO's bone order) that puts every joint at clinical angles.

    `angles` maps each finger's name to its four or five angles in degrees; a missing finger keeps the
    rest pose. `pose_axes` (rows flexion, abduction, twist) and `rest_angles` (rad) are the hand
    model's; a joint turns by the difference to its rest angles (`compose_rotations`).
    Raises `KeyError` for an unknown finger.
    """
    unknown = set(angles) - set(BONE_FINGERS)
    if unknown:
        raise KeyError(f"unknown fingers {sorted(unknown)}; known are {sorted(BONE_FINGERS)}")
    local = np.zeros((15, 3))
    for place, finger in enumerate(BONE_FINGERS):
        if finger not in angles:
            continue
        bones = slice(3 * place, 3 * place + 3)
        wanted = np.radians((*angles[finger], 0.0)[:5])
        local[bones, 0] = wanted[:3] - rest_angles[bones, 0]
        local[3 * place, 1:] = wanted[3:] - rest_angles[3 * place, 1:]
    return compose_rotations(local, np.asarray(pose_axes, dtype=np.float64)).reshape(45)


def named_pose(
    name: str,
    pose_axes: Float[np.ndarray, "15 3 3"],
    rest_angles: Float[np.ndarray, "15 3"],
) -> Float[np.ndarray, "45"]:
    """`hand_pose` (45,) rad of one of `POSES`; "rest" is the model's own rest pose (zeros).

    Raises `KeyError` with the known names for an unknown one.
    """
    if name == "rest":
        return np.zeros(45)
    if name not in POSES:
        raise KeyError(f"unknown pose {name!r}; known are rest, {', '.join(sorted(POSES))}")
    return hand_pose_from_angles(POSES[name], pose_axes, rest_angles)
