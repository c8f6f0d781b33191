"""Procedural skin: what every point of the resting hand looks like, and one person's colors of it.

Patterns are baked once, in rest-pose space, into small triangles within every face (`texels`), finer
than a pixel; a person mixes them. Colors follow the two pigments of skin: melanin and blood.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from amvur.data.synthetic.scene import Body, SceneConfig, stacked
from amvur.data.synthetic.skin_marks import FIELDS, MARKS, bake_fields, bake_marks
from amvur.hand.model import HandModel
from amvur.render import linear_to_srgb, srgb_to_linear

_TEXELS = 8
# Absorption (natural logarithm of linear light) of red, green and blue by a unit of each pigment.
_MELANIN = (0.66, 1.0, 1.25)
_BLOOD = (0.12, 0.55, 0.42)
_PALE = (0.80, 0.62, 0.53)
_VEIN = (0.30, 0.08, 0.02)
_PALM_VARIANTS = 6


@dataclass(frozen=True)
class SkinAtlas:
    """Baked patterns, one row a texel: `MARKS` (0 to 1), then Gaussian `FIELDS` of unit variance."""

    texels: Float[Tensor, "T C"]

    def at(self, face: Int64[Tensor, "S"], bary: Float[Tensor, "S 3"]) -> Float[Tensor, "S C"]:
        """Return the patterns where barycentrics `bary` of faces `face` lie."""
        return self.texels.index_select(0, face * _TEXELS**2 + texel_of(bary))


@dataclass(frozen=True)
class SkinDraws:
    """One person's skin a row; `melanin` runs from 0 (palest) to 1 (darkest).

    `numbers` are strengths in the order of `_STRENGTHS`, `mixes` unit vectors that mix fields,
    `polish` and `glove` sRGB with a fourth number that switches them on; `ring` is the bone that wears
    one (0: none) and its color.
    """

    melanin: Float[Tensor, "B"]
    strengths: Float[Tensor, "B M"]
    mixes: Float[Tensor, "B G 4"]
    palm: Int64[Tensor, "B"]
    polish: Float[Tensor, "B 4"]
    glove: Float[Tensor, "B 4"]
    ring: Float[Tensor, "B 6"]


@dataclass(frozen=True)
class Surface:
    """What light needs to know of points: linear albedo and how strong and sharp their gloss is."""

    albedo: Float[Tensor, "S 3"]
    gloss: Float[Tensor, "S"]
    shininess: Float[Tensor, "S"]
    translucent: Float[Tensor, "S"]


_STRENGTHS = (
    "redness", "crease", "knuckle", "vein", "freckle", "hair", "mottle", "hue", "grain", "gloss",
    "palm_light", "nail_long",
)  # fmt: skip
_GROUPS = ("broad", "middle", "fine", "vein")


# Atlases by what they were baked from: 30 MB each.
_BAKED: dict[tuple[str, str, torch.dtype], SkinAtlas] = {}
_KEPT = 3


def texel_of(bary: Float[Tensor, "S 3"]) -> Int64[Tensor, "S"]:
    """Number the small triangle of a face in which barycentrics lie: n² of them for n steps a side."""
    n = _TEXELS
    steps = (bary * n).long().clamp(0, n - 1)
    i = steps[:, 0]
    j = torch.minimum(steps[:, 1], n - 1 - i)
    down = (steps.sum(-1) < n - 1).long() * (j < n - 1 - i).long()
    return i * (2 * n - i) + 2 * j + down


def _texel_centers() -> Float[Tensor, "T 3"]:
    n, centers = _TEXELS, torch.zeros(_TEXELS**2, 3)
    for i in range(n):
        for j in range(n - i):
            center = torch.tensor([i + 1 / 3, j + 1 / 3])
            centers[i * (2 * n - i) + 2 * j, :2] = center / n
            if j < n - 1 - i:
                centers[i * (2 * n - i) + 2 * j + 1, :2] = (center + 1 / 3) / n
    centers[:, 2] = 1 - centers[:, :2].sum(-1)
    return centers


def bake_skin(model: HandModel, body: Body) -> SkinAtlas:
    """Bake the patterns of a model's skin and forearm (a second or two); the last ones baked are kept."""
    parts = (body.rest, body.faces, model.lbs_weights, model.joint_template, model.pose_axes)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.detach().cpu().numpy().tobytes())
    key = (digest.hexdigest(), str(body.rest.device), body.rest.dtype)
    if key not in _BAKED:
        while len(_BAKED) >= _KEPT:
            _BAKED.pop(next(iter(_BAKED)))
        _BAKED[key] = _bake(model, body)
    return _BAKED[key]


def _bake(model: HandModel, body: Body) -> SkinAtlas:
    centers = _texel_centers().to(body.rest)
    points = torch.einsum("tk,fkc->ftc", centers, body.rest[body.faces]).flatten(0, 1)
    weights = model.lbs_weights.new_zeros(len(body.rest), model.lbs_weights.shape[1])
    weights[: body.num_hand_vertices] = model.lbs_weights
    weights[body.num_hand_vertices :, 0] = 1
    bones = torch.einsum("tk,fkw->ftw", centers, weights[body.faces]).flatten(0, 1)
    marks = bake_marks(model, body, points, bones, centers)
    return SkinAtlas(torch.cat([marks, bake_fields(points)], -1).to(body.rest))


def draw_skins(rngs: Sequence[np.random.Generator], config: SceneConfig, like: Tensor) -> SkinDraws:
    """Draw one person a generator: all skin tones alike, rare polish, rings and gloves."""
    rows = [_draw_skin(rng, config) for rng in rngs]
    melanin, strengths, mixes, palm, polish, glove, ring = (
        stacked([row[i] for row in rows], like) for i in range(7)
    )
    return SkinDraws(melanin, strengths, mixes, palm.long(), polish, glove, ring)


def _draw_skin(rng: np.random.Generator, config: SceneConfig) -> tuple[object, ...]:
    rare = rng.random(3) < [config.polish_rate, config.glove_rate, config.ring_rate]
    strengths = np.array([
        rng.uniform(0.2, 1.0),
        rng.uniform(0.25, 1.0),
        rng.uniform(0.2, 1.0),
        rng.uniform(0, 1) ** 1.5,
        rng.uniform(0.2, 0.8) * (rng.random() < 0.2),
        rng.uniform(0.2, 1.0) * (rng.random() < 0.35),
        rng.uniform(0.2, 1.0),
        rng.normal(0, 1),
        rng.uniform(0.3, 1.0),
        rng.uniform(0.15, 1.0),
        rng.uniform(0.5, 1.0),
        rng.uniform(0, 1),
    ])  # fmt: skip
    mixes = rng.normal(size=(len(_GROUPS), 4))
    mixes /= np.linalg.norm(mixes, axis=-1, keepdims=True)
    polish = [*(rng.uniform(0.05, 0.95, 3) * [1, 0.8, 0.8]), float(rare[0])]
    shade = rng.uniform(0.05, 0.95) if rng.random() < 0.6 else rng.uniform(0.05, 0.95, 3)
    glove = [*(np.ones(3) * shade), float(rare[1])]
    metal = [[0.9, 0.75, 0.4], [0.8, 0.8, 0.82], [0.25, 0.25, 0.27]][rng.integers(3)]
    bone = rng.choice([1, 4, 10, 10, 10, 7, 13]) + (rng.random() < 0.15)
    ring = [float(bone) * float(rare[2]), *metal, rng.uniform(0.3, 0.75), rng.uniform(0.0012, 0.004)]
    return rng.uniform(0, 1), strengths, mixes, rng.integers(_PALM_VARIANTS), polish, glove, ring


def of_image(values: Float[Tensor, "B ..."], image: Int64[Tensor, "S"]) -> Tensor:
    """Return the rows of the points' images; the one row there is (to be broadcast) for a single image."""
    return values if len(values) == 1 else values[image]


def paint(
    atlas: SkinAtlas,
    draws: SkinDraws,
    image: Int64[Tensor, "S"],
    face: Int64[Tensor, "S"],
    bary: Float[Tensor, "S 3"],
) -> Surface:
    """Return the surface of body points: faces of the body and barycentrics in picture `image`."""
    rows = atlas.at(face, bary)
    palm = draws.palm[image] + len(MARKS) - _PALM_VARIANTS
    columns = rows.T.contiguous()
    mark = dict(zip(MARKS, columns[: len(MARKS)], strict=True))
    fields = columns[len(MARKS) :].unflatten(0, (len(FIELDS), 4))
    mixes = of_image(draws.mixes, image).permute(1, 2, 0)
    level = dict(zip(_GROUPS, (fields * mixes).sum(1), strict=True))
    strength = dict(zip(_STRENGTHS, of_image(draws.strengths, image).unbind(-1), strict=True))
    mark["lines"] = rows.gather(1, palm[:, None])[:, 0]
    log_albedo = _pigments(mark, level, strength, of_image(draws.melanin, image))
    albedo = torch.exp(log_albedo).clamp(0.004, 0.95)
    rough = 0.6 + 0.3 * level["fine"].tanh()
    gloss = 0.10 * strength["gloss"] * rough * (1 - 0.6 * mark["crease"])
    surface = Surface(
        albedo, gloss, (14 + 22 * strength["gloss"]).expand_as(gloss), torch.full_like(gloss, 1.0)
    )
    surface = _nails(surface, mark, strength, draws, image)
    return _wear(surface, mark, level, draws, image)


def _pigments(
    mark: dict[str, Tensor], level: dict[str, Tensor], strength: dict[str, Tensor], melanin: Tensor
) -> Float[Tensor, "S 3"]:
    """Return the logarithm of the skin's linear albedo from its melanin, blood, veins and hairs."""
    like = melanin
    palm = mark["palm"] * strength["palm_light"]
    freckle = (
        strength["freckle"]
        * ((level["fine"] + 0.4 * level["middle"] - 1.5) * 2).clamp(0, 1)
        * (1 - mark["palm"])
    )
    uneven = 1 + 0.16 * strength["mottle"] * (0.5 * level["broad"] + 0.15 * level["middle"])
    amount = 0.06 + 2.7 * melanin**1.35
    amount = amount * (1 - 0.62 * palm * (melanin + 0.15).clamp(max=1)) * uneven.clamp(0.5, 1.6)
    amount = amount * (1 + (0.35 + 0.5 * melanin) * strength["knuckle"] * mark["knuckle"])
    lines = torch.maximum(mark["crease"], mark["lines"])
    dark = strength["crease"] * lines + 0.55 * strength["knuckle"] * mark["wrinkle"]
    amount = amount + 0.35 * freckle + dark * (0.12 + 0.45 * melanin)
    amount = amount + strength["hair"] * (0.9 + 0.6 * melanin) * mark["hair"]
    red = 0.75 * mark["tip"] + 0.7 * mark["knuckle"] + 0.35 * palm
    blood = 0.35 + 0.12 * strength["hue"] + strength["redness"] * red
    blood = blood + strength["mottle"] * (
        0.2 * level["middle"] + 0.14 * level["broad"] + 0.16 * palm * level["fine"]
    )
    blood = blood.clamp(min=0) + 0.9 * dark * (1 - 0.5 * melanin)
    vein = torch.exp(-((level["vein"] / 0.22) ** 2)) * strength["vein"] * mark["vein"] * (1 - 0.6 * melanin)
    grain = 0.05 * strength["grain"] * level["fine"]
    absorbed = amount[:, None] * like.new_tensor(_MELANIN) + blood[:, None] * like.new_tensor(_BLOOD)
    absorbed = absorbed + vein[:, None] * like.new_tensor(_VEIN) + grain[:, None]
    return like.new_tensor(_PALE).log() - absorbed + 0.14


def _nails(
    surface: Surface, mark: dict[str, Tensor], strength: dict[str, Tensor], draws: SkinDraws, image: Tensor
) -> Surface:
    """Lay nails over the skin: pink plate, pale half-moon and free edge, dark fold; or polish."""
    nail = mark["nail"][:, None]
    plate = (surface.albedo * 1.12 + 0.04) * surface.albedo.new_tensor([1.05, 0.95, 0.95])
    tint = (mark["nail_pale"] * (0.35 + 0.65 * strength["nail_long"]))[:, None]
    plate = plate + 0.55 * tint * (surface.albedo.new_tensor([0.75, 0.68, 0.6]) - plate)
    polish = of_image(draws.polish, image)
    plate = torch.where(polish[:, 3:] > 0.5, srgb_to_linear(polish[:, :3]), plate)
    albedo = surface.albedo + nail * (plate - surface.albedo)
    albedo = albedo * (1 - 0.45 * mark["nail_fold"][:, None])
    gloss = surface.gloss + mark["nail"] * (0.22 + 0.25 * polish[:, 3] - surface.gloss)
    shininess = surface.shininess + mark["nail"] * (60 - surface.shininess)
    return Surface(albedo, gloss, shininess, surface.translucent * (1 - 0.6 * mark["nail"] * polish[:, 3]))


def _wear(
    surface: Surface, mark: dict[str, Tensor], level: dict[str, Tensor], draws: SkinDraws, image: Tensor
) -> Surface:
    """Put on a ring and a thin glove, where drawn."""
    ring, glove = of_image(draws.ring, image), of_image(draws.glove, image)
    # `phalanx` is the bone's number plus the share of its length.
    place = mark["phalanx"] - ring[:, 0]
    near = (place - ring[:, 4]).abs() * 0.04
    on = ((ring[:, 5] / 2 - near) / 0.0004).clamp(0, 1) * (ring[:, 0] > 0).to(near)
    on = on * ((place > 0) & (place < 1)).to(near)
    edge = (1 - near / ring[:, 5].clamp(min=1e-4) * 2).clamp(0, 1)
    metal = srgb_to_linear(ring[:, 1:4]) * (0.35 + 0.65 * edge)[:, None]
    albedo = surface.albedo + on[:, None] * (metal - surface.albedo)
    covered = glove[:, 3] * mark["glove"]
    cloth = (
        srgb_to_linear(glove[:, :3])
        * (1 + 0.12 * level["fine"] + 0.08 * level["middle"]).clamp(0.4, 1.6)[:, None]
    )
    albedo = albedo + covered[:, None] * (cloth - albedo)
    gloss = surface.gloss * (1 - covered) + 0.03 * covered + 0.5 * on
    shininess = surface.shininess + on * (40 - surface.shininess)
    return Surface(albedo, gloss, shininess, surface.translucent * (1 - covered) * (1 - on))


def skin_tone(draws: SkinDraws) -> Float[Tensor, "B"]:
    """Return the melanin level, 0 (palest) to 1 (darkest): `HandBatch.skin_tone`."""
    return draws.melanin


def person_color(draws: SkinDraws) -> Float[Tensor, "B 3"]:
    """Return the plain skin's sRGB: for distractors in the background and the like."""
    amount = (0.06 + 2.7 * draws.melanin**1.35)[:, None]
    like = draws.melanin
    absorbed = amount * like.new_tensor(_MELANIN) + 0.4 * like.new_tensor(_BLOOD)
    return linear_to_srgb(torch.exp(like.new_tensor(_PALE).log() - absorbed).clamp(0.004, 0.95))
