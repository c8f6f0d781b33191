"""Similarity alignment of point sets, as the official evaluations do it and with proper rotations only."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def align_similarity(
    source: Float[Tensor, "*batch N 3"],
    target: Float[Tensor, "*batch N 3"],
    *,
    allow_reflection: bool = False,
) -> Float[Tensor, "*batch N 3"]:
    """Move `source` onto `target` by the scale, rotation and translation of least squared distance.

    `allow_reflection=False` is Umeyama's proper rotation (1991); `True` lets the orthogonal matrix mirror
    the points, as the official evaluations do: see `official_align` for these to the last digit.
    """
    source_mean, target_mean = source.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    a, b = source - source_mean, target - target_mean
    turn, stretch = _orthogonal(a.transpose(-1, -2) @ b, allow_reflection)
    scale = stretch / a.square().sum((-1, -2)).clamp_min(torch.finfo(a.dtype).tiny)
    aligned: Tensor = scale[..., None, None] * (a @ turn) + target_mean
    return aligned


def rotation_between(
    source: Float[Tensor, "*batch N 3"], target: Float[Tensor, "*batch N 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """Return the proper rotation R that best turns centred `source` into centred `target` (Kabsch 1976)."""
    a = source - source.mean(-2, keepdim=True)
    b = target - target.mean(-2, keepdim=True)
    return _orthogonal(b.transpose(-1, -2) @ a)[0]


def official_align(
    source: Float[Tensor, "*batch N 3"], target: Float[Tensor, "*batch N 3"]
) -> Float[Tensor, "*batch N 3"]:
    """Move `source` onto `target` exactly as the official evaluations of FreiHAND and HO3D do.

    Least squares over orthogonal matrices (a mirrored hand aligns perfectly) between the centred points,
    each divided by its Frobenius norm plus 1e-8; the scale is the sum of singular values. That addition,
    meant for metres, keeps the error of a perfect prediction above 0.
    """
    source_mean, target_mean = source.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    a, b = source - source_mean, target - target_mean
    a_norm, b_norm = (torch.linalg.matrix_norm(x, keepdim=True) + 1e-8 for x in (a, b))
    a, b = a / a_norm, b / b_norm
    turn, stretch = _orthogonal(a.transpose(-1, -2) @ b, allow_reflection=True)
    aligned: Tensor = stretch[..., None, None] * (a @ turn) * b_norm + target_mean
    return aligned


def _orthogonal(
    covariance: Float[Tensor, "*batch 3 3"], allow_reflection: bool = False
) -> tuple[Float[Tensor, "*batch 3 3"], Float[Tensor, "*batch"]]:
    """Return the orthogonal matrix of largest trace against `covariance`, and that trace (Schönemann 1966).

    Without reflections the direction of the smallest singular value is turned where needed (Kabsch).
    """
    u, s, vt = torch.linalg.svd(covariance)
    if not allow_reflection:
        sign = torch.linalg.det(u @ vt).sign()
        flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], -1)
        u, s = u * flip[..., None, :], s * flip
    return u @ vt, s.sum(-1)
