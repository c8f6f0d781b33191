"""Sparse non-negative regressor from the posed mesh to the 21 joints."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import nnls

from . import anatomy

#: (betas (10,), hand_pose (15,3)) -> posed vertices (V,3) and joints (21,3)
Forward = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def random_poses(count: int, axes: np.ndarray, limits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Anatomically limited poses (N,15,3) axis-angle: half independent joints, half whole grasps."""
    low, high = limits[..., 0], limits[..., 1]
    share = rng.uniform(0, 1, (count, 15, 3))
    curl = rng.uniform(0, 1, (count, 1))
    whole = rng.uniform(size=count) < 0.5
    finger = np.clip(curl + rng.normal(0, 0.12, (count, 15)), 0, 1)
    share[whole, :, 0] = finger[whole]
    rest_first = rng.beta(2, 2, (count, 15, 2))
    share[..., 1:] = rest_first
    local = low + share * (high - low)
    return np.einsum("nkc,kcd->nkd", local, axes)


def fit_regressor(
    forward: Forward,
    joints: np.ndarray,
    v_template: np.ndarray,
    tip_vertices: np.ndarray,
    samples: list[tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Rows (21,V) by non-negative least squares on chain joints, sums 1; tips are means of vertices."""
    posed = [forward(betas, pose) for betas, pose in samples]
    vertices = np.stack([p[0] for p in posed])
    chain = np.stack([p[1] for p in posed])
    regressor = np.zeros((21, len(v_template)))
    for j in range(21):
        if j and j % 4 == 0:
            tips = tip_vertices[j // 4 - 1]
            regressor[j, tips] = 1.0 / len(tips)
            continue
        distance = np.linalg.norm(v_template - joints[j], axis=1)
        near = np.argsort(distance)[: 300 if j < 3 or j % 4 == 1 else 160]
        offsets = vertices[:, near] - chain[:, j : j + 1]  # (N,C,3)
        system = offsets.transpose(0, 2, 1).reshape(-1, len(near)) * 1000
        heavy = 1e3 * np.ones((1, len(near)))
        ridge = 0.1 * np.eye(len(near)) * np.sqrt(len(samples))
        rows = np.vstack([system, heavy, ridge])
        right = np.r_[np.zeros(len(system)), 1e3, np.zeros(len(near))]
        solution, _ = nnls(rows, right, maxiter=50 * len(near))
        solution[solution < 1e-4] = 0
        regressor[j, near] = solution / solution.sum()
    return regressor


def joint_errors_mm(
    forward: Forward, regressor: np.ndarray, samples: list[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Distances (N,21) between regressed and chain joints, millimetres."""
    errors = []
    for betas, pose in samples:
        vertices, joints = forward(betas, pose)
        errors.append(np.linalg.norm(regressor @ vertices - joints, axis=1) * 1000)
    return np.stack(errors)


def pivots_of(joints: np.ndarray) -> np.ndarray:
    """The 16 skinning pivots in MANO's bone order from 21 joints."""
    return joints[anatomy.BONE_JOINT]
