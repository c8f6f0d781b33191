"""One hand in a photograph: a crop about its mesh, and the mesh rasterised in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int64, UInt8
from numpy.typing import NDArray

from amvur.crop import CropTransform
from amvur.detect.networks import LANDMARKS_PX
from amvur.raster import Raster, rasterize, seen_from_outside, visible_vertices
from amvur.structures import RgbImage

Map = Float32[NDArray[Any], "_ _ _"]
CROP_SCALE = 1.15
"""Side of the crop in units of the longer side of the mesh's box."""


@dataclass(frozen=True)
class HandView:
    """One hand in an upright crop about it.

    `picture` is sRGB, `vertices` are metres in the camera's frame, `pixels` the vertices' places in the crop
    (its pixels), `raster` the mesh without the inside that shows through an open wrist, `visible` the corners
    of the faces that it shows, inside the photograph; `maps` (C,h,w) are what a frozen network says of the
    picture, where it was asked.
    """

    crop: CropTransform
    picture: UInt8[NDArray[Any], "S S 3"]
    vertices: Float32[NDArray[Any], "V 3"]
    faces: Int64[NDArray[Any], "F 3"]
    intrinsics: Float32[NDArray[Any], "3 3"]
    pixels: Float32[NDArray[Any], "V 2"]
    raster: Raster
    visible: Bool[NDArray[Any], "V"]
    maps: tuple[Map, ...] | None = None

    @property
    def pixel_px(self) -> float:
        """Return the side of a pixel of the crop in pixels of the photograph."""
        return self.crop.side_px / self.crop.size_px


def look_at_hand(
    image: RgbImage,
    vertices: Float[NDArray[Any], "V 3"],
    faces: Int[NDArray[Any], "F 3"],
    intrinsics: Float[NDArray[Any], "3 3"],
    size_px: int = LANDMARKS_PX,
    before: HandView | None = None,
) -> HandView | None:
    """Cut a hand out of a photograph and rasterise it; None where it is behind the camera or outside.

    `vertices` in metres in the camera's frame (OpenCV axes), `faces` counter-clockwise seen from outside,
    `intrinsics` in pixels of `image`; the crop has `size_px` a side. The crop of an earlier view `before` of
    the same hand is kept, with all that depends on nothing else: fits move hands by less than its margin.
    """
    points = np.asarray(vertices, dtype=np.float64)
    if not (points[:, 2] > 1e-3).all():
        return None
    places = (points @ np.asarray(intrinsics, np.float64).T)[:, :2] / points[:, 2:]
    inside = ((places >= 0) & (places < image.shape[1::-1])).all(1)
    if not inside.any():
        return None
    if before is not None:
        crop, picture, maps = before.crop, before.picture, before.maps
    else:
        low, high = places.min(0), places.max(0)
        x, y = (low + high) / 2
        side = CROP_SCALE * max(float((high - low).max()), 1.0)
        crop = CropTransform(float(x), float(y), side, size_px)
        if not crop.touches(image.shape):
            return None
        picture, maps = crop.warp(image), None
    mesh, camera = points.astype(np.float32), crop.crop_intrinsics(intrinsics).astype(np.float32)
    triangles = np.ascontiguousarray(faces, dtype=np.int64)
    raster = skin_raster(mesh, triangles, camera, crop.size_px)
    visible = visible_vertices(raster, triangles, len(points)) & inside
    homogeneous = mesh @ camera.T
    pixels = homogeneous[:, :2] / homogeneous[:, 2:]
    return HandView(crop, picture, mesh, triangles, camera, pixels, raster, visible, maps)


def skin_raster(
    vertices: Float[NDArray[Any], "V 3"],
    faces: Int[NDArray[Any], "F 3"],
    intrinsics: Float[NDArray[Any], "3 3"],
    size: int,
) -> Raster:
    """Rasterise a hand; its inside, seen through an open wrist, shows nothing and hides what is behind."""
    raster = rasterize(vertices, faces, intrinsics, size, size)
    skin = np.append(seen_from_outside(vertices, faces), False)
    return replace(raster, mask=skin[raster.pix_to_face])
