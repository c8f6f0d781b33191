"""The vertices' visibility for CPUs, compiled by numba on first use and cached on disk.

The same float64 arithmetic, in the same order, as the torch functions in `visibility`; a test compares
the marks. Importing this module imports numba.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from numpy.typing import NDArray

from amvur.compiled import compiled

# `no_type_check` also keeps the tests' shape checker from wrapping what numba compiles.
_compile = compiled(error_model="numpy")


@_compile
@no_type_check
def _covers(point: NDArray[Any], a: NDArray[Any], b: NDArray[Any], c: NDArray[Any], margin: float) -> bool:
    """Whether the triangle a, b, c covers the point (all x px, y px, z m) and lies nearer there."""
    ax, ay = a[0] - point[0], a[1] - point[1]
    bx, by = b[0] - point[0], b[1] - point[1]
    cx, cy = c[0] - point[0], c[1] - point[1]
    u, v, w = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
    total = u + v + w
    if total > 0.0:
        if not (u >= 0.0 and v >= 0.0 and w >= 0.0):
            return False
    elif total < 0.0:
        if not (u <= 0.0 and v <= 0.0 and w <= 0.0):
            return False
    else:
        return False
    inverse = (u / a[2] + v / b[2] + w / c[2]) / total
    if inverse < 1e-9:
        inverse = 1e-9
    return bool(1.0 / inverse < point[2] - margin)


@_compile
@no_type_check
def _hides(
    screen: Float64[NDArray[Any], "N 3"],
    faces: Int64[NDArray[Any], "F 3"],
    face: int,
    vertex: int,
    margin: float,
) -> bool:
    """Whether a face hides a vertex that is no corner of it; a face without a corner before it cannot."""
    i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
    if vertex in (i, j, k):
        return False
    point, a, b, c = screen[vertex], screen[i], screen[j], screen[k]
    return bool(min(a[2], b[2], c[2]) < point[2] - margin and _covers(point, a, b, c, margin))


@_compile
@no_type_check
def mark_blocked(
    pix_to_face: Int64[NDArray[Any], "B H W"],
    zbuf: Float[NDArray[Any], "B H W"],
    screen: Float64[NDArray[Any], "B N 3"],
    faces: Int64[NDArray[Any], "F 3"],
    margin: float,
    cover: float,
    blocked: Bool[NDArray[Any], "B V"],
) -> None:
    """Set `blocked` as `visibility.blocked_vertices` does; `screen` are its projected vertices."""
    height, width = pix_to_face.shape[1], pix_to_face.shape[2]
    for b in range(blocked.shape[0]):
        for vertex in range(blocked.shape[1]):
            x, y = np.floor(screen[b, vertex, 0]), np.floor(screen[b, vertex, 1])
            if not (x > -2.0 and x <= width and y > -2.0 and y <= height):
                continue
            left, top = max(int(x) - 1, 0), max(int(y) - 1, 0)
            right, bottom = min(int(x) + 2, width), min(int(y) + 2, height)
            nearer, hit = 0, False
            for v in range(top, bottom):
                for u in range(left, right):
                    face = pix_to_face[b, v, u]
                    if face >= 0:
                        nearer += zbuf[b, v, u] < screen[b, vertex, 2] - cover
                        hit = hit or _hides(screen[b], faces, face, vertex, margin)
            blocked[b, vertex] = hit or nearer == 9


@_compile
@no_type_check
def _spread(mark: Bool[NDArray[Any], "N"], faces: Int64[NDArray[Any], "F 3"]) -> Bool[NDArray[Any], "N"]:
    """Add the neighbors of marked vertices."""
    grown = mark.copy()
    for f in range(faces.shape[0]):
        if mark[faces[f, 0]] or mark[faces[f, 1]] or mark[faces[f, 2]]:
            for corner in faces[f]:
                grown[corner] = True
    return grown


@_compile
@no_type_check
def mark_behind(
    front: Bool[NDArray[Any], "B F"],
    screen: Float64[NDArray[Any], "B N 3"],
    faces: Int64[NDArray[Any], "F 3"],
    nearby: Int64[NDArray[Any], "V K"],
    wanted: Bool[NDArray[Any], "B V"],
    margin: float,
    hidden: Bool[NDArray[Any], "B V"],
) -> None:
    """Set `hidden` as `visibility.behind_horizon` does; `front` are the faces turned to the camera."""
    for b in range(hidden.shape[0]):
        seen, unseen = np.zeros(screen.shape[1], np.bool_), np.zeros(screen.shape[1], np.bool_)
        for f in range(faces.shape[0]):
            mark = seen if front[b, f] else unseen
            for corner in faces[f]:
                mark[corner] = True
        doubtful = _spread(_spread(unseen, faces), faces)
        for vertex in range(hidden.shape[1]):
            hidden[b, vertex] = not seen[vertex]
            if not (seen[vertex] and doubtful[vertex] and wanted[b, vertex]):
                continue
            for face in nearby[vertex]:
                if face >= 0 and _hides(screen[b], faces, face, vertex, margin):
                    hidden[b, vertex] = True
                    break
