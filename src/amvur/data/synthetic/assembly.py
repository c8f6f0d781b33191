"""The scene as one mesh, the points of it that are shaded, and the picture made of their light."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from amvur.data.synthetic.lighting import (
    FleshSpheres,
    LightDraws,
    ShadowMap,
    cast_shadows,
    lit_share,
    shade_points,
)
from amvur.data.synthetic.occluders import BLOB, ThingDraws, Things, thing_surface
from amvur.data.synthetic.scene import Body
from amvur.data.synthetic.skin import SkinAtlas, SkinDraws, Surface, paint
from amvur.hand.model import HandMesh
from amvur.render import Raster, rasterize, vertex_normals

_EVEN_M = 0.005


@dataclass(frozen=True)
class Scene:
    """Everything solid in the camera's frame: the body, then a second one (or none), then things.

    `num_body_faces` faces belong to each body; `slot` is the thing of each face behind `first_thing`.
    """

    vertices: Float[Tensor, "B N 3"]
    faces: Int64[Tensor, "F 3"]
    intrinsics: Float[Tensor, "B 3 3"]
    num_body_faces: int
    first_thing: int
    slot: Int64[Tensor, "G"]
    uv: Float[Tensor, "N 2"]

    def slot_of(self, face: Int64[Tensor, "S"]) -> Int64[Tensor, "S"]:
        """Return the things that faces belong to; meaningless for bodies' faces."""
        return self.slot[(face - self.first_thing).clamp(min=0)]

    def sampled(self, ss: int) -> Float[Tensor, "B 3 3"]:
        """Return the intrinsics of a picture with `ss` samples a pixel each way."""
        return self.intrinsics * self.intrinsics.new_tensor([[ss], [ss], [1]])


@dataclass(frozen=True)
class Points:
    """Points to shade: picture, face and barycentrics."""

    image: Int64[Tensor, "S"]
    face: Int64[Tensor, "S"]
    bary: Float[Tensor, "S 3"]

    def __getitem__(self, chosen: Tensor) -> Points:
        """Return some of the points."""
        return Points(self.image[chosen], self.face[chosen], self.bary[chosen])


def join_scene(
    body: Body,
    vertices: Float[Tensor, "B N 3"],
    second: Float[Tensor, "B N 3"] | None,
    things: Things,
    wanted: Bool[Tensor, "P"],
    intrinsics: Float[Tensor, "B 3 3"],
) -> Scene:
    """Put all meshes into one; faces of things that no picture `wanted` are left out."""
    bodies = [vertices] if second is None else [vertices, second]
    n = len(body.rest)
    kept = wanted[things.slot]
    faces = [body.faces + k * n for k in range(len(bodies))]
    faces.append(things.faces[kept] + len(bodies) * n)
    uv = torch.cat([things.uv.new_zeros(len(bodies) * n, 2), things.uv])
    return Scene(
        torch.cat([*bodies, things.vertices], 1),
        torch.cat(faces),
        intrinsics,
        len(body.faces),
        len(bodies) * len(body.faces),
        things.slot[kept],
        uv,
    )


def raster_scene(scene: Scene, size_px: int, ss: int) -> Raster:
    """Rasterise the picture with `ss`² samples a pixel."""
    return rasterize(scene.vertices, scene.faces, scene.sampled(ss), size_px * ss, size_px * ss)


def pixel_points(
    frame: Raster, size_px: int, ss: int
) -> tuple[Points, Float[Tensor, "S"], Int64[Tensor, "S"]]:
    """Choose what to shade: one sample of an even pixel, every sample of one with an edge in it.

    Returns the points, their weights in their pixels and the pixels (numbered through all pictures).
    """
    b = len(frame.mask)

    def samples(x: Tensor) -> Tensor:
        return x.view(b, size_px, ss, size_px, ss).permute(2, 4, 0, 1, 3).reshape(ss * ss, b * size_px**2)

    ids, z = samples(frame.pix_to_face), samples(frame.zbuf)
    hit = ids >= 0
    even = hit.all(0) & (z.amax(0) - z.amin(0) < _EVEN_M)
    wanted = hit & ~even
    wanted[0] |= even
    # Pixel by pixel: neighbors share what is read for them.
    pixel, sample = wanted.T.contiguous().nonzero(as_tuple=True)
    weight = torch.where(even[pixel], 1.0, 1.0 / ss**2).to(z.dtype)
    image, rest = pixel // size_px**2, pixel % size_px**2
    y, x = rest // size_px * ss + sample // ss, rest % size_px * ss + sample % ss
    face = ids.flatten().index_select(0, sample * ids.shape[1] + pixel)
    place = (image * (size_px * ss) + y) * (size_px * ss) + x
    return Points(image, face, frame.bary_coords.view(-1, 3).index_select(0, place)), weight, pixel


def vertex_points(body: Body, batch: int) -> Points:
    """Return the hand's vertices of every picture as points."""
    count = body.num_hand_vertices
    face, place = body.corner[:count].repeat(batch, 1).unbind(-1)
    image = torch.arange(batch, device=face.device).repeat_interleave(count)
    return Points(image, face, one_hot(place, 3).to(body.rest))


def joined(a: Points, b: Points) -> Points:
    """Return the points of both."""
    return Points(*(torch.cat([getattr(a, f.name), getattr(b, f.name)]) for f in fields(Points)))


@dataclass(frozen=True)
class Looks:
    """What decides colors, beside the meshes."""

    atlas: SkinAtlas
    textures: Float[Tensor, "T 1 P P"]
    spheres: FleshSpheres
    skin: SkinDraws
    things: ThingDraws
    lights: LightDraws


def shade_scene(
    scene: Scene, mesh: HandMesh, looks: Looks, points: Points
) -> tuple[Surface, Float[Tensor, "S 3"], ShadowMap]:
    """Return the points' surfaces and the linear light they send, and the shadows."""
    normals = vertex_normals(scene.vertices, scene.faces)
    v = mesh.vertices.shape[1]
    openness = torch.ones_like(normals[..., :1])
    openness[:, :v, 0] = looks.spheres.openness(mesh.vertices, normals[:, :v], mesh.joints)
    uv = scene.uv.expand(len(normals), -1, -1)
    at_vertices = torch.cat([scene.vertices, normals, openness, uv], -1)
    corners = scene.faces[points.face] + points.image[:, None] * at_vertices.shape[1]
    flat_values = at_vertices.flatten(0, 1)
    a, b, c = (
        flat_values.index_select(0, corner) * points.bary[:, k, None]
        for k, corner in enumerate(corners.T.contiguous())
    )
    values = a.add_(b).add_(c)
    position, normal = values[:, :3], normalize(values[:, 3:6], dim=-1)
    things = points.face >= scene.first_thing
    # Things and mirrored hands may be inside out; the own body is not, and its hidden side stays so.
    turned = (points.face >= scene.num_body_faces) & ((normal * position).sum(-1) > 0)
    normal = torch.where(turned[:, None], -normal, normal)
    surface = _surfaces(scene, looks, points, values[:, 7:], things)
    solid = torch.ones(len(scene.faces), dtype=torch.bool, device=things.device)
    solid[scene.first_thing :] = scene.slot != BLOB
    center = mesh.joints.mean(1)
    shadows = cast_shadows(scene.vertices, scene.faces[solid], center, looks.lights)
    lit = lit_share(shadows, looks.lights, points.image, position)
    light = shade_points(surface, position, normal, values[:, 6], lit, looks.lights, points.image)
    flat = things & (scene.slot_of(points.face) == BLOB) if len(scene.slot) else things
    return surface, torch.where(flat[:, None], surface.albedo, light), shadows


def _surfaces(
    scene: Scene, looks: Looks, points: Points, uv: Float[Tensor, "S 2"], things: Bool[Tensor, "S"]
) -> Surface:
    """Paint skin and things, each where it is."""
    if not bool(things.any()):
        return paint(looks.atlas, looks.skin, points.image, points.face % scene.num_body_faces, points.bary)
    flesh, rest = (~things).nonzero()[:, 0], things.nonzero()[:, 0]
    some = points[flesh]
    skin = paint(looks.atlas, looks.skin, some.image, some.face % scene.num_body_faces, some.bary)
    slot = scene.slot_of(points.face[rest])
    thing = thing_surface(looks.textures, looks.things, points.image[rest], slot, uv[rest])
    mixed = []
    for name in (f.name for f in fields(Surface)):
        values = uv.new_empty(len(things), *getattr(skin, name).shape[1:])
        values[flesh], values[rest] = getattr(skin, name), getattr(thing, name)
        mixed.append(values)
    return Surface(*mixed)


def compose(
    background: Float[Tensor, "B H W 3"],
    light: Float[Tensor, "S 3"],
    weight: Float[Tensor, "S"],
    pixel: Int64[Tensor, "S"],
) -> Float[Tensor, "B H W 3"]:
    """Lay the points' light over the background, in linear light."""
    flat = background.reshape(-1, 3)
    alpha = torch.zeros_like(flat[:, 0]).index_add(0, pixel, weight)
    total = torch.zeros_like(flat).index_add(0, pixel, light.clamp(0, 4) * weight[:, None])
    return ((1 - alpha)[:, None] * flat + total).view_as(background)


def shadow_on_wall(
    background: Float[Tensor, "B H W 3"],
    shadows: ShadowMap,
    lights: LightDraws,
    intrinsics: Float[Tensor, "B 3 3"],
    behind_m: Float[Tensor, "B"],
    deepest: Float[Tensor, "B"],
) -> Float[Tensor, "B H W 3"]:
    """Let the scene's shadow fall on a wall `behind_m` behind its deepest point (0: no wall)."""
    chosen = (behind_m > 0).nonzero()[:, 0]
    if not len(chosen):
        return background
    size = background.shape[1]
    steps = torch.arange(size, device=chosen.device, dtype=background.dtype) + 0.5
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    k = intrinsics[chosen]
    ray = torch.stack([
        (x - k[:, 0, 2, None, None]) / k[:, 0, 0, None, None],
        (y - k[:, 1, 2, None, None]) / k[:, 1, 1, None, None],
        torch.ones_like(x).expand(len(k), -1, -1),
    ], -1)  # fmt: skip
    points = ray * (deepest + behind_m)[chosen, None, None, None]
    image = chosen.repeat_interleave(size * size)
    lit = lit_share(shadows, lights, image, points.view(-1, 3)).view(len(chosen), size, size, 1)
    result = background.clone()
    result[chosen] = background[chosen] * (0.35 + 0.65 * lit)
    return result
