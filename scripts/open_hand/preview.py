"""Small shaded z-buffer renderer (numba) to look at hands while the asset is built."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True)
def _raster(xyz, faces, normals, size):  # type: ignore[no-untyped-def]
    depth = np.full((size, size), 1e9)
    shade = np.full((size, size, 3), 2.0)
    for f in range(faces.shape[0]):
        a, b, c = xyz[faces[f, 0]], xyz[faces[f, 1]], xyz[faces[f, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-12:
            continue
        x0 = max(int(min(a[0], b[0], c[0])), 0)
        x1 = min(int(max(a[0], b[0], c[0])) + 1, size - 1)
        y0 = max(int(min(a[1], b[1], c[1])), 0)
        y1 = min(int(max(a[1], b[1], c[1])) + 1, size - 1)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                px, py = x + 0.5, y + 0.5
                w0 = ((b[0] - px) * (c[1] - py) - (b[1] - py) * (c[0] - px)) / area
                w1 = ((c[0] - px) * (a[1] - py) - (c[1] - py) * (a[0] - px)) / area
                w2 = 1.0 - w0 - w1
                if w0 < 0 or w1 < 0 or w2 < 0:
                    continue
                z = w0 * a[2] + w1 * b[2] + w2 * c[2]
                if z < depth[y, x]:
                    depth[y, x] = z
                    n = w0 * normals[faces[f, 0]] + w1 * normals[faces[f, 1]] + w2 * normals[faces[f, 2]]
                    shade[y, x] = n
    return depth, shade


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit vertex normals (V,3)."""
    tri = vertices[faces]
    face_normals = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], face_normals)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def render(
    vertices: np.ndarray,
    faces: np.ndarray,
    view: np.ndarray,
    size: int = 360,
    span: float = 0.24,
    points: np.ndarray | None = None,
    center: np.ndarray | None = None,
) -> np.ndarray:
    """Orthographic picture (size,size,3) uint8; rows of `view` are image right, down and forward.

    `span` metres fit the picture; `points` (P,3) are drawn as dots over the surface. Back-facing
    surface (inside-out geometry, or seen through the open wrist) is drawn red.
    """
    center = 0.5 * (vertices.min(0) + vertices.max(0)) if center is None else center
    scale = size / span
    xyz = (vertices - center) @ view.T * scale + np.array([size / 2, size / 2, 0.0])
    normals = vertex_normals(vertices, faces) @ view.T
    depth, shade = _raster(
        np.ascontiguousarray(xyz),
        np.ascontiguousarray(faces.astype(np.int64)),
        np.ascontiguousarray(normals),
        size,
    )
    light = np.array([-0.45, -0.55, -0.70])
    light /= np.linalg.norm(light)
    image = np.full((size, size, 3), 255.0)
    hit = depth < 1e8
    n = shade[hit] / np.maximum(np.linalg.norm(shade[hit], axis=-1, keepdims=True), 1e-9)
    lit = 0.35 + 0.65 * np.clip(n @ light, 0, 1) ** 0.9
    color = lit[:, None] * np.array([236.0, 196.0, 170.0])
    color[n[:, 2] > 0.25] = np.array([200.0, 40.0, 40.0])
    image[hit] = color
    if points is not None:
        dots = (points - center) @ view.T * scale + size / 2
        yy, xx = np.mgrid[:size, :size] + 0.5
        for i, dot in enumerate(dots):
            radius = (xx - dot[0]) ** 2 + (yy - dot[1]) ** 2
            image[radius < 9] = [[20, 60, 220], [0, 140, 0]][i % 2]
    return np.clip(image, 0, 255).astype(np.uint8)
