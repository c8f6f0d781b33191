"""Ten shape coefficients of unit variance: size, principal components of the rest, single proportions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .proportions import proportion_directions

#: So many betas are MakeHuman's: size and principal components; the others are proportions that it lacks.
SCULPTED = 5
#: Standard deviation of hand size among adults (ANSUR: about 5 % within a sex).
SIZE_SPREAD = 0.05


@dataclass(frozen=True)
class ShapeSpace:
    """Mean and shape directions of vertices and joints, exactly linear in the same betas."""

    v_template: np.ndarray  # (V,3)
    shapedirs: np.ndarray  # (V,3,10)
    joint_template: np.ndarray  # (21,3)
    joint_shapedirs: np.ndarray  # (21,3,10)
    explained: float  # share of the samples' variance in the sculpted ones
    names: list[str]


def _measures(vertices: np.ndarray, joints: np.ndarray) -> dict[str, np.ndarray]:
    """What a shape component may be named after; each (N,), larger is more of the name."""
    chain = joints[:, 1:].reshape(len(joints), 5, 4, 3)
    fingers = np.linalg.norm(np.diff(chain, axis=2), axis=-1)[:, 1:].sum((1, 2))
    palm = np.linalg.norm(joints[:, 9], axis=-1)
    spread = np.linalg.norm(joints[:, 7] - joints[:, 19], axis=-1)
    mean_pip = vertices.mean(0) - joints[:, 10].mean(0)
    ring = np.linalg.norm(mean_pip, axis=-1) < 0.011
    thick = np.linalg.norm(vertices[:, ring] - joints[:, None, 10], axis=-1).mean(1)
    wrist = np.abs(vertices.mean(0)[:, 0]) < 0.006
    thumb = joints[:, 4] - joints[:, 1]
    return {
        "finger length against palm": fingers / palm,
        "finger spread": spread,
        "finger thickness": thick,
        "wrist breadth": np.ptp(vertices[:, wrist, 2], axis=1),
        "palm breadth": joints[:, 5, 2] - joints[:, 17, 2],
        "hand thickness": np.ptp(vertices[:, np.abs(vertices.mean(0)[:, 0] + 0.06) < 0.01, 1], axis=1),
        "thumb abduction": thumb[:, 2] / np.linalg.norm(thumb, axis=-1),
        "finger curl": -(joints[:, 12, 1] - joints[:, 9, 1]),
    }


def _name_components(betas: np.ndarray, measures: dict[str, np.ndarray]) -> tuple[list[str], np.ndarray]:
    """Names and signs: the measure a component correlates with most, if clearly and not yet used."""
    names, signs = ["size"], np.ones(betas.shape[1])
    for k in range(1, betas.shape[1]):
        r = {name: np.corrcoef(betas[:, k], m)[0, 1] for name, m in measures.items() if name not in names}
        best = max(r, key=lambda name: abs(r[name]))
        names.append(best if abs(r[best]) > 0.5 else f"shape {k}")
        signs[k] = np.sign(r[best])
    return names, signs


def fit_shape_space(
    vertices: np.ndarray, joints: np.ndarray, size: np.ndarray, member: np.ndarray
) -> ShapeSpace:
    """Fit to N hands whose wrists are at the origin; `size` (N,) is standardised hand size.

    The first direction is the regression of shape on size (so it holds what size brings along), the next
    four are principal components of what size leaves, fitted to vertices and joints together; the last five
    are `proportion_directions` of the mean hand, which MakeHuman's hands do not vary by themselves.
    """
    count, v = len(vertices), vertices.shape[1]
    flat = np.concatenate([vertices, joints], axis=1).reshape(count, -1)
    mean = flat.mean(0)
    centered = flat - mean
    first = size @ centered / (size @ size)
    residual = centered - np.outer(size, first)
    kept = SCULPTED - 1
    u, s, vt = np.linalg.svd(residual, full_matrices=False)
    betas = np.c_[size, u[:, :kept] * np.sqrt(count)]
    names, signs = _name_components(betas, _measures(vertices, joints))
    directions = np.vstack([first, vt[:kept] * s[:kept, None] / np.sqrt(count)]) * signs[:, None]
    explained = 1 - (s[kept:] ** 2).sum() / (centered**2).sum()
    template = mean.reshape(-1, 3)
    own = proportion_directions(template[:v], template[v:], member)
    dirs = np.stack([*directions.reshape(SCULPTED, -1, 3), *map(np.concatenate, own.values())], axis=-1)
    return ShapeSpace(template[:v], dirs[:v], template[v:], dirs[v:], float(explained), [*names, *own])
