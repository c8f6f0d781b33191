"""Which vertices and joints show, and what hides the others."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from amvur.render import Raster

_NEIGHBORS = tuple((dx, dy) for dy in (0, -1, 1) for dx in (0, -1, 1))
_MARGIN_M = 2e-5


def projected(points: Float[Tensor, "B N 3"], intrinsics: Float[Tensor, "B 3 3"]) -> Float64[Tensor, "B N 3"]:
    """Project points (m, camera frame) to (x px, y px, z m), in float64."""
    k, p = intrinsics.double(), points.double()
    flat = (p @ k.mT)[..., :2] / p[..., 2:]
    return torch.cat([flat, p[..., 2:]], -1)


def blocked_vertices(
    raster: Raster,
    vertices: Float[Tensor, "B N 3"],
    faces: Int64[Tensor, "F 3"],
    intrinsics: Float[Tensor, "B 3 3"],
    count: int,
) -> Bool[Tensor, "B count"]:
    """Mark the first `count` vertices whose ray to the camera meets a face they do not belong to.

    The faces that the raster holds in the 3×3 pixels around a vertex are tested exactly, at the
    vertex itself. A vertex outside the raster counts as free.
    """
    height, width = raster.mask.shape[1:]
    screen = projected(vertices, intrinsics)
    x, y = screen[:, :count, 0].floor().long(), screen[:, :count, 1].floor().long()
    ids = raster.pix_to_face.flatten(1)
    index = torch.arange(count, device=faces.device)
    batch = torch.arange(len(ids), device=faces.device)[:, None]
    blocked = torch.zeros_like(x, dtype=torch.bool)
    for dx, dy in _NEIGHBORS:
        u, v = x + dx, y + dy
        known = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        face = torch.where(known, ids.gather(1, torch.where(known, v * width + u, 0)), -1)
        corners = faces[face.clamp(min=0)]
        foreign = (face >= 0) & (corners != index[None, :, None]).all(-1)
        blocked |= foreign & _in_front(screen[:, :count], screen[batch[..., None], corners])
    return blocked


def _in_front(point: Float64[Tensor, "B N 3"], corner: Float64[Tensor, "B N 3 3"]) -> Bool[Tensor, "B N"]:
    """Whether the triangle covers the point on screen and lies nearer there."""
    d = corner[..., :2] - point[:, :, None, :2]
    a, b, c = d.unbind(-2)
    edges = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], -1)
    total = edges.sum(-1)
    inside = (edges * total.sign()[..., None] >= 0).all(-1) & (total != 0)
    inverse = (edges / corner[..., 2]).sum(-1) / torch.where(total == 0, 1, total)
    # 1/z is linear on the screen.
    return inside & (1 / inverse.clamp(min=1e-9) < point[..., 2] - _MARGIN_M)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
