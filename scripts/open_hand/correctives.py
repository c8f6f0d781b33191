"""Pose correctives: what an elastic skin would do at each joint, fitted as MANO's `posedirs`."""

from __future__ import annotations

import numpy as np

from .elastic import ElasticSolver, Skin
from .skinning import pose_feature


def bent_poses(skin: Skin, bone: int) -> np.ndarray:
    """Local angles (N,3) of one joint that need correctives: flexion beyond the rest pose.

    The thumb's base joint moves as far in abduction, so its two ends are solved too.
    """
    (_, high), (ab_low, ab_high), _ = skin.limits[bone - 1]
    local = [[f, 0.0, 0.0] for f in np.linspace(0, high, 7)[1:]]
    if bone == 13:
        local += [[0.0, a, 0.0] for a in (ab_low, 0.5 * ab_high, ab_high)]
        local += [[high, 0.5 * ab_high, 0.0]]
    return np.asarray(local)


def plain_poses(skin: Skin, bone: int) -> np.ndarray:
    """Local angles (N,3) where plain skinning is right and correctives must stay out of the way."""
    (low, _), (ab_low, ab_high), (tw_low, tw_high) = skin.limits[bone - 1]
    local = [[low, 0.0, 0.0], [0.5 * low, 0.0, 0.0], [0.0, 0.0, tw_low], [0.0, 0.0, tw_high]]
    if bone != 13:
        local += [[f, a, 0.0] for f in (low, 0.0) for a in (ab_low, 0.5 * ab_low, ab_high)]
    return np.asarray(local)


def finger_share(skin: Skin, bone: int) -> np.ndarray:
    """Share (V,) of the bone's finger in all fingers' weights, so that webs are corrected once."""
    fingers = skin.weights[:, 1:].reshape(-1, 5, 3).sum(2)
    return fingers[:, (bone - 1) // 3] / np.maximum(fingers.sum(1), 1e-9)


def fit_correctives(skin: Skin, ridge: float = 1e-3) -> np.ndarray:
    """`posedirs` (V,3,135): ridge regression of elastic minus skinned, in the rest frame, per joint.

    Plain skinning stays where it is right (extension, abduction): those poses are fitted to zero.

    Vertices that belong wholly to one bone (fingertips, the wrist's border) get none.
    """
    posedirs = np.zeros((len(skin.vertices), 3, 135))
    for bone in range(1, 16):
        solver = ElasticSolver(skin, bone)
        share = finger_share(skin, bone)[solver.free, None]
        columns = slice(9 * (bone - 1), 9 * bone)
        features, deltas = [], []
        poses = np.zeros((2, 15, 3))
        for local in bent_poses(skin, bone):
            poses[0, bone - 1] = local @ skin.axes[bone - 1]
            elastic, skinned, blended = solver.solve(poses[0])
            moved = (elastic - skinned)[solver.free, :, None]
            features.append(pose_feature(poses[0])[columns])
            deltas.append((share * np.linalg.solve(blended[solver.free], moved)[..., 0]).ravel())
        for local in plain_poses(skin, bone):
            poses[1, bone - 1] = local @ skin.axes[bone - 1]
            features.append(pose_feature(poses[1])[columns])
            deltas.append(np.zeros_like(deltas[0]))
        x, y = np.stack(features), np.stack(deltas)
        gram = x.T @ x + ridge * len(x) * np.eye(9)
        posedirs[solver.free, :, columns] = np.linalg.solve(gram, x.T @ y).T.reshape(-1, 3, 9)
    posedirs[(skin.weights > 0.9999).any(axis=1)] = 0.0
    posedirs[np.abs(posedirs) < 2e-5] = 0.0
    return posedirs
