"""Pinhole and weak-perspective cameras. OpenCV axes; the top-left pixel's centre is (0.5, 0.5)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def project(
    points: Float[Tensor, "*batch N 3"], intrinsics: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*batch N 2"]:
    """Project points (metres, camera frame) with a pinhole camera to pixels."""
    homogeneous = points @ intrinsics.transpose(-1, -2)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def project_weak_perspective(
    points: Float[Tensor, "*batch N 3"],
    scale: Float[Tensor, "*#batch"],
    rotation: Float[Tensor, "*#batch 3 3"],
    translation: Float[Tensor, "*#batch 2"],
) -> Float[Tensor, "*batch N 2"]:
    """Project root-relative points (metres) by `scale * (R p)_xy + translation` (paper, §3.1).

    `scale` is in pixels a metre and `translation` in pixels.
    """
    rotated = points @ rotation.transpose(-1, -2)
    return scale[..., None, None] * rotated[..., :2] + translation[..., None, :]


def fit_weak_perspective(
    points: Float[Tensor, "*batch N 3"],
    pixels: Float[Tensor, "*batch N 2"],
    weights: Float[Tensor, "*batch N"] | None = None,
    min_scale: float = 0.0,
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch 2"]]:
    """Return scale and translation of the weak camera (rotation 1) that projects points best onto pixels.

    Least squares of `scale * p_xy + translation - pixel` (times `weights`, 1 by default), in closed form;
    data sets have no such cameras, so that this is what is called their truth. The scale is at least
    `min_scale`, which hands seen along their length need. Points without extent give that scale.
    """
    weight = pixels.new_ones(pixels.shape[:-1]) if weights is None else weights
    share = (weight / weight.sum(-1, keepdim=True).clamp_min(1e-12))[..., None]
    flat = points[..., :2]
    flat_mean, pixel_mean = (share * flat).sum(-2), (share * pixels).sum(-2)
    a, b = flat - flat_mean[..., None, :], pixels - pixel_mean[..., None, :]
    spread = (share * a.square()).sum((-2, -1)).clamp_min(1e-12)
    scale = ((share * a * b).sum((-2, -1)) / spread).clamp_min(min_scale)
    return scale, pixel_mean - scale[..., None] * flat_mean


def mirror_intrinsics(intrinsics: Float[Tensor, "*batch 3 3"], width: int) -> Float[Tensor, "*batch 3 3"]:
    """Return the camera of the image mirrored left to right (x → width − x)."""
    mirrored = intrinsics.clone()
    mirrored[..., 0, 2] = width - intrinsics[..., 0, 2]
    mirrored[..., 0, 1] = -intrinsics[..., 0, 1]
    return mirrored


def rotation_to_ray(ray: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the smallest rotation R that takes a ray to the optical axis: `R ray = |ray| (0, 0, 1)`.

    `p_view = R p_camera` are "view axes": those of a camera that was turned to look along the ray. A ray
    straight backwards has no smallest rotation and gives infinite or not-a-number entries.
    """
    x, y, z = (ray / torch.linalg.vector_norm(ray, dim=-1, keepdim=True)).unbind(-1)
    # Rodrigues about (ray × z) with its sine and cosine written out.
    share = 1 / (1 + z)
    rows = [1 - x * x * share, -x * y * share, -x, -x * y * share, 1 - y * y * share, -y, x, y, z]
    rotation: Tensor = torch.stack(rows, -1).unflatten(-1, (3, 3))
    return rotation


def view_rotation(
    intrinsics: Float[Tensor, "*batch 3 3"], center_px: Float[Tensor, "*batch 2"]
) -> Float[Tensor, "*batch 3 3"]:
    """Return R_view_camera of a crop about `center_px` (pixels): the ray through it becomes +z.

    `intrinsics` in pixels. Differentiable; lets a network that sees the crop predict in axes that do not
    depend on where the hand is in the picture.
    """
    fx, skew, cx = intrinsics[..., 0, 0], intrinsics[..., 0, 1], intrinsics[..., 0, 2]
    fy, cy = intrinsics[..., 1, 1], intrinsics[..., 1, 2]
    y = (center_px[..., 1] - cy) / fy
    x = (center_px[..., 0] - cx - skew * y) / fx
    return rotation_to_ray(torch.stack([x, y, torch.ones_like(x)], -1))
