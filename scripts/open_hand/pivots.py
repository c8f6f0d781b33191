"""Anatomical joint centres of the average hand, and linear rules that carry them to other hands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import anatomy
from .source import RawHands

MAKEHUMAN_FINGER = [(2, 3, 4), (6, 7, 8), (10, 11, 12), (14, 15, 16), (18, 19, 20)]


def hand_frame(heads: np.ndarray) -> np.ndarray:
    """Rotation (3,3) from anny's axes: fingers along -x, back of the hand +y, thumb side +z."""
    x = heads[1] - heads[10]
    x = x / np.linalg.norm(x)
    z = heads[6] - heads[18]
    z = z - x * (z @ x)
    z = z / np.linalg.norm(z)
    return np.stack([x, np.cross(z, x), z])


def align(raw: RawHands) -> tuple[np.ndarray, np.ndarray]:
    """All hands and MakeHuman pivots in the hand frame of hand 0, rotated onto it by the palm."""
    frame = hand_frame(raw.bone_heads[0])
    vertices = (raw.vertices - raw.bone_heads[:, 1:2]) @ frame.T
    heads = (raw.bone_heads - raw.bone_heads[:, 1:2]) @ frame.T
    palm = (vertices[0, :, 0] < -0.02) & (vertices[0, :, 0] > -0.11) & (vertices[0, :, 2] < 0.03)
    target = vertices[0, palm] - vertices[0, palm].mean(0)
    for i in range(len(vertices)):
        center = vertices[i, palm].mean(0)
        u, _, vt = np.linalg.svd(target.T @ (vertices[i, palm] - center))
        rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
        vertices[i] = (vertices[i] - center) @ rotation.T + vertices[0, palm].mean(0)
        heads[i] = (heads[i] - center) @ rotation.T + vertices[0, palm].mean(0)
    return vertices, heads


def section_center(
    vertices: np.ndarray, faces: np.ndarray, point: np.ndarray, normal: np.ndarray, radius: float
) -> np.ndarray:
    """Area centroid of the cross-section through `point`, of the mesh within `radius` of it."""
    height = (vertices - point) @ normal
    a, b = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    cut = (height[a] < 0) != (height[b] < 0)
    a, b = a[cut], b[cut]
    t = (height[a] / (height[a] - height[b]))[:, None]
    ring = vertices[a] * (1 - t) + vertices[b] * t
    ring = ring[np.linalg.norm(ring - point, axis=1) < radius]
    u = np.linalg.svd(np.eye(3) - np.outer(normal, normal))[0][:, :2]
    flat = (ring - ring.mean(0)) @ u
    order = np.argsort(np.arctan2(flat[:, 1], flat[:, 0]))
    p, q = flat[order], np.roll(flat[order], -1, axis=0)
    cross = p[:, 0] * q[:, 1] - q[:, 0] * p[:, 1]
    center = ((p + q) * cross[:, None]).sum(0) / (3 * cross.sum())
    return ring.mean(0) + u @ center


def dorsal_height(vertices: np.ndarray, faces: np.ndarray, x: float, z: float) -> float:
    """Height y of the back of the hand over (x, z): the highest triangle met there."""
    tri = vertices[faces]
    a, b, c = tri[:, 0, ::2], tri[:, 1, ::2], tri[:, 2, ::2]
    p = np.array([x, z])

    def area(s: np.ndarray, t: np.ndarray, r: np.ndarray) -> np.ndarray:
        return (t[:, 0] - s[:, 0]) * (r[:, 1] - s[:, 1]) - (t[:, 1] - s[:, 1]) * (r[:, 0] - s[:, 0])

    q = np.broadcast_to(p, a.shape)
    total = area(a, b, c)
    total = np.where(np.abs(total) < 1e-12, 1e-12, total)
    bary = np.stack([area(q, b, c), area(a, q, c), area(a, b, q)], axis=1) / total[:, None]
    hit = (bary >= -1e-9).all(axis=1)
    return float((bary[hit] * tri[hit, :, 1]).sum(axis=1).max())


@dataclass(frozen=True)
class Skeleton:
    """The 21 joints of the average hand and the vertices at its fingertips."""

    joints: np.ndarray  # (21,3)
    tip_vertices: np.ndarray  # (5,)


def find_tip(vertices: np.ndarray, dip: np.ndarray, axis: np.ndarray, up: np.ndarray) -> int:
    """Vertex at the end of the finger: furthest along the axis, tilted a little to the nail's border."""
    offset = vertices - dip
    side = np.cross(axis, up)
    score = offset @ axis + 0.25 * offset @ up - 0.6 * np.abs(offset @ side)
    lateral = np.linalg.norm(offset - np.outer(offset @ axis, axis), axis=1)
    score[(lateral > 0.011) | (offset @ axis > 0.05)] = -1.0
    return int(np.argmax(score))


def place_joints(vertices: np.ndarray, faces: np.ndarray, heads: np.ndarray) -> Skeleton:
    """Joint centres of the average hand (before its proportions are corrected)."""
    joints = np.zeros((21, 3))
    guess = np.array([anatomy.WRIST_X, 0.0, 0.0])
    joints[0] = section_center(vertices, faces, guess, np.array([1.0, 0, 0]), 0.06)
    tips = np.zeros(5, dtype=np.int32)
    for f, (_one, two, three) in enumerate(MAKEHUMAN_FINGER):
        base = 1 + 4 * f
        axis = heads[three] - heads[two]
        axis = axis / np.linalg.norm(axis)
        if f == 0:
            joints[base] = joints[0] + anatomy.CMC_FROM_WRIST
            middle = heads[two] + anatomy.THUMB_MCP_SHIFT * axis
            joints[base + 1] = section_center(vertices, faces, middle, axis, 0.021)
        else:
            x, z = anatomy.MCP_XZ[f - 1]
            joints[base] = x, dorsal_height(vertices, faces, x, z) - anatomy.MCP_DEPTH, z
            joints[base + 1] = section_center(vertices, faces, heads[two], axis, 0.015)
        joints[base + 2] = section_center(vertices, faces, heads[three], axis, 0.016)
        bone = joints[base + 2] - joints[base + 1]
        bone = bone / np.linalg.norm(bone)
        up = heads[three] - joints[base + 2]  # MakeHuman's pivots lie dorsal of the centre
        up = up - bone * (up @ bone)
        tips[f] = find_tip(vertices, joints[base + 2], bone, up / np.linalg.norm(up))
        joints[base + 3] = vertices[tips[f]]
    return Skeleton(joints, tips)


def linear_rules(vertices: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Rows (21,V) of weights, summing to 1, that give the joints from the rest mesh exactly.

    A row is a Gaussian of the distance to the joint, changed as little as possible so that it
    reproduces the joint of the average hand; tips are their vertex.
    """
    rules = np.zeros((21, len(vertices)))
    for j, joint in enumerate(skeleton.joints):
        if j and j % 4 == 0:
            rules[j, skeleton.tip_vertices[j // 4 - 1]] = 1.0
            continue
        distance = np.linalg.norm(vertices - joint, axis=1)
        width = max(0.35 * np.sort(distance)[60], 0.004)
        weight = np.exp(-0.5 * ((distance - distance.min()) / width) ** 2)
        weight /= weight.sum()
        ones = np.c_[vertices - joint, np.full(len(vertices), 0.01)]
        weighted = ones * weight[:, None]
        error = np.r_[0, 0, 0, 0.01] - ones.T @ weight
        rules[j] = weight + weighted @ np.linalg.solve(ones.T @ weighted, error)
    return rules
