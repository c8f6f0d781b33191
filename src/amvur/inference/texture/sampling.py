"""A colour for every vertex from one photograph: sampled where the hand shows, completed where not.

The paper (§3.4) finds hidden colours by attention among vertices, which needs training. This is the
version without any: the visible vertices take the photograph's colours and the others follow by a
screened Poisson problem on the mesh, whose extra edges lead through the hand to the opposite skin, so
that the far side of a finger takes the colour of its near side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, UInt8
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from amvur.inference.silhouette.distance import nearest_marked
from amvur.raster import face_crosses, rasterize, seen_from_outside, vertex_normals, visible_vertices

SKIN_COLOR = (0.78, 0.60, 0.51)
"""sRGB of a medium skin tone: what a hand gets of which the picture shows nothing."""

_RASTER_SIDE_PX = 256
_PHOTO_SIDE_PX = 384
_MIN_COSINE = 0.35
_OUTLINE_PX = 2.0  # of the raster: colours nearer to an outline than this are not sampled,
_DOUBTFUL_PX = 8.0  # and nearer than this only as far as they look like the rest of the hand.
_OUTLINE_STEP = 8.0  # in cells: a jump in depth that makes an outline, steeper than a surface still sampled
_SKIN_CHROMA = 12.0
_SMOOTHNESS = 0.02
_MIRROR_WEIGHT = 0.3
_THICKNESS = 0.06  # of a hand's part, in units of the root of the surface's area
_RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


@dataclass(frozen=True)
class _View:
    """How the camera sees each vertex: its place in the photo (px), whether it shows, how far (cells of
    the raster) it is from an outline, and the cosine between its normal and the direction to the camera.
    """

    pixels: Float64[NDArray[Any], "V 2"]
    visible: Bool[NDArray[Any], "V"]
    outline_distance: Float64[NDArray[Any], "V"]
    cosine: Float64[NDArray[Any], "V"]


def sample_vertex_colors(
    image: UInt8[NDArray[Any], "H W 3"],
    vertices: Float[NDArray[Any], "V 3"],
    faces: Int[NDArray[Any], "F 3"],
    intrinsics: Float[NDArray[Any], "3 3"],
) -> tuple[Float32[NDArray[Any], "V 3"], Bool[NDArray[Any], "V"]]:
    """Return every vertex's colour (sRGB in [0, 1], light and shadow included) and which ones show.

    `image` is RGB, `vertices` in metres in the camera's frame (OpenCV axes), `intrinsics` in pixels of
    `image`. A vertex is visible if it lies inside the image and belongs to a triangle whose outer side
    shows, other parts of the hand (but no objects) considered. Visible vertices seen at a grazing angle
    or next to an outline are not sampled, for they show the background when the mesh is a few pixels
    off; near outlines, colours unlike the rest of the hand count little. These and the hidden vertices
    are completed. Rings and nails away from outlines are kept.

    Colours are finite always. If no vertex is visible, which `visible` then tells, all are `SKIN_COLOR`.
    """
    view = _look(vertices, faces, intrinsics, image.shape[0], image.shape[1])
    if view is None or not view.visible.any():
        return np.tile(np.array(SKIN_COLOR, dtype=np.float32), (len(vertices), 1)), np.zeros(
            len(vertices), dtype=bool
        )
    sampled = view.visible & (view.cosine > _MIN_COSINE) & (view.outline_distance > _OUTLINE_PX)
    if not sampled.any():
        sampled = view.visible
    colors = np.zeros((len(vertices), 3))
    colors[sampled] = _sample_photo(image, view.pixels[sampled])
    trust = np.zeros(len(vertices))
    trust[sampled] = _trust(colors[sampled], view.outline_distance[sampled])
    completed = _complete(colors, trust, vertices, faces)
    return completed.clip(0, 1).astype(np.float32), view.visible


def _look(
    vertices: Float[NDArray[Any], "V 3"],
    faces: Int[NDArray[Any], "F 3"],
    intrinsics: Float[NDArray[Any], "3 3"],
    height: int,
    width: int,
) -> _View | None:
    """Rasterise the hand's box at about 256 pixels, whatever the photo's size; None if it is outside."""
    points = vertices.astype(np.float64)
    depth = np.where(points[:, 2] > 0, points[:, 2], np.nan)
    pixels = (points @ intrinsics.T.astype(np.float64))[:, :2] / depth[:, None]
    inside = ((pixels >= 0) & (pixels < [width, height])).all(1)
    if not inside.any():
        return None
    low = np.fmax(np.nanmin(pixels, 0), 0)
    high = np.fmin(np.nanmax(pixels, 0), [width, height])
    scale = _RASTER_SIDE_PX / max((high - low).max(), 1e-6)
    # One cell more on every side, so that the outline itself is in the raster.
    origin = low - 1 / scale
    columns, rows = (int(n) + 2 for n in np.ceil((high - low) * scale))
    to_raster = np.array([[scale, 0, -scale * origin[0]], [0, scale, -scale * origin[1]], [0, 0, 1]])
    camera = to_raster @ intrinsics.astype(np.float64)
    raster = rasterize(points, faces, camera, rows, columns)
    # The inside of the hand, seen through the open wrist, hides what is behind it but is no skin.
    skin = replace(raster, mask=raster.mask & seen_from_outside(points, faces)[raster.pix_to_face])
    cells = (pixels - origin) * scale
    distance = outline_distances(raster.zbuf, depth=np.nanmedian(depth), focal=camera[0, 0])
    return _View(
        pixels=pixels,
        visible=visible_vertices(skin, faces, len(points)) & inside,
        outline_distance=_lookup(distance, cells),
        cosine=-(vertex_normals(points, faces) * points).sum(1) / np.linalg.norm(points, axis=1),
    )


def outline_distances(
    zbuf: Float64[NDArray[Any], "h w"], depth: float, focal: float
) -> Float64[NDArray[Any], "h w"]:
    """Return every cell's distance (in cells) to the nearest outline of the hand or of a part of it."""
    far = np.where(zbuf > 0, zbuf, 10 * depth)
    step = ndimage.maximum_filter(far, 3) - ndimage.minimum_filter(far, 3)
    smooth = step < _OUTLINE_STEP * depth / focal
    return nearest_marked(~smooth)[0]


def _lookup(
    grid: Float64[NDArray[Any], "h w"], cells: Float64[NDArray[Any], "V 2"]
) -> Float64[NDArray[Any], "V"]:
    """Return the grid's values in the cells that hold the given places; those outside get the border's."""
    limit = np.array(grid.shape[::-1]) - 1
    x, y = np.nan_to_num(cells).clip(0, limit).astype(np.int64).T
    values: Float64[NDArray[Any], "V"] = grid[y, x]
    return values


def _sample_photo(
    image: UInt8[NDArray[Any], "H W 3"], pixels: Float64[NDArray[Any], "N 2"]
) -> Float64[NDArray[Any], "N 3"]:
    """Sample the photo bilinearly, reduced by a whole factor first where the hand is large in it.

    A vertex stands for some millimetres of skin: without the reduction one pixel's noise, a hair or a
    JPEG block would colour all of it.
    """
    size = np.array(image.shape[1::-1])
    low = np.floor(pixels.min(0) - 2).clip(0, size - 1).astype(int)
    high = np.ceil(pixels.max(0) + 2).clip(1, size).astype(int)
    factor = max(1, int((high - low).max()) // _PHOTO_SIDE_PX)
    crop = Image.fromarray(np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]]))
    small = np.asarray(crop.reduce(factor) if factor > 1 else crop, dtype=np.float64) / 255
    x, y = ((pixels - low) / factor - 0.5).T
    channels = [ndimage.map_coordinates(small[..., c], [y, x], order=1, mode="nearest") for c in range(3)]
    return np.stack(channels, -1)


def _trust(
    colors: Float64[NDArray[Any], "N 3"], outline_distance: Float64[NDArray[Any], "N"]
) -> Float64[NDArray[Any], "N"]:
    """Weigh samples in (0, 1]: near outlines by their likeness to the hand's median colour, elsewhere 1."""
    lab = _srgb_to_lab(colors)
    # Lightness counts less: shading changes it more than background differs in it.
    offset = (lab - np.median(lab, 0)) * [0.4, 1, 1]
    unlike = np.linalg.norm(offset, axis=1)
    scale = max(_SKIN_CHROMA, 2 * float(np.median(unlike)))
    likeness = 1 / (1 + (unlike / scale) ** 2) ** 2
    interior = ((outline_distance - _OUTLINE_PX) / (_DOUBTFUL_PX - _OUTLINE_PX)).clip(0, 1)
    weights: Float64[NDArray[Any], "N"] = interior + (1 - interior) * likeness
    return weights


def _srgb_to_lab(colors: Float64[NDArray[Any], "N 3"]) -> Float64[NDArray[Any], "N 3"]:
    """Turn sRGB in [0, 1] into CIE L*a*b* under D65 (CIE 15:2004)."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    relative_xyz = linear @ _RGB_TO_XYZ.T / _RGB_TO_XYZ.sum(1)
    root = np.where(
        relative_xyz > (6 / 29) ** 3, np.cbrt(relative_xyz), relative_xyz * (29 / 6) ** 2 / 3 + 4 / 29
    )
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def _complete(
    colors: Float64[NDArray[Any], "V 3"],
    trust: Float64[NDArray[Any], "V"],
    vertices: Float[NDArray[Any], "V 3"],
    faces: Int[NDArray[Any], "F 3"],
) -> Float64[NDArray[Any], "V 3"]:
    """Minimise sum of trust · |x − color|² + smoothness · |differences along edges|² over the surface.

    A weak pull to the mean colour keeps the problem solvable on parts that no sample reaches.
    """
    count = len(vertices)
    i, j = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
    hidden, opposite = _opposite_vertices(vertices, faces, trust > 0)
    weights = np.concatenate([np.full(len(i), 0.5), np.full(len(hidden), _MIRROR_WEIGHT)])
    pairs = np.concatenate([i, hidden]), np.concatenate([j, opposite])
    half = sparse.coo_matrix((weights, pairs), shape=(count, count)).tocsr()
    adjacency = half + half.T
    degree = np.asarray(adjacency.sum(1)).ravel()
    pull = 1e-6
    system = sparse.diags(trust + pull + _SMOOTHNESS * degree) - _SMOOTHNESS * adjacency
    mean = trust @ colors / trust.sum()
    factors = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    solution: Float64[NDArray[Any], "V 3"] = factors.solve(trust[:, None] * colors + pull * mean)
    return solution


def _opposite_vertices(
    vertices: Float[NDArray[Any], "V 3"], faces: Int[NDArray[Any], "F 3"], sampled: Bool[NDArray[Any], "V"]
) -> tuple[Int[NDArray[Any], "N"], Int[NDArray[Any], "N"]]:
    """Pair vertices without a colour with the sampled one across the hand, where there is one.

    Across means: near the point one thickness below the skin, with the opposite normal. The step down
    keeps a finger from pairing with the palm it is bent over, whose normal is opposite too.
    """
    points = vertices.astype(np.float64)
    area = 0.5 * np.linalg.norm(face_crosses(points, faces), axis=1).sum()
    reach = _THICKNESS * np.sqrt(area)
    normals = vertex_normals(points, faces)
    source, target = np.flatnonzero(~sampled), np.flatnonzero(sampled)
    tree = cKDTree(np.hstack([points[target], reach * normals[target]]))
    down = points[source] - reach * normals[source]
    opposite = target[tree.query(np.hstack([down, -reach * normals[source]]))[1]]
    through = ((points[opposite] - points[source]) * normals[source]).sum(1) < 0
    return source[through], opposite[through]
