"""The rasteriser in plain torch: the reference, for any device.

Everything that decides which face a pixel shows is computed in float64, one rounded operation at a
time and in the same order as in `_raster_numba`, so that all devices and both backends agree exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from amvur.raster import MIN_AREA_PX2, NEAR_M

_CHUNK = 1 << 18
_DEVICE_CHUNK = 1 << 22
"""Candidates taken at a time (about 250 bytes each): few for a CPU's caches, many for a device."""
_NO_FACE = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Triangles:
    """Projected faces. A corner is (x px, y px, 1/z); bounds are x0, y0, x1, y1 in whole pixels, the ends
    exclusive; the sign makes a face's edge functions positive inside and is 0 for a face not to draw."""

    corners: Float64[Tensor, "B F 3 3"]
    bounds: Int64[Tensor, "B F 4"]
    sign: Float64[Tensor, "B F"]


def project_corners(
    vertices: Float[Tensor, "B V 3"], intrinsics: Float[Tensor, "B 3 3"]
) -> Float64[Tensor, "B V 3"]:
    """Return (x px, y px, 1/z) in float64; one operation at a time, so that every device rounds alike."""
    x, y, z = vertices.double().unbind(-1)
    k = intrinsics.double()[:, :2, :, None]
    u = k[:, 0, 0] * x + k[:, 0, 1] * y
    v = k[:, 1, 0] * x + k[:, 1, 1] * y
    return torch.stack([u / z + k[:, 0, 2], v / z + k[:, 1, 2], 1 / z], -1)


def screen_triangles(
    vertices: Float[Tensor, "B V 3"],
    faces: Int64[Tensor, "F 3"],
    intrinsics: Float[Tensor, "B 3 3"],
    height: int,
    width: int,
    cull_backfaces: bool,
) -> Triangles:
    """Project the faces, bound them in pixels and decide which to draw."""
    # 1/z, not z, decides what lies behind, so that one gather serves for all; NaN fails every comparison.
    projected = project_corners(vertices, intrinsics)
    corners = projected.index_select(1, faces.flatten()).unflatten(1, (-1, 3))
    inverse_depth = corners[..., 2]
    x, y = corners[..., 0], corners[..., 1]
    area = (x[..., 1] - x[..., 0]) * (y[..., 2] - y[..., 0]) - (y[..., 1] - y[..., 0]) * (
        x[..., 2] - x[..., 0]
    )
    # y points down, so a face whose corners run counter-clockwise seen from outside has area < 0.
    drawn = (area.abs() > MIN_AREA_PX2) & area.isfinite()
    drawn &= ((inverse_depth > 0) & (inverse_depth < 1 / NEAR_M)).all(-1)
    if cull_backfaces:
        drawn &= area < 0
    size = corners.new_tensor([width, height])
    a, b, c = corners[..., :2].unbind(-2)
    start = (torch.minimum(torch.minimum(a, b), c) - 0.5).ceil().clamp_min(0)
    stop = torch.minimum((torch.maximum(torch.maximum(a, b), c) - 0.5).floor() + 1, size)
    drawn &= (start < stop).all(-1)
    bounds = torch.cat([start, stop], -1)
    bounds = torch.where(drawn[..., None], bounds, 0).long()
    return Triangles(corners, bounds, torch.where(drawn, area.sign(), 0))


def nearest_faces(triangles: Triangles, height: int, width: int) -> Int64[Tensor, "B H W"]:
    """Find the nearest face of every pixel in plain torch: the reference, for any device.

    Every pixel of a face's bounding box is a candidate, numbered through all faces; a scatter-minimum
    over (float32 depth, face id) packed into one integer picks the winner. Candidates are taken a fixed
    number at a time, which bounds the memory whatever the faces' sizes.
    """
    image, face = triangles.sign.nonzero(as_tuple=True)
    corners, sign = triangles.corners[image, face], triangles.sign[image, face]
    x0, y0, x1, y1 = triangles.bounds[image, face].unbind(-1)
    columns = x1 - x0
    end = (columns * (y1 - y0)).cumsum(0)
    begin = end - columns * (y1 - y0)
    best = face.new_full((len(triangles.sign) * height * width,), _NO_FACE)
    count = int(end[-1]) if len(end) else 0
    chunk = _CHUNK if face.device.type == "cpu" else _DEVICE_CHUNK
    for first in range(0, count, chunk):
        candidate = torch.arange(first, min(first + chunk, count), device=face.device)
        owner = torch.searchsorted(end, candidate, right=True)
        local, stride = candidate - begin[owner], columns[owner]
        row = torch.div(local, stride, rounding_mode="floor")
        x, y = x0[owner] + (local - row * stride), y0[owner] + row
        edges, inverse_depth = edge_functions(corners[owner], x, y)
        edges = edges * sign[owner, None]
        total = edges[:, 0] + edges[:, 1] + edges[:, 2]
        inside = (edges >= 0).all(-1) & (total > 0)
        weights = edges * inverse_depth
        z = total * (1 / (weights[:, 0] + weights[:, 1] + weights[:, 2]))
        # Positive floats order like their bits read as integers.
        key = (z.float().view(torch.int32).long() << 32) | face[owner]
        pixel = (image[owner] * height + y) * width + x
        best.scatter_reduce_(0, pixel[inside], key[inside], "amin")
    ids = torch.where(best == _NO_FACE, -1, best & 0xFFFFFFFF)
    return ids.view(-1, height, width)


def edge_functions(
    corners: Float64[Tensor, "N 3 3"], x: Int64[Tensor, "N"], y: Int64[Tensor, "N"]
) -> tuple[Float64[Tensor, "N 3"], Float64[Tensor, "N 3"]]:
    """Return twice the signed areas opposite to each corner, seen from pixel (x, y), and the corners' 1/z.

    Relative to the pixel, an edge's function only changes sign, exactly, when the edge is walked the
    other way: neighbours leave no crack between them.
    """
    dx = corners[..., 0] - (x.double() + 0.5)[:, None]
    dy = corners[..., 1] - (y.double() + 0.5)[:, None]
    following, last = [1, 2, 0], [2, 0, 1]
    return dx[:, following] * dy[:, last] - dy[:, following] * dx[:, last], corners[..., 2]
