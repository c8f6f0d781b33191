"""Skin for renders of the open hand: nails, creases, knuckles, fingertips, painted in the rest pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import trimesh
from scipy.sparse import coo_matrix, csr_matrix, identity, vstack

from amvur.hand.joints import BONE_JOINTS, TIP_JOINTS
from amvur.hand.model import HandModel

_TONES = np.array(
    [[0.96, 0.83, 0.75], [0.88, 0.68, 0.56], [0.72, 0.52, 0.40], [0.50, 0.34, 0.25], [0.33, 0.22, 0.17]]
)
_DISTAL_BONES = (15, 3, 6, 12, 9)


@dataclass(frozen=True)
class SkinPattern:
    """A finer mesh (rows of `refine` mix the model's vertices) and where it shows what, 0 to 1."""

    refine: csr_matrix  # (N, V)
    faces: torch.Tensor  # (F, 3)
    crease: np.ndarray  # (N,)
    knuckle: np.ndarray
    nail: np.ndarray
    nail_border: np.ndarray
    tip: np.ndarray
    palm: np.ndarray


def make_pattern(model: HandModel, levels: int = 2) -> SkinPattern:
    """Refine the model's mesh and mark its skin in the rest pose."""
    # Without the cap that closes the wrist: a forearm grows there.
    skin = model.faces.numpy()[(model.faces.numpy() != len(model.v_template) - 1).all(1)]
    refine, faces = _refine(len(model.v_template), skin, levels)
    points = refine @ model.v_template.numpy()
    weights = refine @ model.lbs_weights.numpy()
    joints = model.joint_template.numpy()
    axes = model.pose_axes.numpy()
    crease, knuckle, nail, border, tip = (np.zeros(len(points)) for _ in range(5))
    for bone in range(1, 16):
        flexion, twist = axes[bone - 1, 0], axes[bone - 1, 2]
        palmar = np.cross(flexion, twist)
        member = weights[:, bone] + weights[:, model.parents[bone]]
        member = np.clip((member - 0.5) / 0.3, 0, 1)
        offset = points - joints[BONE_JOINTS[bone]]
        along, depth = offset @ twist, offset @ palmar
        if (bone - 1) % 3:
            line = np.exp(-((along / 0.0008) ** 2)) + 0.6 * np.exp(-(((along + 0.0028) / 0.0007) ** 2))
            crease = np.maximum(crease, line * member * _step(depth, 0.001, 0.002))
            wrinkles = np.exp(-((along / 0.005) ** 2)) * (0.6 + 0.4 * np.cos(along * 2 * np.pi / 0.0019))
            knuckle = np.maximum(knuckle, wrinkles * member * _step(-depth, 0.001, 0.003))
    for bone, joint in zip(_DISTAL_BONES, TIP_JOINTS, strict=True):
        flexion, twist = axes[bone - 1, 0], axes[bone - 1, 2]
        palmar = np.cross(flexion, twist)
        member = weights[:, bone] > 0.5
        offset = points - joints[joint]
        back, side, depth = -offset @ twist, offset @ flexion, -(points - joints[BONE_JOINTS[bone]]) @ palmar
        width = 0.0052 if joint == TIP_JOINTS[0] else 0.0042
        inside = np.minimum(np.minimum(back - 0.0, 0.0115 - back), width - np.abs(side))
        on_top = member * _step(depth, 0.0005, 0.0015)
        nail = np.maximum(nail, _step(inside, -0.0002, 0.0004) * on_top)
        border = np.maximum(border, np.exp(-((inside / 0.0005) ** 2)) * on_top)
        tip = np.maximum(tip, np.exp(-(offset**2).sum(-1) / 0.012**2))
    normals = trimesh.Trimesh(points, faces, process=False).vertex_normals
    palm = _step(-normals[:, 1], 0.0, 0.5)
    return SkinPattern(refine, torch.as_tensor(faces), crease, knuckle, nail, border, tip, palm)


def paint(pattern: SkinPattern, rng: np.random.Generator) -> np.ndarray:
    """Return sRGB colors (N,3) of one person's skin."""
    position = rng.uniform(0, len(_TONES) - 1)
    tone = np.stack([np.interp(position, range(len(_TONES)), _TONES[:, c]) for c in range(3)])
    tone = np.clip(tone + rng.normal(0, 0.02, 3), 0.05, 1)
    palm_tone = np.clip(tone + (0.25 * position / 4) * (_TONES[1] - tone), 0, 1)
    colors = tone + pattern.palm[:, None] * (palm_tone - tone)
    strength = rng.uniform(0.4, 1.0, 3)
    colors = colors + pattern.tip[:, None] * strength[0] * np.array([0.04, -0.05, -0.04])
    colors = colors * (1 - strength[1] * 0.35 * pattern.crease[:, None])
    colors = colors * (1 - strength[2] * pattern.knuckle[:, None] * np.array([0.12, 0.22, 0.22]))
    polish = rng.random() < 0.1
    nail = rng.uniform(0.1, 0.9, 3) if polish else np.clip(0.75 * tone + [0.24, 0.17, 0.17], 0, 1)
    colors = colors + pattern.nail[:, None] * (nail - colors)
    colors = colors * (1 - 0.35 * pattern.nail_border[:, None])
    return np.clip(colors, 0.02, 1)


def _step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((x - low) / (high - low), 0, 1)


def _refine(count: int, faces: np.ndarray, levels: int) -> tuple[csr_matrix, np.ndarray]:
    """Split every triangle in four, `levels` times; return the mixing matrix and the faces."""
    total = identity(count, format="csr")
    for _ in range(levels):
        edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        unique, inverse = np.unique(edges, axis=0, return_inverse=True)
        n, m = total.shape[0], len(unique)
        middle = coo_matrix(
            (np.full(2 * m, 0.5), (np.repeat(np.arange(m), 2), unique.ravel())), shape=(m, n)
        ).tocsr()
        total = vstack([identity(n), middle]).tocsr() @ total
        ab, bc, ca = (inverse.ravel()[i * len(faces) : (i + 1) * len(faces)] + n for i in range(3))
        a, b, c = faces.T
        faces = np.concatenate(
            [np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        )
    return total, faces
