"""Renders hands into pictures with exact labels: the scene put together, lit, photographed, labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from amvur.data.samples import HandBatch, JointState, concatenate
from amvur.data.synthetic.background import (
    PhotoFolder,
    draw_backgrounds,
    make_bank,
    mix_spectra,
    paint_backgrounds,
)
from amvur.data.synthetic.effects import SensorNoise, blur, draw_effects, jpeg, to_bytes, tone, vignette
from amvur.data.synthetic.lighting import cast_shadows, draw_lights, lit_share, make_spheres, shade_points
from amvur.data.synthetic.scene import (
    SceneConfig,
    draw_arms,
    draw_cameras,
    inside_frame,
    make_body,
    streams,
)
from amvur.data.synthetic.skin import Surface, bake_skin, draw_skins, paint, person_color, skin_tone
from amvur.data.synthetic.visibility import blocked_vertices, projected
from amvur.hand.model import HandMesh, HandModel
from amvur.render import Raster, linear_to_srgb, rasterize, srgb_to_linear, vertex_normals

_VIEW, _ARM, _SKIN, _LIGHT, _BACKGROUND, _CAMERA, _THINGS, _PHOTO = range(8)


@dataclass(frozen=True)
class Points:
    """Points to shade: picture, face and barycentrics."""

    image: Int64[Tensor, "S"]
    face: Int64[Tensor, "S"]
    bary: Float[Tensor, "S 3"]


class SceneRenderer:
    """Turns hand parameters into labelled pictures, the same for the same (seed, index)."""

    def __init__(
        self,
        model: HandModel,
        size_px: int = 224,
        config: SceneConfig = SceneConfig(),  # noqa: B008
        backgrounds: Sequence[Path] = (),
    ) -> None:
        """Bake what all pictures share (a few seconds). `model` is a right hand, on the device to use."""
        self.model, self.size_px, self.config = model, size_px, config
        self.body = make_body(model)
        self.atlas = bake_skin(model, self.body)
        self.spheres = make_spheres(model)
        self.bank = make_bank(model.v_template)
        self.photos = PhotoFolder(backgrounds)
        self.noise = SensorNoise(model.v_template.device)

    @torch.no_grad()
    def render(
        self,
        seed: int,
        indices: Int64[Tensor, "B"],
        betas: Float[Tensor, "B 10"],
        hand_pose: Float[Tensor, "B 45"],
    ) -> HandBatch:
        """Render one picture for every index."""
        on_cpu = self.model.v_template.device.type == "cpu"
        chunk = self.config.chunk or (1 if on_cpu else 32)
        parts = [
            self._render(seed, *(x[i : i + chunk] for x in (indices, betas, hand_pose)))
            for i in range(0, len(indices), chunk)
        ]
        return concatenate(parts)

    def _render(
        self,
        seed: int,
        indices: Int64[Tensor, "B"],
        betas: Float[Tensor, "B 10"],
        hand_pose: Float[Tensor, "B 45"],
    ) -> HandBatch:
        like = self.model.v_template
        betas, hand_pose = betas.to(like), hand_pose.to(like)
        skin = draw_skins(streams(seed, indices, _SKIN), self.config, like)
        view = streams(seed, indices, _VIEW)
        is_left = torch.tensor([rng.random() < self.config.left_rate for rng in view], device=like.device)
        mesh, camera, body = self._place(seed, indices, betas, hand_pose, view)
        scene = Scene(body, self.body.faces, camera.intrinsics)
        background = self._background(seed, indices, person_color(skin))
        lights = draw_lights(streams(seed, indices, _LIGHT), self.config, background)
        effects = draw_effects(streams(seed, indices, _CAMERA), self.config, like)
        frame = _frame(scene, self.size_px, self.config.supersampling)
        points, weight, pixel = _pixel_points(frame, self.size_px, self.config.supersampling)
        vertices = _vertex_points(self.body.corner, self.body.num_hand_vertices, len(indices))
        surface, light = self._shade(scene, mesh, skin, lights, _joined(points, vertices))
        picture = _compose(background, light[: len(weight)], weight, pixel)
        count = len(weight)
        picture = tone(vignette(blur(picture, effects), effects).flatten(1, 2), effects).view_as(picture)
        picture = to_bytes(jpeg(self.noise.add(picture, effects), effects.quality))
        per_vertex = (len(indices), self.body.num_hand_vertices, 3)
        albedo = linear_to_srgb(surface.albedo[count:].view(per_vertex).clamp(0, 1))
        colors = tone(light[count:].view(per_vertex), effects)
        labels = self._labels(scene, frame, mesh)
        batch = HandBatch(
            images=picture,
            intrinsics=camera.intrinsics,
            vertices=mesh.vertices,
            joints=mesh.joints,
            joints_2d=projected(mesh.joints, camera.intrinsics)[..., :2].to(like),
            joint_states=labels.joint_states,
            global_orient=camera.global_orient,
            hand_pose=hand_pose,
            betas=betas,
            transl=camera.transl,
            vertex_albedo=albedo,
            vertex_colors=colors,
            visible_vertices=labels.visible,
            unoccluded_vertices=labels.unoccluded,
            mask=labels.mask,
            is_left=torch.zeros_like(is_left),
            occlusion=labels.occlusion.to(like),
            skin_tone=skin_tone(skin),
            index=indices,
        )
        return mirror_some(batch, is_left)

    def _place(self, seed, indices, betas, hand_pose, view):
        like = self.model.v_template
        zeros = torch.zeros_like(betas[:, :3])
        own = self.model(zeros, hand_pose, betas)
        arm = draw_arms(streams(seed, indices, _ARM), self.config, like)
        grown = self.body.attach(own.vertices, own.joints, arm)
        elbow = normalize(grown[:, -1] - own.joints[:, 0], dim=-1)
        camera = draw_cameras(view, self.config, self.size_px, own.vertices, elbow)
        mesh = self.model(camera.global_orient, hand_pose, betas, camera.transl)
        return mesh, camera, self.body.attach(mesh.vertices, mesh.joints, _turned(arm, camera))

    def _background(self, seed, indices, skin):
        like = self.model.v_template
        rngs = streams(seed, indices, _BACKGROUND)
        draws = draw_backgrounds(rngs, like, skin)
        picture = paint_backgrounds(self.bank, draws, self.size_px)
        return srgb_to_linear(picture)

    def _shade(self, scene, mesh, skin, lights, points):
        image, face, bary = points.image, points.face, points.bary
        normals = vertex_normals(scene.vertices, scene.faces)
        v = self.body.num_hand_vertices
        open_hand = self.spheres.openness(mesh.vertices, normals[:, :v], mesh.joints)
        openness = torch.cat([open_hand, torch.ones_like(normals[:, v:, 0])], 1)
        at_vertices = torch.cat([scene.vertices, normals, openness[..., None]], -1)
        corners = scene.faces[face]
        values = (at_vertices[image[:, None], corners] * bary[..., None]).sum(1)
        position, normal, sky = values[:, :3], normalize(values[:, 3:6], dim=-1), values[:, 6]
        surface = paint(self.atlas, skin, image, face, bary)
        shadows = cast_shadows(scene.vertices, scene.faces, mesh.joints.mean(1), lights)
        lit = lit_share(shadows, lights, image, position)
        return surface, shade_points(surface, position, normal, sky, lit, lights, image)

    def _labels(self, scene, frame, mesh):
        size, ss = self.size_px, self.config.supersampling
        pad = size // 2
        wide = scene.intrinsics.clone()
        # The wide raster's pixels are the frame raster's first samples, so that counts agree exactly.
        wide[:, :2, 2] += pad + 0.5 - 0.5 / ss
        body = scene.vertices[:, : len(self.body.rest)]
        alone = rasterize(body, self.body.faces, wide, 2 * pad + size, 2 * pad + size)
        hand_alone = alone.mask & (alone.pix_to_face < self.body.num_hand_faces)
        v = self.body.num_hand_vertices
        visible = ~blocked_vertices(alone, body, self.body.faces, wide, v)
        scaled = scene.intrinsics * scene.intrinsics.new_tensor([[ss], [ss], [1]])
        blocked = blocked_vertices(frame, scene.vertices, scene.faces, scaled, v)
        flat = projected(mesh.vertices, scene.intrinsics)[..., :2].to(body)
        shows = frame.mask & (frame.pix_to_face < self.body.num_hand_faces)
        shown = shows[:, ::ss, ::ss].sum((1, 2))
        total = hand_alone.sum((1, 2)).clamp(min=1)
        occlusion = (1 - shown / total).clamp(0, 1)
        mask = shows.view(-1, size, ss, size, ss).sum((2, 4)) * 2 >= ss * ss
        unoccluded = visible & ~blocked & inside_frame(flat, size)
        states = torch.zeros(len(mask), 21, dtype=torch.int64)
        return Labels(states, visible, unoccluded, mask, occlusion)


@dataclass(frozen=True)
class Scene:
    """Everything solid, the body's vertices and faces first."""

    vertices: Float[Tensor, "B N 3"]
    faces: Int64[Tensor, "F 3"]
    intrinsics: Float[Tensor, "B 3 3"]


@dataclass(frozen=True)
class Labels:
    """What shows."""

    joint_states: Int64[Tensor, "B 21"]
    visible: Bool[Tensor, "B V"]
    unoccluded: Bool[Tensor, "B V"]
    mask: Bool[Tensor, "B H W"]
    occlusion: Float[Tensor, "B"]


def _turned(arm, camera):
    from dataclasses import replace
    from amvur.geometry.rotations import axis_angle_to_matrix

    rotation = axis_angle_to_matrix(camera.global_orient)
    return replace(arm, bend=(rotation @ arm.bend[..., None])[..., 0])


def _frame(scene: Scene, size_px: int, ss: int) -> Raster:
    scaled = scene.intrinsics * scene.intrinsics.new_tensor([[ss], [ss], [1]])
    return rasterize(scene.vertices, scene.faces, scaled, size_px * ss, size_px * ss)


def _pixel_points(frame: Raster, size_px: int, ss: int):
    """Choose what to shade: one sample of an even pixel, every sample of one with an edge in it."""
    b = len(frame.mask)

    def samples(x):
        return x.view(b, size_px, ss, size_px, ss).permute(0, 1, 3, 2, 4).reshape(b * size_px**2, ss * ss)

    ids, z = samples(frame.pix_to_face), samples(frame.zbuf)
    hit = ids >= 0
    even = hit.all(-1) & (z.amax(-1) - z.amin(-1) < 0.005)
    wanted = hit & (~even[:, None] | (torch.arange(ss * ss, device=z.device) == 0))
    pixel, sample = wanted.nonzero(as_tuple=True)
    weight = torch.where(even[pixel], 1.0, 1.0 / ss**2)
    image, rest = pixel // size_px**2, pixel % size_px**2
    y, x = rest // size_px * ss + sample // ss, rest % size_px * ss + sample % ss
    return Points(image, ids[pixel, sample], frame.bary_coords[image, y, x]), weight, pixel


def _vertex_points(corner: Int64[Tensor, "N 2"], count: int, batch: int) -> Points:
    face, place = corner[:count].repeat(batch, 1).unbind(-1)
    image = torch.arange(batch, device=face.device).repeat_interleave(count)
    return Points(image, face, torch.nn.functional.one_hot(place, 3).float())


def _joined(a: Points, b: Points) -> Points:
    return Points(*(torch.cat([getattr(a, f.name), getattr(b, f.name)]) for f in fields(Points)))


def _compose(background, light, weight, pixel):
    flat = background.reshape(-1, 3)
    alpha = torch.zeros(len(flat), device=flat.device).index_add(0, pixel, weight)
    total = torch.zeros_like(flat).index_add(0, pixel, light.clamp(max=4) * weight[:, None])
    return ((1 - alpha)[:, None] * flat + total).view_as(background)


def mirror_some(batch: HandBatch, chosen: Bool[Tensor, "B"]) -> HandBatch:
    """Mirror the chosen pictures with all their labels: right hands become left hands."""
    width = batch.images.shape[2]

    def pick(flipped: Tensor, x: Tensor) -> Tensor:
        return torch.where(chosen.view(-1, *[1] * (x.ndim - 1)), flipped, x)

    def signs(x: Tensor, sign: tuple[float, ...]) -> Tensor:
        return pick(x * x.new_tensor(sign).repeat(x.shape[-1] // 3), x)

    intrinsics, joints_2d = batch.intrinsics.clone(), batch.joints_2d.clone()
    intrinsics[:, 0, 2] = width - intrinsics[:, 0, 2]
    joints_2d[..., 0] = width - joints_2d[..., 0]
    values = {f.name: getattr(batch, f.name) for f in fields(HandBatch)}
    values |= {
        "images": pick(batch.images.flip(2), batch.images),
        "mask": pick(batch.mask.flip(2), batch.mask),
        "intrinsics": pick(intrinsics, batch.intrinsics),
        "joints_2d": pick(joints_2d, batch.joints_2d),
        "is_left": batch.is_left ^ chosen,
    }
    for name in ("vertices", "joints", "transl"):
        values[name] = signs(values[name], (-1.0, 1.0, 1.0))
    for name in ("global_orient", "hand_pose"):
        values[name] = signs(values[name], (1.0, -1.0, -1.0))
    return HandBatch(**values)
