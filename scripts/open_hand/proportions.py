"""Stretch every hand along its fingers and palm so that its joints lie at anthropometric distances."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from . import anatomy


@dataclass(frozen=True)
class Correction:
    """One warp for all hands: how far finger bases move and how much each segment stretches."""

    base_shift: np.ndarray  # (5,3) metres, of the thumb's CMC and the four MCPs
    stretch: np.ndarray  # (5,3) factors of the three segments of each finger
    softness: float = 0.001  # metres over which the stretch factor changes at a joint


def segment_lengths(joints: np.ndarray) -> np.ndarray:
    """Distances (5,4): wrist to first joint, then base to tip of every finger."""
    chain = joints[1:].reshape(5, 4, 3)
    first = np.linalg.norm(chain[:, 0] - joints[0], axis=-1, keepdims=True)
    return np.concatenate([first, np.linalg.norm(np.diff(chain, axis=1), axis=-1)], axis=1)


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 up to 0, 1 from 1 on, smooth between them."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _ramp(x: np.ndarray, softness: float) -> np.ndarray:
    return softness * np.logaddexp(0.0, x / softness)


def _finger_shift(points: np.ndarray, chain: np.ndarray, stretch: np.ndarray, soft: float) -> np.ndarray:
    """Displacement of `points` (P,3) by stretching a finger whose four joints are `chain`."""
    shift = np.zeros_like(points)
    for k in range(3):
        bone = chain[k + 1] - chain[k]
        length = np.linalg.norm(bone)
        along = (points - chain[k]) @ (bone / length)
        covered = _ramp(along, soft)
        if k < 2:
            covered = covered - _ramp(along - length, soft)
        shift += (stretch[k] - 1.0) * covered[:, None] * (bone / length)
    return shift


def _palm_shift(points: np.ndarray, joints: np.ndarray, base_shift: np.ndarray) -> np.ndarray:
    """Displacement of the palm: none at the wrist, that of the finger bases at their level."""
    mcp = joints[[5, 9, 13, 17]][::-1]  # ascending z: little to index
    shift = base_shift[1:][::-1]
    z = np.clip(points[:, 2], mcp[0, 2] - 0.012, mcp[3, 2] + 0.008)
    knots = np.r_[mcp[0, 2] - 0.012, mcp[:, 2], mcp[3, 2] + 0.008]
    slope_low = (shift[1] - shift[0]) / (mcp[1, 2] - mcp[0, 2])
    slope_high = (shift[3] - shift[2]) / (mcp[3, 2] - mcp[2, 2])
    values = np.vstack([shift[0] - 0.012 * slope_low, shift, shift[3] + 0.008 * slope_high])
    across = np.stack([np.interp(z, knots, values[:, c]) for c in range(3)], axis=1)
    level = np.interp(z, mcp[:, 2], mcp[:, 0])
    return across * smoothstep(points[:, 0] / level)[:, None]


def apply_correction(
    vertices: np.ndarray, joints: np.ndarray, member: np.ndarray, correction: Correction
) -> tuple[np.ndarray, np.ndarray]:
    """Warp one hand (wrist at the origin); `member` (V,5) is each vertex's share in each finger."""
    palm = (1.0 - member.sum(axis=1, keepdims=True)) * _palm_shift(vertices, joints, correction.base_shift)
    new_vertices, new_joints = vertices + palm, joints.copy()
    for f in range(5):
        chain = joints[1 + 4 * f : 5 + 4 * f]
        args = (chain, correction.stretch[f], correction.softness)
        base = correction.base_shift[f]
        new_vertices += member[:, f : f + 1] * (base + _finger_shift(vertices, *args))
        new_joints[1 + 4 * f : 5 + 4 * f] = chain + base + _finger_shift(chain, *args)
    return new_vertices, new_joints


def _from_the_bones(points: np.ndarray, chain: np.ndarray) -> np.ndarray:
    """The way (P,3) to each of `points` from the nearest place on a finger's line."""
    ways = []
    for a, b in itertools.pairwise(chain):
        along = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0.0, 1.0)
        ways.append(points - a - along[:, None] * (b - a))
    nearest = np.argmin([np.linalg.norm(way, axis=1) for way in ways], axis=0)
    return np.stack(ways)[nearest, np.arange(len(points))]


def proportion_directions(
    vertices: np.ndarray, joints: np.ndarray, member: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What one standard deviation of a proportion does to the mean hand's vertices (V,3) and joints (21,3).

    A broader palm has finger bases further from the middle finger's and fingers thicker by half the share;
    a longer finger is longer in all its segments.
    """
    apart = np.zeros((5, 3))
    apart[:, 2] = joints[1::4, 2] - joints[9, 2]
    corrections = {"palm breadth": Correction(apart, np.ones((5, 3)))}
    for name, spread in anatomy.FINGER_LENGTH_SPREAD.items():
        stretch = np.ones((5, 3))
        stretch[anatomy.FINGERS.index(name)] += spread
        corrections[f"{name} length"] = Correction(np.zeros((5, 3)), stretch)
    directions = {}
    for name, correction in corrections.items():
        moved, placed = apply_correction(vertices, joints, member, correction)
        directions[name] = moved - vertices, placed - joints
    away = [_from_the_bones(vertices, chain) for chain in joints[1:].reshape(5, 4, 3)]
    skin, bones = directions["palm breadth"]
    skin = skin + sum(member[:, f : f + 1] * away[f] / 2 for f in range(5))
    # the flesh beside the outer knuckles does not stretch: measured over the skin
    breadth = knuckle_breadth(vertices, joints, member)
    gain = knuckle_breadth(vertices + skin, joints + bones, member) / breadth - 1
    directions["palm breadth"] = tuple(anatomy.PALM_BREADTH_SPREAD / gain * x for x in (skin, bones))
    return directions


def knuckle_breadth(vertices: np.ndarray, joints: np.ndarray, member: np.ndarray) -> float:
    """Breadth of the palm in z at the level of the index and little finger bases, thumb left out."""
    vertices = vertices[member[:, 0] < 0.02]
    radial = vertices[np.abs(vertices[:, 0] - joints[5, 0]) < 0.005, 2].max()
    ulnar = vertices[np.abs(vertices[:, 0] - joints[17, 0]) < 0.005, 2].min()
    return float(radial - ulnar)


def solve_correction(vertices: np.ndarray, joints: np.ndarray, member: np.ndarray) -> Correction:
    """Find the correction that brings the average hand to `anatomy.target_lengths_mm`.

    Finger bases move across the hand to give the knuckles their breadth and along it to give
    wrist-MCP its length; segments stretch. A few fixed-point steps suffice.
    """
    target = anatomy.target_lengths_mm() / 1000
    correction = Correction(np.zeros((5, 3)), np.ones((5, 3)))
    for _ in range(12):
        new_vertices, new_joints = apply_correction(vertices, joints, member, correction)
        lengths = segment_lengths(new_joints)
        stretch = correction.stretch * target[:, 1:] / lengths[:, 1:]
        shift = correction.base_shift.copy()
        narrow = anatomy.HAND_BREADTH_MM / 1000 / knuckle_breadth(new_vertices, new_joints, member)
        for f in range(1, 5):
            base = new_joints[1 + 4 * f]
            wanted = base * np.array([1, 1, narrow])
            wanted[0] = -np.sqrt(target[f, 0] ** 2 - wanted[1] ** 2 - wanted[2] ** 2)
            shift[f] += wanted - base
        direction = new_joints[1] / lengths[0, 0]
        shift[0] += direction * (target[0, 0] - lengths[0, 0])
        correction = replace(correction, base_shift=shift, stretch=stretch)
    return correction
