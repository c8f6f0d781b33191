"""Renders hands into pictures with exact labels: the scene put together, lit, photographed, labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from amvur.data.samples import HandBatch, concatenate
from amvur.data.synthetic.assembly import (
    Looks,
    Scene,
    compose,
    join_scene,
    joined,
    pixel_points,
    raster_scene,
    shade_scene,
    shadow_on_wall,
    vertex_points,
)
from amvur.data.synthetic.background import (
    PhotoFolder,
    draw_backgrounds,
    make_bank,
    mix_spectra,
    paint_backgrounds,
)
from amvur.data.synthetic.effects import (
    CameraEffects,
    SensorNoise,
    blur,
    draw_effects,
    jpeg,
    to_bytes,
    tone,
    vignette,
)
from amvur.data.synthetic.labels import label_scene, mirror_some
from amvur.data.synthetic.lighting import draw_lights, make_spheres
from amvur.data.synthetic.occluders import ThingDraws, Things, build_things, draw_things
from amvur.data.synthetic.occlusion_target import CoarseView, coarse_view, settings_for_target, settle
from amvur.data.synthetic.scene import (
    CameraDraws,
    SceneConfig,
    draw_arms,
    draw_cameras,
    make_body,
    stacked,
    streams,
)
from amvur.data.synthetic.second_hand import place_second_hand
from amvur.data.synthetic.skin import bake_skin, draw_skins, person_color, skin_tone
from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.hand.model import HandMesh, HandModel
from amvur.render import linear_to_srgb, srgb_to_linear

_VIEW, _ARM, _SKIN, _LIGHT, _BACKGROUND, _CAMERA, _THINGS, _PHOTO, _SECOND, _SPECTRUM, _WALL = range(11)


@dataclass(frozen=True)
class Stage:
    """One chunk's hands, placed: the hand's mesh, its camera, all solid things and how things look."""

    mesh: HandMesh
    camera: CameraDraws
    scene: Scene
    things: ThingDraws


class SceneRenderer:
    """Turns hand parameters into labelled pictures, the same for the same (seed, index).

    Every draw comes from its own generator of seed, index and purpose, so batches do not matter.
    """

    def __init__(
        self,
        model: HandModel,
        size_px: int = 224,
        config: SceneConfig = SceneConfig(),  # noqa: B008
        backgrounds: Sequence[Path] = (),
    ) -> None:
        """Bake what all pictures share (a few seconds). `model` is a right hand, on the device to use."""
        self.model, self.size_px, self.config = model, size_px, settings_for_target(config)
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
        """Render one picture for every index; parameters are a right hand's, labels of the hand shown."""
        numbers = indices.cpu()
        on_cpu = self.model.v_template.device.type == "cpu"
        chunk = self.config.chunk or (1 if on_cpu else 32)
        parts = [
            self._render(seed, *(x[i : i + chunk] for x in (numbers, betas, hand_pose)))
            for i in range(0, len(numbers), chunk)
        ]
        return concatenate(parts)

    def _render(
        self,
        seed: int,
        numbers: Int64[Tensor, "B"],
        betas: Float[Tensor, "B 10"],
        hand_pose: Float[Tensor, "B 45"],
    ) -> HandBatch:
        like, ss = self.model.v_template, self.config.supersampling
        betas, hand_pose, indices = betas.to(like), hand_pose.to(like), numbers.to(like.device)
        stage = self._stage(seed, numbers, betas, hand_pose)
        frame = raster_scene(stage.scene, self.size_px, ss)
        skin = draw_skins(streams(seed, numbers, _SKIN), self.config, like)
        background = srgb_to_linear(self._background(seed, numbers, person_color(skin), _BACKGROUND))
        lights = draw_lights(streams(seed, numbers, _LIGHT), self.config, background)
        looks = Looks(self.atlas, self.bank.gray, self.spheres, skin, stage.things, lights)
        points, weight, pixel = pixel_points(frame, self.size_px, ss)
        everything = joined(points, vertex_points(self.body, len(indices)))
        surface, light, shadows = shade_scene(stage.scene, stage.mesh, looks, everything)
        wall = self._wall(seed, numbers)
        deepest = stage.mesh.vertices[..., 2].amax(1)
        background = shadow_on_wall(background, shadows, lights, stage.camera.intrinsics, wall, deepest)
        picture = compose(background, light[: len(pixel)], weight, pixel)
        effects = draw_effects(streams(seed, numbers, _CAMERA), self.config, like)
        images = self._photograph(seed, numbers, picture, effects, person_color(skin))
        per_vertex = (len(indices), -1, 3)
        labels = label_scene(stage.scene, self.body, stage.mesh, frame, self.size_px, ss)
        batch = HandBatch(
            images=images,
            vertices=stage.mesh.vertices,
            joints=stage.mesh.joints,
            intrinsics=stage.camera.intrinsics,
            global_orient=stage.camera.global_orient,
            transl=stage.camera.transl,
            hand_pose=hand_pose,
            betas=betas,
            vertex_albedo=linear_to_srgb(surface.albedo[len(pixel) :].view(per_vertex)),
            vertex_colors=tone(light[len(pixel) :].view(per_vertex), effects),
            is_left=torch.zeros_like(indices, dtype=torch.bool),
            skin_tone=skin_tone(skin),
            index=indices,
            **vars(labels),
        )
        return mirror_some(batch, stage.camera.is_left)

    def _stage(
        self,
        seed: int,
        numbers: Int64[Tensor, "B"],
        betas: Float[Tensor, "B 10"],
        hand_pose: Float[Tensor, "B 45"],
    ) -> Stage:
        """Pose the hand, look at it, and put everything else around it."""
        like = self.model.v_template
        own = self.model(torch.zeros_like(betas[:, :3]), hand_pose, betas)
        arm = draw_arms(streams(seed, numbers, _ARM), self.config, like)
        grown = self.body.attach(own.vertices, own.joints, arm)
        # The forearm's middle ring: behind it the way is drawn in the camera's frame.
        halfway = self.body.num_hand_vertices + (len(self.body.rest) - self.body.num_hand_vertices) // 3
        forearm = normalize(grown[:, halfway] - own.joints[:, 0], dim=-1)
        camera = draw_cameras(streams(seed, numbers, _VIEW), self.config, self.size_px, own.vertices, forearm)
        mesh = self.model(camera.global_orient, hand_pose, betas, camera.transl)
        body = self.body.attach(
            mesh.vertices, mesh.joints, arm.turned(axis_angle_to_matrix(camera.global_orient))
        )
        draws = draw_things(streams(seed, numbers, _THINGS), self.config, like)

        def build(some: ThingDraws) -> Things:
            return build_things(self.body, body, mesh.joints, some)

        def look() -> CoarseView:
            return coarse_view(self.body, body, camera.intrinsics, self.size_px)

        draws = settle(draws, build, look, self.config.target_occlusion)
        things = build(draws)
        rngs = streams(seed, numbers, _SECOND)
        second = place_second_hand(rngs, self.config, self.model, self.body, betas, mesh.joints)
        scene = join_scene(self.body, body, second, things, draws.on.any(0), camera.intrinsics)
        return Stage(mesh, camera, scene, draws)

    def _background(
        self, seed: int, numbers: Int64[Tensor, "B"], skin: Float[Tensor, "B 3"], stream: int
    ) -> Float[Tensor, "B H W 3"]:
        """Return backgrounds in sRGB: painted, or crops of the user's pictures."""
        rngs = streams(seed, numbers, stream)
        picture = paint_backgrounds(self.bank, draw_backgrounds(rngs, skin), self.size_px)
        if self.photos.paths:
            for i, rng in enumerate(rngs):
                if rng.random() < self.config.photo_rate:
                    picture[i] = self.photos.crop(rng, self.size_px).to(picture)
        return picture

    def _wall(self, seed: int, numbers: Int64[Tensor, "B"]) -> Float[Tensor, "B"]:
        """Draw how far behind the hand there is a wall or table that takes its shadow (0: none)."""
        rows = [
            float(rng.random() < self.config.wall_shadow_rate)
            * np.exp(rng.uniform(np.log(0.005), np.log(0.15)))
            for rng in streams(seed, numbers, _WALL)
        ]
        return stacked(rows, self.model.v_template)

    def _photograph(
        self,
        seed: int,
        numbers: Int64[Tensor, "B"],
        linear: Float[Tensor, "B H W 3"],
        effects: CameraEffects,
        skin: Float[Tensor, "B 3"],
    ) -> Tensor:
        """Turn light into a picture: lens, tone, spectrum of another scene, sensor, compression; bytes."""
        light = vignette(blur(linear, effects), effects)
        picture = tone(light.flatten(1, 2), effects).view_as(light)
        rngs = streams(seed, numbers, _SPECTRUM)
        share = [rng.uniform(0.1, 0.55) * (rng.random() < self.config.spectrum_rate) for rng in rngs]
        mixed = [i for i, value in enumerate(share) if value > 0]
        if mixed:
            other = self._background(seed, numbers[mixed], skin[mixed], _SPECTRUM)
            picture[mixed] = mix_spectra(picture[mixed], other, stacked(share, skin)[mixed])
        return to_bytes(jpeg(self.noise.add(picture, effects), effects.quality))
