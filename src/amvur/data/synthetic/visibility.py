"""Which vertices and joints show, and what hides the others."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from amvur.render import Raster

_NEIGHBORS = tuple((dx, dy) for dy in (0, -1, 1) for dx in (0, -1, 1))
_MARGIN_M = 2e-5
_COVER_M = 1.5e-3

Backend = Literal["auto", "torch", "numba"]
"""What computes: `"auto"` is numba on a CPU and torch elsewhere; both do the same float64 arithmetic."""


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
    *,
    backend: Backend = "auto",
) -> Bool[Tensor, "B count"]:
    """Mark the first `count` vertices whose ray to the camera meets a face they do not belong to.

    The faces that the raster holds in the 3×3 pixels around a vertex are tested exactly, at the
    vertex itself; where all nine lie clearly nearer than the vertex, a face smaller than a pixel may
    have been missed, and the vertex is hidden. A vertex outside the raster counts as free.
    """
    screen = projected(vertices, intrinsics)
    if _compiled(backend, faces):
        from amvur.data.synthetic._visibility_numba import mark_blocked  # numba takes a second to import

        blocked = torch.zeros(len(screen), count, dtype=torch.bool)
        arrays = (raster.pix_to_face.numpy(), raster.zbuf.numpy(), screen.numpy(), faces.numpy())
        mark_blocked(*arrays, _MARGIN_M, _COVER_M, blocked.numpy())
        return blocked
    return _blocked(raster, screen, faces, count)


def _blocked(
    raster: Raster, screen: Float64[Tensor, "B N 3"], faces: Int64[Tensor, "F 3"], count: int
) -> Bool[Tensor, "B count"]:
    """Do the same in plain torch: the reference, for any device."""
    height, width = raster.mask.shape[1:]
    x, y = screen[:, :count, 0].floor().long(), screen[:, :count, 1].floor().long()
    ids = raster.pix_to_face.flatten(1)
    depth, nearest_corner = screen[..., 2], screen[:, faces, 2].amin(-1)
    index = torch.arange(count, device=faces.device)
    nearest, depths = screen[:, :count, 2] - _COVER_M, raster.zbuf.flatten(1)
    covered, found = torch.ones_like(x, dtype=torch.bool), []
    for dx, dy in _NEIGHBORS:
        u, v = x + dx, y + dy
        known = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        pixel = torch.where(known, v * width + u, 0)
        face = torch.where(known, ids.gather(1, pixel), -1)
        covered &= (face >= 0) & (depths.gather(1, pixel) < nearest)
        found.append(face)
    near = torch.stack(found)
    # Only faces with a corner before the vertex can hide it.
    known = near.clamp(min=0)
    closer = nearest_corner.gather(1, known.transpose(0, 1).flatten(1)).view(len(ids), -1, count)
    candidate = (near >= 0) & (closer.transpose(0, 1) < depth[:, :count] - _MARGIN_M)
    number, image, vertex = candidate.nonzero(as_tuple=True)
    corners = faces[near[number, image, vertex]]
    foreign = (corners != index[vertex][:, None]).all(-1)
    image, vertex, corners = image[foreign], vertex[foreign], corners[foreign]
    hit = _in_front(screen[image, vertex], screen[image[:, None], corners])
    covered[image[hit], vertex[hit]] = True
    return covered


def _compiled(backend: Backend, like: Tensor) -> bool:
    return backend == "numba" or (backend == "auto" and like.device.type == "cpu")


def nearby_faces(faces: Int64[Tensor, "F 3"], count: int) -> Int64[Tensor, "count K"]:
    """List the faces within three edges of each of the first `count` vertices, padded with -1."""
    around: list[set[int]] = [set() for _ in range(int(faces.max()) + 1)]
    corners = faces.tolist()
    for number, face in enumerate(corners):
        for vertex in face:
            around[vertex].add(number)
    rows = []
    for vertex in range(count):
        found = set(around[vertex])
        for _ in range(2):
            found = {n for f in found for v in corners[f] for n in around[v]}
        rows.append(sorted(f for f in found if vertex not in corners[f]))
    width = max(map(len, rows))
    return torch.tensor([row + [-1] * (width - len(row)) for row in rows], device=faces.device)


def behind_horizon(
    vertices: Float[Tensor, "B N 3"],
    faces: Int64[Tensor, "F 3"],
    intrinsics: Float[Tensor, "B 3 3"],
    nearby: Int64[Tensor, "V K"],
    wanted: Bool[Tensor, "B V"] | None = None,
    *,
    backend: Backend = "auto",
) -> Bool[Tensor, "B V"]:
    """Mark vertices of a closed surface that the surface right beside them hides; only `wanted` ones count.

    Near an outline what hides a vertex may be far smaller than a pixel, so no raster tells. All faces
    around show their backs: hidden. Some do: the faces of `nearby` are tested exactly.
    """
    a, b, c = vertices.double()[:, faces].unbind(2)
    front = torch.linalg.vecdot(torch.linalg.cross(b - a, c - a), a) < 0
    count = len(nearby)
    screen = projected(vertices, intrinsics)
    if _compiled(backend, faces):
        from amvur.data.synthetic._visibility_numba import mark_behind  # numba takes a second to import

        hidden = torch.zeros(len(vertices), count, dtype=torch.bool)
        chosen = torch.ones_like(hidden) if wanted is None else wanted
        arrays = (front.numpy(), screen.numpy(), faces.numpy(), nearby.numpy(), chosen.numpy())
        mark_behind(*arrays, _MARGIN_M, hidden.numpy())
        return hidden
    seen, unseen = (torch.zeros(vertices.shape[:2], dtype=torch.bool, device=faces.device) for _ in range(2))
    for mark, chosen in ((seen, front), (unseen, ~front)):
        batch, face = chosen.nonzero(as_tuple=True)
        mark[batch[:, None], faces[face]] = True
    hidden = ~seen[:, :count]
    doubtful = (seen & _dilated(unseen, faces))[:, :count]
    image, vertex = (doubtful if wanted is None else doubtful & wanted).nonzero(as_tuple=True)
    nearest_corner = screen[:, faces, 2].amin(-1)
    candidates = nearby[vertex]
    closer = nearest_corner[image[:, None], candidates.clamp(min=0)] < screen[image, vertex, 2:] - _MARGIN_M
    row, column = (closer & (candidates >= 0)).nonzero(as_tuple=True)
    image, vertex, face = image[row], vertex[row], candidates[row, column]
    hit = _in_front(screen[image, vertex], screen[image[:, None], faces[face]])
    hidden[image[hit], vertex[hit]] = True
    return hidden


def _dilated(mark: Bool[Tensor, "B N"], faces: Int64[Tensor, "F 3"]) -> Bool[Tensor, "B N"]:
    """Add the neighbors of marked vertices, twice."""
    for _ in range(2):
        batch, face = mark[:, faces].any(-1).nonzero(as_tuple=True)
        mark = mark.clone()
        mark[batch[:, None], faces[face]] = True
    return mark


def _in_front(point: Float64[Tensor, "N 3"], corner: Float64[Tensor, "N 3 3"]) -> Bool[Tensor, "N"]:
    """Whether the triangle covers the point on screen and lies nearer there."""
    a, b, c = (corner[..., :2] - point[:, None, :2]).unbind(-2)
    u, v, w = _cross(b, c), _cross(c, a), _cross(a, b)
    total = u + v + w
    sign = total.sign()
    inside = (u * sign >= 0) & (v * sign >= 0) & (w * sign >= 0) & (total != 0)
    z = corner[..., 2]
    inverse = (u / z[:, 0] + v / z[:, 1] + w / z[:, 2]) / torch.where(total == 0, 1, total)
    # 1/z is linear on the screen.
    return inside & (1 / inverse.clamp(min=1e-9) < point[..., 2] - _MARGIN_M)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
