"""Anatomical axes, rest angles and limits of a hand that is known by its 21 rest joints only.

The open hand's file brings its own, found on its nails; this serves MANO, whose file has none. Right
hands are described; a left hand is mirrored in x first, so that all angles mean the same on both sides.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64

from amvur.hand.joints import FINGERS
from amvur.structures import Side

_Vector = Float64[np.ndarray, "3"]

_MIRROR = np.array([-1.0, 1.0, 1.0])
_FIRST_BONE = {"thumb": 13, "index": 1, "middle": 4, "ring": 10, "little": 7}
_BASE_JOINT = {finger: 1 + 4 * i for i, finger in enumerate(FINGERS)}

THUMB_PRONATION_DEG = 70.0
"""How far the thumb's pad is turned from facing as the palm does towards facing the little finger.

A relaxed thumb's nail stands 60 to 80 degrees to the palm; seen from 21 joints that turn is invisible.
"""

NEUTRAL_FAN_DEG = {"index": 4.0, "middle": 0.0, "ring": -4.0, "little": -8.0}
"""Where a finger's abduction is 0: in the palm's plane, from the middle metacarpal towards the thumb."""

_HINGE = ((-3.0, 3.0), (-3.0, 3.0))
RANGE_DEG: dict[str, tuple[tuple[float, float], ...]] = {
    "mcp": ((-30.0, 90.0), (-20.0, 20.0), (-8.0, 8.0)),
    "pip": ((-5.0, 105.0), *_HINGE),
    "dip": ((-8.0, 80.0), *_HINGE),
    "thumb_cmc": ((-25.0, 30.0), (0.0, 65.0), (-25.0, 15.0)),
    "thumb_mcp": ((-10.0, 55.0), (-10.0, 10.0), (-8.0, 8.0)),
    "thumb_ip": ((-15.0, 80.0), *_HINGE),
}
"""Clinical ranges of flexion, abduction and twist, degrees, as the open hand has them.

Finger MCP extension lies between the active (20) and the passive (45) limit. The thumb's base has the
arcs of Cooney et al. (1981) about the rest pose, widened by the clinical palmar abduction (45 to 70).
Twist is clinically none: the slack covers what the axes' own errors amount to.
"""


def anatomical_axes(joint_template: Float64[np.ndarray, "21 3"], side: Side) -> Float64[np.ndarray, "15 3 3"]:
    """Return the flexion, abduction and twist axes (unit rows) of bones 1 to 15 in MANO's order.

    From rest joints (any unit, world-aligned rest frames). A positive turn about a row, by the
    right-hand rule, flexes towards the palm, moves away from the middle finger (the middle finger: to
    the thumb's side; the thumb: out of the palm), or twists. Twist runs along the bone: on a right hand
    towards the tip, for ring and little finger towards the wrist, so that rows are right-handed.
    """
    joints = joint_template * _MIRROR if side == "left" else joint_template
    axes = np.zeros((15, 3, 3))
    for finger in FINGERS:
        bones = _bone_directions(joints, finger)
        palmar = _pad_direction(joints, finger)
        hinge = np.cross(bones[0], palmar)
        for i, bone in enumerate(bones):
            flexion = _unit(hinge - bone * (hinge @ bone))
            thumbward = np.cross(bone, flexion)
            abduction = -thumbward if finger in ("ring", "little") else thumbward
            axes[_FIRST_BONE[finger] - 1 + i] = flexion, abduction, np.cross(flexion, abduction)
    # Axes of turns are pseudo-vectors: mirroring them back flips what mirroring keeps.
    return axes * -_MIRROR if side == "left" else axes


def rest_angles(joint_template: Float64[np.ndarray, "21 3"], side: Side) -> Float64[np.ndarray, "15 3"]:
    """Return the clinical flexion, abduction and twist (rad) that the rest pose already has.

    MCP flexion counts from the line wrist–MCP, other flexions from the bone before. MCP abduction counts
    in the palm's plane from `NEUTRAL_FAN_DEG` about the middle metacarpal. The base of the thumb has no
    clinical zero that sources share: its flexion is 0 at rest, its abduction the angle by which it rises
    out of the palm's plane.
    """
    joints = joint_template * _MIRROR if side == "left" else joint_template
    axes = anatomical_axes(joints, "right")
    palm = palm_normal(joints, "right")
    middle = joints[_BASE_JOINT["middle"]] - joints[0]
    rest = np.zeros((15, 3))
    for finger in FINGERS:
        first = _FIRST_BONE[finger] - 1
        bones = _bone_directions(joints, finger)
        before = [joints[_BASE_JOINT[finger]] - joints[0], *bones[:-1]]
        for i in range(3):
            rest[first + i, 0] = _signed_angle(before[i], bones[i], axes[first + i, 0])
        if finger == "thumb":
            rest[first] = 0.0, math.asin(float(np.clip(bones[0] @ palm, -1, 1))), 0.0
        else:
            thumbward = -_signed_angle(middle, bones[0], palm) - math.radians(NEUTRAL_FAN_DEG[finger])
            rest[first, 1] = -thumbward if finger in ("ring", "little") else thumbward
    return rest


def anatomical_limits(rest: Float64[np.ndarray, "15 3"]) -> Float64[np.ndarray, "15 3 2"]:
    """Return the ranges (rad) of local turns from the rest pose whose `rest_angles` are given.

    The published ranges minus what the rest pose has, and always holding the rest pose itself.
    """
    mcp_pip_dip = [RANGE_DEG[name] for name in ("mcp", "pip", "dip")]
    thumb = [RANGE_DEG[name] for name in ("thumb_cmc", "thumb_mcp", "thumb_ip")]
    limits = np.radians(np.array([*mcp_pip_dip * 4, *thumb])) - rest[..., None]
    return np.stack([np.minimum(limits[..., 0], 0.0), np.maximum(limits[..., 1], 0.0)], -1)


def palm_normal(joints: Float64[np.ndarray, "21 3"], side: Side) -> _Vector:
    """Return the unit direction out of the palm, from the wrist and the index and little finger's bases."""
    index, little = joints[_BASE_JOINT["index"]] - joints[0], joints[_BASE_JOINT["little"]] - joints[0]
    normal = _unit(np.cross(index, little))
    return normal if side == "right" else -normal


def _pad_direction(joints: Float64[np.ndarray, "21 3"], finger: str) -> _Vector:
    """Return the direction of a right hand that a finger's pad faces, roughly square to its bone.

    Between the palm's normal and that of the palm under the finger, since the knuckles form an arch.
    """
    palm = palm_normal(joints, "right")
    if finger == "thumb":
        bone = _bone_directions(joints, finger)[0]
        palmar = _unit(palm - bone * (palm @ bone))
        turn = math.radians(THUMB_PRONATION_DEG)
        direction: _Vector = math.cos(turn) * palmar - math.sin(turn) * np.cross(bone, palmar)
        return direction
    spokes = [joints[_BASE_JOINT[name]] - joints[0] for name in FINGERS[1:]]
    position = FINGERS.index(finger) - 1
    sectors = [i for i in (position - 1, position) if 0 <= i < 3]
    local = sum(_unit(np.cross(spokes[i], spokes[i + 1])) for i in sectors)
    return _unit(palm + _unit(np.asarray(local)))


def _bone_directions(joints: Float64[np.ndarray, "21 3"], finger: str) -> list[_Vector]:
    """Return the unit directions of a finger's three bones, base to tip."""
    base = _BASE_JOINT[finger]
    return [_unit(joints[base + i + 1] - joints[base + i]) for i in range(3)]


def _signed_angle(start: _Vector, end: _Vector, axis: _Vector) -> float:
    """Return the angle (rad) from `start` to `end` about the unit `axis`, both projected square to it."""
    start, end = start - axis * (start @ axis), end - axis * (end @ axis)
    return math.atan2(float(np.cross(start, end) @ axis), float(start @ end))


def _unit(vector: _Vector) -> _Vector:
    unit: _Vector = vector / np.linalg.norm(vector)
    return unit
