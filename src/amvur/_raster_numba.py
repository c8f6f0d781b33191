"""The rasteriser's inner loops for CPUs, compiled by numba on first use and cached on disk.

Importing this module imports numba: `amvur.raster` does so only when it draws. The kernel is the same
arithmetic, in the same order, as `_raster_torch`'s; a test compares the ids. It runs on one thread without
the interpreter's lock: numba's own threads abort the process when two Python threads enter a parallel kernel
at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64
from numpy.typing import NDArray

from amvur.compiled import compiled
from amvur.raster import MIN_AREA_PX2, NEAR_M


def _project(
    vertices: Float64[NDArray[Any], "V 3"], k: Float64[NDArray[Any], "3 3"]
) -> Float64[NDArray[Any], "V 3"]:
    """Return (x px, y px, 1/z), one rounded operation at a time."""
    corners = np.empty_like(vertices)
    for i in range(len(vertices)):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        corners[i, 0] = (k[0, 0] * x + k[0, 1] * y) / z + k[0, 2]
        corners[i, 1] = (k[1, 0] * x + k[1, 1] * y) / z + k[1, 2]
        corners[i, 2] = 1.0 / z
    return corners


def _draw_face(
    f: int,
    a: Float64[NDArray[Any], "3"],
    b: Float64[NDArray[Any], "3"],
    c: Float64[NDArray[Any], "3"],
    cull_backfaces: bool,
    nearest: Float32[NDArray[Any], "H W"],
    pix_to_face: Int64[NDArray[Any], "H W"],
    bary_coords: Float[NDArray[Any], "H W 3"],
    zbuf: Float[NDArray[Any], "H W"],
) -> None:
    """Draw face `f` with projected corners `a`, `b`, `c` into the last four arrays."""
    au, av, aw, bu, bv, bw, cu, cv, cw = a[0], a[1], a[2], b[0], b[1], b[2], c[0], c[1], c[2]
    area = (bu - au) * (cv - av) - (bv - av) * (cu - au)
    # y points down, so a face whose corners run counter-clockwise seen from outside has area < 0;
    # not-a-number fails every comparison
    if not (abs(area) > MIN_AREA_PX2 and abs(area) < np.inf) or (cull_backfaces and area > 0.0):
        return
    most = 1.0 / NEAR_M
    if not (0.0 < aw < most and 0.0 < bw < most and 0.0 < cw < most):
        return
    s = 1.0 if area > 0.0 else -1.0
    height, width = nearest.shape
    x0, x1 = np.ceil(min(au, bu, cu) - 0.5), np.floor(max(au, bu, cu) - 0.5) + 1.0
    y0, y1 = np.ceil(min(av, bv, cv) - 0.5), np.floor(max(av, bv, cv) - 0.5) + 1.0
    x0, x1, y0, y1 = max(x0, 0.0), min(x1, float(width)), max(y0, 0.0), min(y1, float(height))
    if not (x0 < x1 and y0 < y1):
        return
    for y in range(int(y0), int(y1)):
        py = y + 0.5
        ay, by, cy = av - py, bv - py, cv - py
        for x in range(int(x0), int(x1)):
            px = x + 0.5
            ax, bx, cx = au - px, bu - px, cu - px
            ea = s * (bx * cy - by * cx)
            eb = s * (cx * ay - cy * ax)
            ec = s * (ax * by - ay * bx)
            if ea < 0.0 or eb < 0.0 or ec < 0.0:
                continue
            total = ea + eb + ec
            if not total > 0.0:
                continue
            wa, wb, wc = ea * aw, eb * bw, ec * cw
            inverse = 1.0 / (wa + wb + wc)
            z = total * inverse
            if np.float32(z) < nearest[y, x]:
                nearest[y, x] = np.float32(z)
                pix_to_face[y, x] = f
                bary_coords[y, x, 0] = wa * inverse
                bary_coords[y, x, 1] = wb * inverse
                bary_coords[y, x, 2] = wc * inverse
                zbuf[y, x] = z


project: Callable[..., Any] = compiled(_project, error_model="numpy")
draw_face: Callable[..., None] = compiled(_draw_face, error_model="numpy")


def _draw(
    vertices: Float64[NDArray[Any], "B V 3"],
    faces: Int64[NDArray[Any], "F 3"],
    intrinsics: Float64[NDArray[Any], "B 3 3"],
    cull_backfaces: bool,
    nearest: Float32[NDArray[Any], "B H W"],
    pix_to_face: Int64[NDArray[Any], "B H W"],
    bary_coords: Float[NDArray[Any], "B H W 3"],
    zbuf: Float[NDArray[Any], "B H W"],
) -> None:
    """Draw every face, in order, into the last four arrays.

    `nearest` starts at infinity. Depths are compared as float32, so that two faces which meet in an edge tie
    there instead of being told apart by a rounding error; the first face drawn then stays.
    """
    for i in range(len(vertices)):
        corners = project(vertices[i], intrinsics[i])
        depths, ids, weights, z = nearest[i], pix_to_face[i], bary_coords[i], zbuf[i]
        for f in range(len(faces)):
            a, b, c = corners[faces[f, 0]], corners[faces[f, 1]], corners[faces[f, 2]]
            draw_face(f, a, b, c, cull_backfaces, depths, ids, weights, z)


def _blend(
    pix_to_face: Int64[NDArray[Any], "H W"],
    bary_coords: Float[NDArray[Any], "H W 3"],
    faces: Int64[NDArray[Any], "F 3"],
    attributes: Float[NDArray[Any], "V C"],
    image: Float[NDArray[Any], "H W C"],
) -> None:
    """Add the interpolated attributes of the vertices to an image of zeros, where there is a face."""
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            f = pix_to_face[y, x]
            if f < 0:
                continue
            for corner in range(3):
                weight, vertex = bary_coords[y, x, corner], faces[f, corner]
                for c in range(image.shape[2]):
                    image[y, x, c] += weight * attributes[vertex, c]


draw: Callable[..., None] = compiled(_draw, error_model="numpy")
blend: Callable[..., None] = compiled(_blend)
