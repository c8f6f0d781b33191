"""Alignment of point sets by proper similarities (Umeyama 1991), batched, with weights."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64


def align_similarity(
    source: Float[np.ndarray, "*batch N 3"],
    target: Float[np.ndarray, "*batch N 3"],
    weight: Float[np.ndarray, "*batch N 1"] | None = None,
) -> Float[np.ndarray, "*batch N 3"]:
    """Move `source` onto `target` by the scale, rotation and translation of least squared distance.

    `weight` counts the squares; weights may all be zero: the result is then finite and means nothing.
    """
    if weight is None:
        return _align_equally(source, target)
    weights = weight
    total = np.maximum(weights.sum(-2, keepdims=True), 1e-12)
    source_mean = (weights * source).sum(-2, keepdims=True) / total
    target_mean = (weights * target).sum(-2, keepdims=True) / total
    a, b = source - source_mean, target - target_mean
    turn, stretch = _rotation((weights * a).swapaxes(-1, -2) @ b)
    scale = stretch / np.maximum((weights * a**2).sum((-1, -2)), 1e-12)
    aligned: np.ndarray = scale[..., None, None] * (a @ turn) + target_mean
    return aligned


def _align_equally(
    source: Float[np.ndarray, "*batch N 3"], target: Float[np.ndarray, "*batch N 3"]
) -> Float[np.ndarray, "*batch N 3"]:
    """Align with weights 1: sums by matrix products, which numpy does faster than over a first axis."""
    share = np.full((1, source.shape[-2]), 1 / source.shape[-2], source.dtype)
    target_mean = share @ target
    a, b = source - share @ source, target - target_mean
    across = a.swapaxes(-1, -2)
    turn, stretch = _rotation(across @ b)
    scale = stretch / np.maximum(np.einsum("...pk,...pk->...", a, a), 1e-12)
    aligned: np.ndarray = a @ (scale[..., None, None] * turn) + target_mean
    return aligned


def rotation_between(
    source: Float[np.ndarray, "*batch N 3"], target: Float[np.ndarray, "*batch N 3"]
) -> Float64[np.ndarray, "*batch 3 3"]:
    """Return the proper rotation R that best turns centred `source` into centred `target` (Kabsch 1976)."""
    a = source - source.mean(-2, keepdims=True)
    b = target - target.mean(-2, keepdims=True)
    return _rotation(b.swapaxes(-1, -2) @ a)[0]


def _rotation(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rotation of largest trace against a covariance, and that trace."""
    u, s, vt = np.linalg.svd(covariance)
    flip = np.ones(s.shape)
    flip[..., 2] = np.sign(np.linalg.det(u @ vt))
    return (u * flip[..., None, :]) @ vt, np.asarray((s * flip).sum(-1))
