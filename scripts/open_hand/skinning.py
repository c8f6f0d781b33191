"""Skinning weights for the anatomical pivots, and a plain linear blend skinning in numpy."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu
from scipy.spatial.transform import Rotation

from . import anatomy


def cotangent_laplacian(vertices: np.ndarray, faces: np.ndarray) -> tuple[sp.csc_matrix, np.ndarray]:
    """Positive semi-definite cotangent Laplacian (V,V), negative cotangents clipped, and areas (V,)."""
    count = len(vertices)
    rows, cols, values = [], [], []
    area = np.zeros(count)
    for k in range(3):
        i, j, o = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        a, b = vertices[i] - vertices[o], vertices[j] - vertices[o]
        double = np.linalg.norm(np.cross(a, b), axis=1)
        cot = np.maximum((a * b).sum(1) / np.maximum(double, 1e-12), 0.02)
        rows += [i, j]
        cols += [j, i]
        values += [0.5 * cot, 0.5 * cot]
        np.add.at(area, o, double / 6)
    w = sp.coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), (count, count))
    w = w.tocsc()
    return sp.csc_matrix(sp.diags(np.asarray(w.sum(1)).ravel()) - w), area


def bone_segments(joints: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(bone, start, end) of every bone; the wrist bone is the fan of metacarpals and the carpus."""
    segments = [(0, joints[0], joints[5 + 4 * f]) for f in range(4)]
    segments.append((0, joints[0], joints[0] + 0.8 * (joints[1] - joints[0])))
    segments.append((0, joints[0] + np.array([0.03, 0, 0]), joints[0]))
    for bone in range(1, 16):
        joint = anatomy.BONE_JOINT[bone]
        segments.append((bone, joints[joint], joints[joint + 1]))
    return segments


def segment_distance(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance (P,) of points to a segment."""
    axis = end - start
    t = np.clip((points - start) @ axis / (axis @ axis), 0, 1)
    return np.linalg.norm(points - start - t[:, None] * axis, axis=1)


def heat_weights(
    vertices: np.ndarray,
    faces: np.ndarray,
    joints: np.ndarray,
    member: np.ndarray,
    sharpness: np.ndarray,
) -> np.ndarray:
    """Bone-heat weights (V,16): every bone warms the vertices nearest to it, heat flows in the skin.

    Baran and Popovic, "Automatic rigging and animation of 3D characters", 2007. A vertex that
    belongs to a finger (`member` (V,5) above one half) is never nearest to another finger's bone.
    `sharpness` (V,) scales how strongly a bone warms the skin: higher means shorter transitions.
    """
    segments = bone_segments(joints)
    distance = np.full((len(vertices), 16), np.inf)
    for bone, start, end in segments:
        distance[:, bone] = np.minimum(distance[:, bone], segment_distance(vertices, start, end))
    for f in range(5):
        own = set(range(anatomy.FIRST_BONE[f], anatomy.FIRST_BONE[f] + 3)) | {0}
        others = [b for b in range(16) if b not in own]
        distance[np.ix_(member[:, f] > 0.5, others)] = np.inf
    nearest = distance.argmin(1)
    laplacian, area = cotangent_laplacian(vertices, faces)
    heat = sharpness * area / np.maximum(distance.min(1), 0.003) ** 2
    source = np.zeros((len(vertices), 16))
    source[np.arange(len(vertices)), nearest] = heat
    weights = np.maximum(splu(sp.csc_matrix(laplacian + sp.diags(heat))).solve(source), 0)
    return weights / weights.sum(1, keepdims=True)


def prune(weights: np.ndarray, floor: float = 0.004) -> np.ndarray:
    """Keep the four largest weights (what glTF's first skin set holds) above `floor`, renormalised."""
    fourth = np.sort(weights, axis=1)[:, -4:-3]
    weights = np.where(weights < np.maximum(fourth, floor), 0.0, weights)
    return weights / weights.sum(1, keepdims=True)


def bone_transforms(hand_pose: np.ndarray, pivots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World rotations (16,3,3) and translations (16,3) that carry rest points; pose (15,3)."""
    rotation = np.zeros((16, 3, 3))
    origin = np.zeros((16, 3))
    rotation[0], origin[0] = np.eye(3), pivots[0]
    local = Rotation.from_rotvec(hand_pose.reshape(15, 3)).as_matrix()
    for k in range(1, 16):
        p = anatomy.PARENTS[k]
        rotation[k] = rotation[p] @ local[k - 1]
        origin[k] = origin[p] + rotation[p] @ (pivots[k] - pivots[p])
    return rotation, origin - np.einsum("kij,kj->ki", rotation, pivots)


def pose_feature(hand_pose: np.ndarray) -> np.ndarray:
    """(135,) of R_1..R_15 minus identity, row-major, as in MANO."""
    local = Rotation.from_rotvec(hand_pose.reshape(15, 3)).as_matrix()
    return (local - np.eye(3)).ravel()
