"""Where spheres that fill a hand model's fingers lie, and points of its palm: for what touches what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from amvur.hand.anatomy import palm_normal
from amvur.hand.joints import BONE_JOINTS
from amvur.hand.model_arrays import HandModelArrays

_RING = 12
# Radius over the ring's mean radius, set on exact depths: bent knuckles are wider than their rings at rest,
# and the flesh between the fingers' bases gives way.
_KNUCKLE, _WEB = 1.04, 0.98
CLEARANCE_M = 0.001
"""What is nearer than this at rest may overlap."""
TOUCH_M = 0.0005
"""Overlap that counts as mere touching."""
THENAR_BONE = 13
"""The thumb's first bone, with which the ball of the thumb goes."""
_PALM_POINTS = 160
# Positions of the spheres along a bone, in bone lengths; None is the one that fills the finger's tip.
_FINGER: tuple[tuple[float | None, ...], ...] = (
    (0.3, 0.55, 0.8, 1.0),
    (0.0, 0.3, 0.65, 1.0),
    (0.0, 0.4, None),
)
_THUMB: tuple[tuple[float | None, ...], ...] = ((0.75,), (0.0, 0.33, 0.67, 1.0), (0.0, 0.4, None))


@dataclass(frozen=True)
class ContactLayout:
    """S spheres in fingers and thumb, P points of the palm of a hand model, and what may touch what.

    `ring` and `ring_weights` define the spheres by mesh vertices, `bone` carries them and `flesh` is their
    radius over the mean one of the ring; `pairs` may collide with each other and the Q spheres `probes` with
    the points `palm` (vertices, with normals at rest), where `reach` allows. `thenar` is the share of a point
    that moves with the thumb's base.
    """

    ring: Int64[np.ndarray, "S m"]
    ring_weights: Float64[np.ndarray, "S m"]
    bone: Int64[np.ndarray, "S"]
    flesh: Float64[np.ndarray, "S"]
    pairs: Bool[np.ndarray, "S S"]
    palm: Int64[np.ndarray, "P"]
    palm_normal: Float64[np.ndarray, "P 3"]
    thenar: Float64[np.ndarray, "P 1"]
    probes: Int64[np.ndarray, "Q"]
    reach: Bool[np.ndarray, "Q P"]


def layout_contacts(arrays: HandModelArrays) -> ContactLayout:
    """Lay out spheres and palm points on the mean rest mesh of any model with MANO's bones."""
    ring, weights, bone = _sphere_rings(arrays)
    corners = arrays.v_template[ring]
    centers = (weights[..., None] * corners).sum(1)
    base = np.isin(bone, (1, 4, 7, 10)) & (bone != np.roll(bone, 1))
    flesh = np.where(base, _WEB, _KNUCKLE)
    radii = (weights * np.linalg.norm(corners - centers[:, None], axis=-1)).sum(1)
    pairs = _sphere_pairs(bone, centers, radii)
    palm, normals = _palm_points(arrays)
    # The proximal segments and the ball of the thumb belong to the palm's own outline.
    probes = np.flatnonzero(~np.isin(bone, (1, 4, 7, 10, THENAR_BONE, THENAR_BONE + 1)))
    blend = arrays.lbs_weights[palm][:, [0, THENAR_BONE]]
    thenar = blend[:, 1:] / np.maximum(blend.sum(1, keepdims=True), 1e-9)
    reach = (bone[probes, None] < THENAR_BONE) | (thenar.T < 0.3)
    return ContactLayout(ring, weights, bone, flesh, pairs, palm, normals, thenar, probes, reach)


def _sphere_rings(arrays: HandModelArrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for every sphere its ring of vertices, their weights (sum 1) and its bone."""
    rings, weights, bones = [], [], []
    for first in (1, 4, 7, 10, 13):
        owned = arrays.lbs_weights[:, first : first + 3].sum(1)
        finger = np.flatnonzero(owned > 0.6)
        if len(finger) < 2 * _RING:
            finger = np.argsort(-owned, kind="stable")[: 2 * _RING]
        for segment, places in enumerate(_THUMB if first == THENAR_BONE else _FINGER):
            bone = first + segment
            start, end = arrays.joint_template[[BONE_JOINTS[bone], BONE_JOINTS[bone] + 1]]
            for place in places:
                if place is None:
                    place = _last_place(arrays, finger, start, end)
                ring, weight = _ring(arrays.v_template[finger], start, end, place)
                rings.append(finger[ring])
                weights.append(weight)
                bones.append(bone)
    return np.stack(rings), np.stack(weights), np.array(bones, dtype=np.int64)


def _last_place(arrays: HandModelArrays, finger: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    """Return where on the last bone (in its lengths) a sphere lies that ends with the finger."""
    length, _, along, radial = _along_bone(arrays.v_template[finger], start, end)
    near = np.argsort(np.abs(along - 0.6 * length), kind="stable")[:_RING]
    # A tip of one vertex is the end; the mean of several lies within the flesh.
    ends = float(along.max()) / length if arrays.tip_vertices.shape[1] > 1 else 1.0
    return ends - min(float(np.linalg.norm(radial[near], axis=1).mean()) / length, 0.6)


def _along_bone(
    vertices: np.ndarray, start: np.ndarray, end: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Return a bone's length and axis, how far along it vertices lie, and their ways from it."""
    length = max(float(np.linalg.norm(end - start)), 1e-6)
    axis = (end - start) / length
    offsets = vertices - start
    along = offsets @ axis
    return length, axis, along, offsets - along[:, None] * axis


def _ring(
    vertices: np.ndarray, start: np.ndarray, end: np.ndarray, place: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return which vertices are nearest to a cross-section of a bone, and the angles they stand for."""
    length, axis, along, radial = _along_bone(vertices, start, end)
    chosen = np.argsort(np.abs(along - place * length), kind="stable")[:_RING]
    side = np.cross(axis, [0.0, 1.0, 0.0] if abs(axis[1]) < 0.9 else [1.0, 0.0, 0.0])
    around = np.arctan2(radial[chosen] @ np.cross(axis, side), radial[chosen] @ side)
    order = np.argsort(around, kind="stable")
    angle = around[order]
    before, after = np.roll(angle, 1), np.roll(angle, -1)
    before[0] -= 2 * np.pi
    after[-1] += 2 * np.pi
    return chosen[order], (after - before) / (4 * np.pi)


def _sphere_pairs(bone: np.ndarray, centers: np.ndarray, radii: np.ndarray) -> Bool[np.ndarray, "S S"]:
    """Mark the pairs that may not overlap: of two fingers, or of the first and last bone of one."""
    finger, segment = (bone - 1) // 3, (bone - 1) % 3
    apart = (finger[:, None] != finger) | (np.abs(segment[:, None] - segment) == 2)
    gap = np.linalg.norm(centers[:, None] - centers, axis=-1) - radii[:, None] - radii
    return np.triu(apart & (gap > CLEARANCE_M), 1)


def _palm_points(arrays: HandModelArrays) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices spread evenly over the palm's side of the palm and the ball of the thumb."""
    normals = _vertex_normals(arrays)
    joints = arrays.joint_template
    owner = arrays.lbs_weights.argmax(1)
    forward = joints[9] - joints[0]
    along = (arrays.v_template - joints[0]) @ forward / max(float(forward @ forward), 1e-12)
    facing = normals @ palm_normal(joints, arrays.side) > -0.3
    candidates = np.flatnonzero(np.isin(owner, (0, THENAR_BONE)) & facing & (along > 0.05))
    if not len(candidates):
        candidates = np.flatnonzero(owner == owner[0])
    positions = arrays.v_template[candidates]
    chosen = [0]
    distance = np.linalg.norm(positions - positions[0], axis=1)
    for _ in range(min(_PALM_POINTS, len(candidates)) - 1):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(positions - positions[chosen[-1]], axis=1))
    palm = np.sort(candidates[chosen])
    return palm, normals[palm]


def _vertex_normals(arrays: HandModelArrays) -> Float64[np.ndarray, "V 3"]:
    """Return unit normals of the mean rest mesh, area weighted; 0 for a vertex without a face."""
    a, b, c = (arrays.v_template[arrays.faces[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    total = np.zeros_like(arrays.v_template)
    for k in range(3):
        np.add.at(total, arrays.faces[:, k], face)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20))
