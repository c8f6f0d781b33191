"""Light: one to five lamps, surroundings colored like the background, shadows, occlusion of the sky.

Everything is in linear light and in the camera's frame (OpenCV axes, metres).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from amvur.data.synthetic.scene import SceneConfig, stacked
from amvur.data.synthetic.skin import Surface, of_image
from amvur.hand.joints import JOINT_PARENTS
from amvur.hand.model import HandModel
from amvur.render import rasterize, vertex_normals

_MAX_LIGHTS = 5
_SHADOW_PX = 160
_SHADOW_DISTANCE_M = 4.0
_SHADOW_REACH_M = 0.21
_BIAS_M = 0.003
_TAPS = ((-0.6, -0.8), (0.9, -0.35), (0.25, 0.95), (-0.95, 0.4), (0.1, 0.05))
# How far light seeps past the edge of a shadow in living skin: most for red.
_WRAP = (0.28, 0.12, 0.08)


@dataclass(frozen=True)
class LightDraws:
    """Lamps (directions to them, colors; black ones are off) and the surroundings' light.

    `surround` are coefficients of 1, x, y, z, xy, yz, zx of the normal. `shadow` is the first lamp's
    shadow (0 none, 1 full), `softness` its blur in shadow-map pixels, `exposure` a factor.
    """

    directions: Float[Tensor, "B 5 3"]
    colors: Float[Tensor, "B 5 3"]
    surround: Float[Tensor, "B 7 3"]
    shadow: Float[Tensor, "B"]
    softness: Float[Tensor, "B"]
    exposure: Float[Tensor, "B"]


@dataclass(frozen=True)
class ShadowMap:
    """The scene's depths seen from the first lamp; `frame` rows are the lamp's axes."""

    depth: Float[Tensor, "B S S"]
    frame: Float[Tensor, "B 3 3"]
    center: Float[Tensor, "B 3"]


def draw_lights(
    rngs: Sequence[np.random.Generator], config: SceneConfig, background: Float[Tensor, "B H W 3"]
) -> LightDraws:
    """Draw lamps and take the surroundings from a background picture (linear light)."""
    rows = [_draw_lamps(rng, config) for rng in rngs]
    directions, colors, extra, share, shadow, softness, exposure = (
        stacked([row[i] for row in rows], background) for i in range(7)
    )
    surround, mean = _surroundings(background, extra)
    # Lamps share the background's tint in part, the rest is their own.
    tint = mean / mean.mean(-1, keepdim=True).clamp(min=0.02)
    tint = 1 + 0.3 * (tint.clamp(0.5, 1.7) - 1)
    lamps = colors * tint[:, None] * (1 - share)[:, None, None]
    ambient = surround * share[:, None, None]
    return LightDraws(normalize(directions, dim=-1), lamps, ambient, shadow, softness, exposure)


def _draw_lamps(rng: np.random.Generator, config: SceneConfig) -> tuple[object, ...]:
    count = 1 + rng.choice(_MAX_LIGHTS, p=[0.3, 0.3, 0.2, 0.12, 0.08])
    directions = rng.normal((0, -0.6, -0.5), 1, (_MAX_LIGHTS, 3))
    # The first lamp seldom stands behind the hand.
    directions[0, 2] = directions[0, 2] if rng.random() < 0.12 else -abs(directions[0, 2])
    power = rng.uniform(0.15, 0.6, _MAX_LIGHTS) * (np.arange(_MAX_LIGHTS) < count)
    power[0] = rng.uniform(0.7, 1.0)
    power *= rng.uniform(1.2, 2.1) / power.sum()
    warmth = rng.normal(0, 0.14, (_MAX_LIGHTS, 1)) * np.array([1.0, 0.1, -1.2])
    colors = power[:, None] * np.exp(warmth + rng.normal(0, 0.05, (_MAX_LIGHTS, 3)))
    share = rng.uniform(0.3, 0.8)
    shadow = float(rng.random() < config.shadow_rate) * rng.uniform(0.6, 1.0)
    extra = rng.normal(0, 0.16, (6, 3)) * [0.3, 0.3, 0.3] + rng.normal(0, 0.16, (6, 1))
    extra[1] -= 0.18
    return directions, colors, extra, share, shadow, rng.uniform(0.8, 4.0), np.exp(rng.normal(0, 0.28))


def _surroundings(
    background: Float[Tensor, "B H W 3"], extra: Float[Tensor, "B 6 3"]
) -> tuple[Float[Tensor, "B 7 3"], Float[Tensor, "B 3"]]:
    """Return the light from all around and the background's mean color."""
    height, width = background.shape[1:3]
    mean = background.mean((1, 2))
    level = mean.mean(-1, keepdim=True).clamp(min=0.05)
    right = background[:, :, width // 2 :].mean((1, 2)) - background[:, :, : width // 2].mean((1, 2))
    down = background[:, height // 2 :].mean((1, 2)) - background[:, : height // 2].mean((1, 2))
    color = mean / level
    # Grey in part, as no background fills the whole room.
    base = 0.6 + 0.4 * color.clamp(max=2.0)
    linear = torch.stack([0.4 * right / level, 0.4 * down / level, torch.zeros_like(right)], 1)
    terms = torch.cat([linear, torch.zeros_like(linear)], 1) + extra * base[:, None]
    return torch.cat([base[:, None], terms.clamp(-0.6, 0.6)], 1), mean


@dataclass(frozen=True)
class FleshSpheres:
    """Balls that fill the hand, mixed from joints, and the sky they hide from resting vertices."""

    mix: Float[Tensor, "K 21"]
    radius: Float[Tensor, "K"]
    rest_hidden: Float[Tensor, "V K"]

    def openness(
        self,
        vertices: Float[Tensor, "B V 3"],
        normals: Float[Tensor, "B V 3"],
        joints: Float[Tensor, "B 21 3"],
    ) -> Float[Tensor, "B V"]:
        """Return the share of the sky (0 to 1) that the pose leaves open to each hand vertex."""
        hidden = _hidden_by(vertices, normals, self.mix @ joints, self.radius)
        return torch.exp(-1.1 * (hidden - self.rest_hidden).clamp(min=0).sum(-1))


def make_spheres(model: HandModel) -> FleshSpheres:
    """Fill the resting hand with balls along its bones; palms get more."""
    rows: list[Tensor] = []
    for joint in range(1, 21):
        # Three balls a finger segment, four a metacarpal.
        for share in (0.2, 0.5, 0.8) if JOINT_PARENTS[joint] else (0.15, 0.4, 0.65, 0.9):
            row = torch.zeros(21)
            row[JOINT_PARENTS[joint]], row[joint] = 1 - share, share
            rows.append(row)
    mix = torch.stack(rows).to(model.v_template)
    centers = mix @ model.joint_template
    radii = torch.cdist(centers, model.v_template).amin(-1) * 1.05
    normals = vertex_normals(model.v_template[None], model.faces)
    hidden = _hidden_by(model.v_template[None], normals, centers[None], radii)[0]
    return FleshSpheres(mix, radii, hidden)


def _hidden_by(
    points: Float[Tensor, "B V 3"],
    normals: Float[Tensor, "B V 3"],
    centers: Float[Tensor, "B K 3"],
    radius: Float[Tensor, "K"],
) -> Float[Tensor, "B V K"]:
    """Return the cosine-weighted share of the sky behind each ball (as if it stood free)."""
    x, y, z = (centers[:, None, :, k] - points[:, :, None, k] for k in range(3))
    square = (x * x + y * y + z * z).clamp(min=1e-8)
    facing = x * normals[..., :1] + y * normals[..., 1:2] + z * normals[..., 2:]
    facing = facing * square.rsqrt()
    return (0.15 + facing).clamp(0, 1) * (radius**2 / square).clamp(max=1)


def cast_shadows(
    vertices: Float[Tensor, "B N 3"],
    faces: Int64[Tensor, "F 3"],
    center: Float[Tensor, "B 3"],
    lights: LightDraws,
) -> ShadowMap:
    """Rasterise the scene from far away along the first lamp's direction, around `center`.

    Where no picture has a shadow, nothing is rasterised.
    """
    forward = -lights.directions[:, 0]
    steep = forward[:, 1:2].abs() > 0.9
    helper = torch.where(steep, forward.new_tensor([1.0, 0, 0]), forward.new_tensor([0, 1.0, 0]))
    right = normalize(torch.linalg.cross(helper, forward), dim=-1)
    frame = torch.stack([right, torch.linalg.cross(forward, right), forward], 1)
    if not bool(lights.shadow.any()):
        return ShadowMap(forward.new_full((len(center), _SHADOW_PX, _SHADOW_PX), 1e3), frame, center)
    seen = (vertices - center[:, None]) @ frame.mT
    seen = seen + seen.new_tensor([0, 0, _SHADOW_DISTANCE_M])
    focal = 0.5 * _SHADOW_PX * _SHADOW_DISTANCE_M / _SHADOW_REACH_M
    half = _SHADOW_PX / 2
    intrinsics = seen.new_tensor([[focal, 0, half], [0, focal, half], [0, 0, 1]]).expand(len(seen), 3, 3)
    raster = rasterize(seen, faces, intrinsics, _SHADOW_PX, _SHADOW_PX)
    depth = torch.where(raster.mask, raster.zbuf, torch.full_like(raster.zbuf, 1e3))
    return ShadowMap(depth, frame, center)


def lit_share(
    shadows: ShadowMap,
    lights: LightDraws,
    image: Int64[Tensor, "S"],
    points: Float[Tensor, "S 3"],
    bias_m: float = _BIAS_M,
) -> Float[Tensor, "S"]:
    """Return how much of the first lamp reaches points (0 to 1), with a soft edge."""
    if not bool(lights.shadow.any()):
        return torch.ones_like(points[:, 0])
    x, y, z = (points - of_image(shadows.center, image)).unbind(-1)
    rows = of_image(shadows.frame, image)
    a, b, z = (rows[:, k, 0] * x + rows[:, k, 1] * y + rows[:, k, 2] * z for k in range(3))
    z = z + _SHADOW_DISTANCE_M
    focal = 0.5 * _SHADOW_PX * _SHADOW_DISTANCE_M / _SHADOW_REACH_M
    u = a / z * focal + _SHADOW_PX / 2
    v = b / z * focal + _SHADOW_PX / 2
    depth, base, soft = shadows.depth.flatten(), image * _SHADOW_PX**2, of_image(lights.softness, image)
    z = z - bias_m
    lit = torch.zeros_like(z)
    for du, dv in _TAPS:
        x = (u + du * soft).long().clamp(0, _SHADOW_PX - 1)
        y = (v + dv * soft).long().clamp(0, _SHADOW_PX - 1)
        margin = z - depth.index_select(0, base + y * _SHADOW_PX + x)
        lit += 1 - (margin * (1 / 0.003)).clamp(0, 1)
    return 1 - of_image(lights.shadow, image) * (1 - lit / len(_TAPS))


def shade_points(
    surface: Surface,
    points: Float[Tensor, "S 3"],
    normals: Float[Tensor, "S 3"],
    openness: Float[Tensor, "S"],
    lit: Float[Tensor, "S"],
    lights: LightDraws,
    image: Int64[Tensor, "S"],
) -> Float[Tensor, "S 3"]:
    """Return the linear light that points send to the camera: sky, lamps, skin's seeping, gloss."""
    # Colors are rows and directions columns: sums over three numbers of a row are slow.
    x, y, z = normals.T.contiguous()
    terms = of_image(lights.surround, image).permute(1, 2, 0)
    sky = terms[0]
    for k, factor in enumerate((x, y, z, x * y, y * z, z * x), start=1):
        sky = sky + terms[k] * factor
    sky = sky.clamp(min=0.02) * openness
    to_view = -points.T.contiguous()
    p, q, r = to_view * (to_view.square().sum(0)).clamp(min=1e-24).rsqrt()
    wrap = surface.translucent * points.new_tensor(_WRAP)[:, None]
    scale, seep = (1 + wrap).square().reciprocal(), 1 - 0.8 * wrap
    albedo = surface.albedo.T.contiguous()
    rim = (1 - (x * p + y * q + z * r).clamp(0, 1)).square().square()
    diffuse, shine = sky, sky * (0.35 * surface.gloss * rim)
    strength = surface.gloss * (surface.shininess + 8) / 12
    for k in range(_MAX_LIGHTS):
        color = lights.colors[:, k]
        if not bool((color > 0).any()):
            continue
        (a, b, c), color = of_image(lights.directions[:, k], image).T, of_image(color, image).T
        share = lit if k == 0 else 0.35 + 0.65 * openness
        cosine = x * a + y * b + z * c
        # Seeping light also softens cast shadows, red first.
        reach = ((cosine + wrap) * scale).clamp_(min=0) * share**seep
        u, v, w = p + a, q + b, r + c
        half = (x * u + y * v + z * w) * (u * u + v * v + w * w).clamp(min=1e-24).rsqrt()
        spark = strength * half.clamp(min=1e-4) ** surface.shininess
        diffuse = diffuse + color * reach
        shine = shine + color * (spark * cosine.clamp(0, 1) * share)
    light: Tensor = ((albedo * diffuse + shine) * of_image(lights.exposure, image)).T.contiguous()
    return light
