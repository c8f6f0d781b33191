"""Rasterising, interpolating and shading meshes in torch: the same triangle ids on every device.

Triangle ids carry no gradient; barycentrics and depths are recomputed from the vertices in torch when
a gradient is wanted, so that it reaches vertices, attributes and camera alike. Coverage is not made
differentiable: the outline moves without a gradient. Words for the buffers are pytorch3d's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from amvur._raster_torch import edge_functions, nearest_faces, project_corners, screen_triangles
from amvur.errors import InputError
from amvur.raster import NEAR_M, rasterize_stack


@dataclass(frozen=True)
class Raster:
    """What a mesh covers in an image, per pixel: `(B, H, W)`.

    `pix_to_face` is the id of the nearest face or -1, `bary_coords` are perspective-correct and sum to
    1 (0 where there is no face), `zbuf` is the depth along the optical axis in the vertices' unit (-1
    where there is no face), and `mask` says where there is a face.
    """

    pix_to_face: Int64[Tensor, "B H W"]
    bary_coords: Float[Tensor, "B H W 3"]
    zbuf: Float[Tensor, "B H W"]
    mask: Bool[Tensor, "B H W"]


@dataclass(frozen=True)
class Lighting:
    """Distant lights in the camera's frame, in linear light (1 turns a facing white surface white).

    `directions` point from the surface to the light and need not have length 1; `intensities` and
    `ambient` are RGB. `specular` is the strength of a white Blinn–Phong highlight of exponent
    `shininess`. A leading axis of 1 serves a whole batch.
    """

    directions: Float[Tensor, "#B L 3"]
    intensities: Float[Tensor, "#B L 3"]
    ambient: Float[Tensor, "#B 3"]
    specular: float = 0.04
    shininess: float = 24.0

    @staticmethod
    def studio(like: Tensor) -> Lighting:
        """Return a soft key light from the upper left and a weak fill light from the right."""
        return Lighting(
            like.new_tensor([[[-0.5, -0.7, -1.0], [0.8, 0.1, -0.8]]]),
            like.new_tensor([[[0.6, 0.6, 0.6], [0.15, 0.15, 0.15]]]),
            like.new_tensor([[0.35, 0.35, 0.35]]),
        )


def rasterize(
    vertices: Float[Tensor, "B V 3"],
    faces: Int64[Tensor, "F 3"],
    intrinsics: Float[Tensor, "B 3 3"],
    height: int,
    width: int,
    *,
    backend: Literal["auto", "torch", "numba"] = "auto",
    cull_backfaces: bool = False,
) -> Raster:
    """Find the nearest face at the centre of every pixel.

    `vertices` in metres in the camera's frame (OpenCV axes), `intrinsics` in pixels with the centre of
    the top-left pixel at (0.5, 0.5). Faces with a corner nearer than 1 mm are skipped whole (there is
    no clipping), as are degenerate ones and, with `cull_backfaces`, those seen from inside. Where depths
    agree to float32 the lowest face id wins. `"auto"` is numba on a CPU and torch elsewhere; ids are
    equal in both, because both do the same float64 arithmetic in the same order.

    Raises `InputError` for the numba backend with tensors that are not on the CPU.
    """
    if backend == "auto":
        backend = "numba" if vertices.device.type == "cpu" else "torch"
    if backend == "numba" and vertices.device.type != "cpu":
        raise InputError(
            f"The numba rasteriser needs tensors on the CPU, found {vertices.device}: use backend='auto'."
        )
    with torch.no_grad():
        if backend == "numba":
            raster = _rasterize_numba(vertices, faces, intrinsics, height, width, cull_backfaces)
        else:
            triangles = screen_triangles(vertices, faces, intrinsics, height, width, cull_backfaces)
            raster = _with_barycentrics(nearest_faces(triangles, height, width), vertices, faces, intrinsics)
    if torch.is_grad_enabled() and (vertices.requires_grad or intrinsics.requires_grad):
        raster = _with_barycentrics(raster.pix_to_face, vertices, faces, intrinsics)
    return raster


def interpolate(
    raster: Raster, attributes: Float[Tensor, "B V C"], faces: Int64[Tensor, "F 3"]
) -> Float[Tensor, "B H W C"]:
    """Interpolate vertex attributes over the image, 0 where there is no face.

    Differentiable in the attributes and, through the barycentrics, in the vertices (paper, §3.4).
    """
    return _scatter(raster, _at_pixels(raster, attributes, faces))


def visible_vertices(
    raster: Raster, faces: Int64[Tensor, "F 3"], num_vertices: int
) -> Bool[Tensor, "B num_vertices"]:
    """Mark the corners of every face that shows in some pixel: the occlusion mask of the paper, §3.4."""
    visible = torch.zeros(len(raster.mask), num_vertices, dtype=torch.bool, device=raster.mask.device)
    pixels = raster.mask.nonzero(as_tuple=True)
    visible[pixels[0][:, None], faces[raster.pix_to_face[pixels]]] = True
    return visible


def vertex_normals(vertices: Float[Tensor, "B V 3"], faces: Int64[Tensor, "F 3"]) -> Float[Tensor, "B V 3"]:
    """Return unit normals, the area-weighted means of the faces around; outward for our faces.

    A vertex without a face of positive area gets 0.
    """
    a, b, c = vertices[:, faces].unbind(2)
    # In float64: faces of a square millimetre have cross products near 1e-6.
    face_normals = torch.linalg.cross((b - a).double(), (c - a).double())
    total = torch.zeros_like(vertices, dtype=torch.float64)
    for corner in range(3):
        total = total.index_add(1, faces[:, corner], face_normals)
    return normalize(total, dim=-1, eps=1e-20).to(vertices.dtype)


def shade(
    raster: Raster,
    vertices: Float[Tensor, "B V 3"],
    faces: Int64[Tensor, "F 3"],
    vertex_colors: Float[Tensor, "B V 3"],
    *,
    lighting: Lighting | None = None,
) -> Float[Tensor, "B H W 3"]:
    """Light a rasterised mesh (Lambert plus a slight highlight); sRGB in [0, 1], 0 where there is no face.

    `vertex_colors` are sRGB in [0, 1] and taken as albedo; colours are interpolated and lit in linear
    light, normals interpolated (Phong shading). The inside of the surface is lit like the outside.
    Without `lighting` it is `Lighting.studio`. Differentiable in colours and vertices.
    """
    colors = linear_to_srgb(_radiance(raster, vertices, faces, vertex_colors, lighting))
    return _scatter(raster, colors)


def render_hand(
    vertices: Float[Tensor, "B V 3"],
    faces: Int64[Tensor, "F 3"],
    intrinsics: Float[Tensor, "B 3 3"],
    vertex_colors: Float[Tensor, "B V 3"],
    height: int,
    width: int,
    *,
    lighting: Lighting | None = None,
    supersampling: int = 2,
) -> tuple[Float[Tensor, "B H W 3"], Float[Tensor, "B H W"]]:
    """Render an antialiased picture; return sRGB in [0, 1], not multiplied by alpha, and alpha.

    `supersampling**2` rays a pixel, averaged in linear light. Lay it over a photo with
    `alpha * image + (1 - alpha) * photo`. Frames and units as in `rasterize`.
    """
    factor = supersampling
    scale = intrinsics.new_tensor([[factor], [factor], [1]])
    raster = rasterize(vertices, faces, intrinsics * scale, height * factor, width * factor)
    radiance = _radiance(raster, vertices, faces, vertex_colors, lighting)
    image, y, x = raster.mask.nonzero(as_tuple=True)
    pixel = (image * height + y // factor) * width + x // factor
    count = torch.bincount(pixel, minlength=len(vertices) * height * width)
    total = radiance.new_zeros(len(count), 3).index_add(0, pixel, radiance)
    covered = count.nonzero()[:, 0]
    colors = linear_to_srgb(total[covered] / count[covered, None])
    picture = total.new_zeros(total.shape).index_put((covered,), colors)
    shape = (len(vertices), height, width)
    return picture.view(*shape, 3), (count / factor**2).to(picture.dtype).view(shape)


def srgb_to_linear(color: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Decode sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    return torch.where(color <= 0.04045, color / 12.92, ((color.clamp_min(0.04) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(color: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Encode linear light in [0, 1] as sRGB (IEC 61966-2-1)."""
    # The power's slope at 0 is infinite: without the clamp black pixels would have a NaN gradient.
    return torch.where(color <= 0.0031308, 12.92 * color, 1.055 * color.clamp_min(0.003) ** (1 / 2.4) - 0.055)


def _radiance(
    raster: Raster,
    vertices: Float[Tensor, "B V 3"],
    faces: Int64[Tensor, "F 3"],
    vertex_colors: Float[Tensor, "B V 3"],
    lighting: Lighting | None,
) -> Float[Tensor, "N 3"]:
    """Return the linear light, in [0, 1], from every covered pixel: see `shade`."""
    light = lighting or Lighting.studio(vertices)
    pixels = raster.mask.nonzero(as_tuple=True)
    at_vertices = torch.cat([vertices, vertex_normals(vertices, faces), srgb_to_linear(vertex_colors)], -1)
    surface = _at_pixels(raster, at_vertices, faces)
    position, normal, albedo = surface[:, :3], surface[:, 3:6], surface[:, 6:]
    a, b, c = vertices.detach()[:, faces].unbind(2)
    outside = torch.linalg.vecdot(torch.linalg.cross(b - a, c - a), a) < 0
    side = outside[pixels[0], raster.pix_to_face[pixels]].to(normal.dtype) * 2 - 1
    normal = normalize(normal, dim=-1) * side[:, None]
    radiance = albedo * light.ambient.expand(len(vertices), 3)[pixels[0]]
    to_viewer = normalize(-position, dim=-1)
    for index in range(light.directions.shape[1]):
        to_light = normalize(light.directions[:, index], dim=-1).expand(len(vertices), 3)[pixels[0]]
        intensity = light.intensities[:, index].expand(len(vertices), 3)[pixels[0]]
        diffuse = torch.linalg.vecdot(normal, to_light).clamp_min(0)[:, None]
        half = torch.linalg.vecdot(normal, normalize(to_light + to_viewer, dim=-1)).clamp_min(0)[:, None]
        highlight = light.specular * half**light.shininess
        radiance = radiance + intensity * (albedo * diffuse + highlight)
    return radiance.clamp(0, 1)


def _at_pixels(
    raster: Raster, attributes: Float[Tensor, "B V C"], faces: Int64[Tensor, "F 3"]
) -> Float[Tensor, "N C"]:
    """Interpolate vertex attributes at the covered pixels only, in the order of `mask.nonzero()`."""
    pixels = raster.mask.nonzero(as_tuple=True)
    corners = faces[raster.pix_to_face[pixels]]
    weights = raster.bary_coords[pixels][..., None]
    return (attributes[pixels[0][:, None], corners] * weights).sum(1)


def _scatter(raster: Raster, values: Float[Tensor, "N C"]) -> Float[Tensor, "B H W C"]:
    """Put values of the covered pixels into an image of zeros."""
    image = values.new_zeros(*raster.mask.shape, values.shape[-1])
    return image.index_put(raster.mask.nonzero(as_tuple=True), values)


def _rasterize_numba(
    vertices: Float[Tensor, "B V 3"],
    faces: Int64[Tensor, "F 3"],
    intrinsics: Float[Tensor, "B 3 3"],
    height: int,
    width: int,
    cull_backfaces: bool,
) -> Raster:
    """Rasterise with the compiled kernel, without gradients."""
    dtype = vertices.dtype
    exact = vertices if dtype in (torch.float32, torch.float64) else vertices.float()
    cameras = intrinsics.double().expand(len(vertices), 3, 3)
    points, triangles, camera = (tensor.detach().numpy() for tensor in (exact, faces, cameras))
    found = rasterize_stack(points, triangles, camera, height, width, cull_backfaces)
    pix_to_face, bary_coords, zbuf = (torch.from_numpy(values) for values in found)
    return Raster(pix_to_face, bary_coords.to(dtype), zbuf.to(dtype), pix_to_face >= 0)


def _with_barycentrics(
    pix_to_face: Int64[Tensor, "B H W"],
    vertices: Float[Tensor, "B V 3"],
    faces: Int64[Tensor, "F 3"],
    intrinsics: Float[Tensor, "B 3 3"],
) -> Raster:
    """Compute barycentrics and depth of known faces, differentiable in vertices and intrinsics."""
    mask = pix_to_face >= 0
    pixels = mask.nonzero(as_tuple=True)
    image, y, x = pixels
    # A vertex behind the camera belongs to no drawn face, but 0 · ∞ would make its gradient NaN.
    in_front = torch.where(vertices[..., 2:] > 0.5 * NEAR_M, vertices, 1)
    corners = project_corners(in_front, intrinsics)[image[:, None], faces[pix_to_face[pixels]]]
    edges, inverse_depth = edge_functions(corners, x, y)
    weights = edges * inverse_depth
    inverse = 1 / weights.sum(-1, keepdim=True)
    bary_coords = vertices.new_zeros(*mask.shape, 3)
    zbuf = vertices.new_full(mask.shape, -1)
    return Raster(
        pix_to_face,
        bary_coords.index_put(pixels, (weights * inverse).to(vertices.dtype)),
        zbuf.index_put(pixels, (edges.sum(-1) * inverse[:, 0]).to(vertices.dtype)),
        mask,
    )
