"""What a photograph says at every vertex of a hand: a crop about the mesh, the rasteriser, a frozen backbone.

Everything here is of right hands: a left one is mirrored together with its picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Int64
from numpy.typing import NDArray
from torch import Tensor

from amvur.crop import CropTransform
from amvur.geometry.cameras import project
from amvur.models.landmark_trunk import LandmarkTrunk
from amvur.models.texture import VertexEvidence
from amvur.render import Raster, rasterize, vertex_normals, visible_vertices
from amvur.structures import RgbImage

CROP_SCALE = 1.15
"""Side of the crop in units of the longer side of the mesh's box."""
_MOVED, _LARGER = 0.03, 0.05
"""A crop is kept while its mesh has moved by less than this share of its side, and grown or shrunk by less:
what is left of the margin then lies inside."""
GEOMETRY = 14
NEIGHBORHOOD = 6
_LENGTH_M = 0.1  # coordinates are told in this unit
_STEP_M = 0.01  # steps in depth in this one
_CELL_PX = 4  # of the maps that say what is near: outlines and steps in depth


@dataclass(frozen=True)
class HandView:
    """One hand in a crop about it, as a right hand, in the crop's own camera.

    `image` is sRGB in [0, 1], `vertices` are metres in the crop's camera, `pixels` the vertices' places in
    the crop (its pixels), `raster` the mesh without the inside that shows through an open wrist, `visible`
    the corners of the faces that it shows, inside the photograph; `maps` is what a frozen network says of the
    image, where it was asked.
    """

    crop: CropTransform
    image: Float[Tensor, "1 3 S S"]
    vertices: Float[Tensor, "1 V 3"]
    faces: Int64[Tensor, "F 3"]
    intrinsics: Float[Tensor, "1 3 3"]
    pixels: Float[Tensor, "1 V 2"]
    raster: Raster
    visible: Bool[Tensor, "1 V"]
    maps: tuple[Float[Tensor, "1 _ _ _"], ...] | None = None

    @property
    def pixel_px(self) -> float:
        """Return the side of a pixel of the crop in pixels of the photograph."""
        return self.crop.side_px / self.crop.size_px


def look_at_hand(
    image: RgbImage,
    vertices: Float[NDArray[Any], "V 3"],
    faces: Int[NDArray[Any], "F 3"],
    intrinsics: Float[NDArray[Any], "3 3"],
    left: bool = False,
    size_px: int = LandmarkTrunk.size_px,
    before: HandView | None = None,
) -> HandView | None:
    """Cut a hand out of a photograph and rasterise it; None where it is behind the camera or outside.

    `vertices` in metres in the camera's frame (OpenCV axes), `faces` counter-clockwise seen from outside,
    `intrinsics` in pixels of `image`; the crop has `size_px` a side. Where the mesh lies nearly as in a view
    of this hand of `before`, that one's crop and all that depends on nothing else are kept.
    """
    points = np.asarray(vertices, dtype=np.float64)
    if not (points[:, 2] > 1e-3).all():
        return None
    places = (points @ np.asarray(intrinsics, np.float64).T)[:, :2] / points[:, 2:]
    low, high = places.min(0), places.max(0)
    side = CROP_SCALE * max(float((high - low).max()), 1.0)
    x, y = (low + high) / 2
    crop = CropTransform(float(x), float(y), side, size_px, mirrored=left)
    inside = ((places >= 0) & (places < image.shape[1::-1])).all(1)
    if not inside.any() or not crop.touches(image.shape):
        return None
    if before is not None and _alike(crop, before.crop):
        crop, picture, maps = before.crop, before.image, before.maps
    else:
        picture, maps = torch.tensor(crop.warp(image)).permute(2, 0, 1)[None].float() / 255, None
    mesh = torch.from_numpy(points @ crop.R_crop_camera.T).float()[None]
    camera = torch.from_numpy(crop.crop_intrinsics(intrinsics)).float()[None]
    order = np.asarray(faces, dtype=np.int64)[:, ::-1] if left else np.asarray(faces, dtype=np.int64)
    triangles = torch.from_numpy(np.ascontiguousarray(order))
    raster = skin_raster(mesh, triangles, camera, crop.size_px)
    visible = visible_vertices(raster, triangles, len(points)) & torch.from_numpy(inside)
    return HandView(crop, picture, mesh, triangles, camera, project(mesh, camera), raster, visible, maps)


def _alike(crop: CropTransform, other: CropTransform) -> bool:
    """Tell whether a mesh for which one crop was made lies well inside of another, and fills it as much; both
    must have as many pixels and show the hand as the same side."""
    if (crop.size_px, crop.mirrored) != (other.size_px, other.mirrored):
        return False
    x, y = crop.center_x_px - other.center_x_px, crop.center_y_px - other.center_y_px
    moved, larger = max(abs(x), abs(y)) / other.side_px, crop.side_px / other.side_px
    return moved < _MOVED and abs(math.log(larger)) < _LARGER


def skin_raster(
    vertices: Float[Tensor, "B V 3"],
    faces: Int64[Tensor, "F 3"],
    intrinsics: Float[Tensor, "B 3 3"],
    size: int,
) -> Raster:
    """Rasterise a hand; its inside, seen through an open wrist, shows nothing and hides what is behind."""
    raster = rasterize(vertices, faces, intrinsics, size, size)
    a, b, c = vertices[:, faces].unbind(2)
    outside = torch.linalg.vecdot(torch.linalg.cross(b - a, c - a), a) < 0
    towards = outside.gather(1, raster.pix_to_face.clamp_min(0).flatten(1)).view(raster.mask.shape)
    return replace(raster, mask=raster.mask & towards)


@torch.no_grad()
def vertex_evidence(
    view: HandView, template: Float[Tensor, "V 3"], maps: tuple[Float[Tensor, "1 _ _ _"], ...]
) -> VertexEvidence:
    """Return the evidence at the vertices of one hand (eq. 11's reverse interpolation).

    `template` (m) are the vertices of the hand model at rest, which tell the vertices apart; `maps` is what
    `LandmarkTrunk.pyramid` says of the view's picture.
    """
    size = view.crop.size_px
    grid = (view.pixels / size * 2 - 1)[:, :, None]
    near = [F.avg_pool2d(view.image, k) for k in (8, 32)]
    sampled = [_sample(m, grid) for m in (view.image, *maps, *near)]
    features = torch.cat([*sampled[1:], _geometry(view, template, grid)], -1)
    return VertexEvidence(features, sampled[0], view.visible, maps[-1].mean((2, 3)))


def _sample(values: Float[Tensor, "1 C h w"], grid: Float[Tensor, "1 V 1 2"]) -> Float[Tensor, "1 V C"]:
    """Sample a map bilinearly at the vertices; beyond its edge it goes on as it ends."""
    found = F.grid_sample(values, grid, padding_mode="border", align_corners=False)
    return found[..., 0].transpose(1, 2)


def _geometry(
    view: HandView, template: Float[Tensor, "V 3"], grid: Float[Tensor, "1 V 1 2"]
) -> Float[Tensor, "1 V 14"]:
    """Return coordinates at rest and posed, normals, and how near outlines and nearer parts are."""
    posed = view.vertices - view.vertices.mean(1, keepdim=True)
    normals = vertex_normals(view.vertices, view.faces)
    toward = -F.normalize(view.vertices, dim=-1)
    cosine = (normals * toward).sum(-1, keepdim=True)
    mask = view.raster.mask[:, None].float()
    near = F.avg_pool2d(mask, 2 * _CELL_PX, _CELL_PX, _CELL_PX // 2)
    wide = F.avg_pool2d(near, 7, 1, 3)
    depth = torch.where(view.raster.mask, view.raster.zbuf, torch.inf)[:, None]
    front = -F.max_pool2d(-depth, 2 * _CELL_PX, _CELL_PX, _CELL_PX // 2)
    far = view.vertices[..., 2].amax()
    ahead = _sample(front.clamp_max(far), grid)
    gap = ((view.vertices[..., 2:] - ahead) / _STEP_M).clamp(-1, 5)
    at_rest = (template - template.mean(0))[None] / _LENGTH_M
    outlines = [_sample(m, grid) for m in (near, wide)]
    visible = view.visible[..., None].float()
    return torch.cat([at_rest, posed / _LENGTH_M, normals, cosine, *outlines, gap, visible], -1)


def feature_width(trunk: LandmarkTrunk) -> int:
    """Return how many numbers `VertexEvidence.features` has at a vertex."""
    return sum(trunk.level_widths) + NEIGHBORHOOD + GEOMETRY
