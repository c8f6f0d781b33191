"""Rasterising one mesh and interpolating over it, in numpy: the same triangle ids as `amvur.render`.

Words for the buffers are pytorch3d's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64
from numpy.typing import NDArray

NEAR_M, MIN_AREA_PX2 = 1e-3, 1e-12
"""Faces with a nearer corner, and smaller ones, are not drawn."""


@dataclass(frozen=True)
class Raster:
    """What a mesh covers in an image, per pixel: `(H, W)`.

    `pix_to_face` is the id of the nearest face or -1, `bary_coords` are perspective-correct and sum to
    1 (0 where there is no face), `zbuf` is the depth along the optical axis in the vertices' unit (-1
    where there is no face), and `mask` says where there is a face.
    """

    pix_to_face: Int64[NDArray[Any], "H W"]
    bary_coords: Float[NDArray[Any], "H W 3"]
    zbuf: Float[NDArray[Any], "H W"]
    mask: Bool[NDArray[Any], "H W"]


def rasterize(
    vertices: Float[NDArray[Any], "V 3"],
    faces: Int[NDArray[Any], "F 3"],
    intrinsics: Float[NDArray[Any], "3 3"],
    height: int,
    width: int,
    *,
    cull_backfaces: bool = False,
) -> Raster:
    """Find the nearest face at the centre of every pixel.

    `vertices` in metres in the camera's frame (OpenCV axes), `intrinsics` in pixels with the centre of
    the top-left pixel at (0.5, 0.5). Faces with a corner nearer than 1 mm are skipped whole (there is
    no clipping), as are degenerate ones and, with `cull_backfaces`, those seen from inside. Where depths
    agree to float32 the lowest face id wins. Barycentrics and depths are of the vertices' type.
    """
    stack = rasterize_stack(vertices[None], faces, intrinsics[None], height, width, cull_backfaces)
    pix_to_face, bary_coords, zbuf = (values[0] for values in stack)
    return Raster(pix_to_face, bary_coords, zbuf, pix_to_face >= 0)


def rasterize_stack(
    vertices: Float[NDArray[Any], "B V 3"],
    faces: Int[NDArray[Any], "F 3"],
    intrinsics: Float[NDArray[Any], "B 3 3"],
    height: int,
    width: int,
    cull_backfaces: bool,
) -> tuple[Int64[NDArray[Any], "B H W"], Float[NDArray[Any], "B H W 3"], Float[NDArray[Any], "B H W"]]:
    """Return `pix_to_face`, `bary_coords` and `zbuf` of B meshes with the same faces: see `rasterize`."""
    from amvur._raster_numba import draw  # numba takes a second to import

    shape = (len(vertices), height, width)
    pix_to_face = np.full(shape, -1, dtype=np.int64)
    bary_coords = np.zeros((*shape, 3), dtype=vertices.dtype)
    zbuf = np.full(shape, -1, dtype=vertices.dtype)
    nearest = np.full(shape, np.inf, dtype=np.float32)
    # one layout, and writable as the rest, so that the kernel is compiled once
    points, camera = (np.require(x, np.float64, ["C", "W"]) for x in (vertices, intrinsics))
    triangles = np.require(faces, np.int64, ["C", "W"])
    draw(points, triangles, camera, cull_backfaces, nearest, pix_to_face, bary_coords, zbuf)
    return pix_to_face, bary_coords, zbuf


def interpolate(
    raster: Raster, attributes: Float[NDArray[Any], "V C"], faces: Int[NDArray[Any], "F 3"]
) -> Float[NDArray[Any], "H W C"]:
    """Interpolate vertex attributes over the image, 0 where there is no face (paper, §3.4)."""
    from amvur._raster_numba import blend

    image = np.zeros((*raster.pix_to_face.shape, attributes.shape[1]), dtype=attributes.dtype)
    triangles, values = np.require(faces, np.int64, ["C", "W"]), np.require(attributes, None, ["C", "W"])
    blend(raster.pix_to_face, raster.bary_coords, triangles, values, image)
    return image


def visible_vertices(
    raster: Raster, faces: Int[NDArray[Any], "F 3"], num_vertices: int
) -> Bool[NDArray[Any], "num_vertices"]:
    """Mark the corners of every face that shows in some pixel: the occlusion mask of the paper, §3.4."""
    shows = np.zeros(len(faces), dtype=bool)
    shows[raster.pix_to_face[raster.mask]] = True
    visible = np.zeros(num_vertices, dtype=bool)
    visible[faces[shows]] = True
    return visible


def vertex_normals(
    vertices: Float[NDArray[Any], "V 3"], faces: Int[NDArray[Any], "F 3"]
) -> Float[NDArray[Any], "V 3"]:
    """Return unit normals, the area-weighted means of the faces around; outward for our faces.

    A vertex without a face of positive area gets 0.
    """
    face_normals = face_crosses(vertices, faces)
    order = faces.T.ravel()
    total = np.stack(
        [np.bincount(order, np.tile(column, 3), len(vertices)) for column in face_normals.T], axis=1
    )
    length = np.sqrt(np.square(total).sum(1, keepdims=True))
    normals: NDArray[Any] = (total / np.maximum(length, 1e-20)).astype(vertices.dtype)
    return normals


def seen_from_outside(
    vertices: Float[NDArray[Any], "V 3"], faces: Int[NDArray[Any], "F 3"]
) -> Bool[NDArray[Any], "F"]:
    """Mark the faces whose outer side is towards the camera, at the origin."""
    towards: NDArray[Any] = (face_crosses(vertices, faces) * vertices[faces[:, 0]]).sum(1) < 0
    return towards


def face_crosses(
    vertices: Float[NDArray[Any], "V 3"], faces: Int[NDArray[Any], "F 3"]
) -> Float64[NDArray[Any], "F 3"]:
    """Return the faces' normals, as long as twice their areas, in float64: they are near 1e-6 m²."""
    a, b, c = vertices[faces.T]
    (ux, uy, uz), (vx, vy, vz) = ((side - a).astype(np.float64).T for side in (b, c))
    return np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], axis=1)
