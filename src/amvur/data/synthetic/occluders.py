"""What stands before, inside and beside the hand: turned and boxy things, flat blobs, cloth, a second hand.

Everything is a mesh in the camera's frame (metres), so that occlusion labels need nothing special. A
thing that an image lacks lies behind the camera, where the rasteriser skips it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from amvur.data.synthetic.scene import Body, SceneConfig, stacked
from amvur.data.synthetic.skin import Surface
from amvur.data.synthetic.thing_topology import BLOB_SIDES, RINGS, SIDES, SOLIDS, topology_of
from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.render import srgb_to_linear

GRIP, FRONT, BESIDE, WATCH, BLOB, CLOTH = range(6)
"""The places of things, in the order in which their faces come."""
_GRIP_RADII_M = (0.004, 0.007, 0.010, 0.014, 0.018, 0.023, 0.028, 0.033, 0.039, 0.046)
_FLESH_M = 0.0085
_AWAY_M = -1.0


@dataclass(frozen=True)
class ThingDraws:
    """Shapes and looks of the things in each picture; see `_draw_things` for the columns."""

    on: Bool[Tensor, "B 6"]
    profile: Float[Tensor, "B 4 6"]
    turn: Float[Tensor, "B 4 3"]
    place: Float[Tensor, "B 4 6"]
    look: Float[Tensor, "B 6 12"]
    blob: Float[Tensor, "B 32"]
    cloth: Float[Tensor, "B 6"]


@dataclass(frozen=True)
class Things:
    """Meshes of all things: `slot` tells a face's thing, `uv` (0 to 1) where a vertex's texture is."""

    vertices: Float[Tensor, "B M 3"]
    faces: Int64[Tensor, "G 3"]
    slot: Int64[Tensor, "G"]
    uv: Float[Tensor, "M 2"]


def draw_things(rngs: Sequence[np.random.Generator], config: SceneConfig, like: Tensor) -> ThingDraws:
    """Draw which things there are, their shapes and looks."""
    rows = [_draw_things(rng, config) for rng in rngs]
    on, *others = (stacked([row[i] for row in rows], like) for i in range(7))
    return ThingDraws(on > 0.5, *others)


def _draw_things(rng: np.random.Generator, config: SceneConfig) -> tuple[object, ...]:
    rates = [config.grip_rate, config.occluder_rate, config.occluder_rate * 0.5, config.watch_rate,
             config.blob_rate, config.sleeve_rate]  # fmt: skip
    on = (rng.random(6) < rates).astype(float)
    # A watch's band is the same tube as a sleeve.
    on[CLOTH] = max(on[CLOTH], on[WATCH])
    # Profile: roundness along and across, flatness, waist, neck, bend.
    profile = np.stack([
        np.exp(rng.uniform(np.log(1.6), np.log(14), 4)),
        np.where(rng.random(4) < 0.55, 2.0, np.exp(rng.uniform(np.log(2.5), np.log(12), 4))),
        np.where(rng.random(4) < 0.5, 1.0, rng.uniform(0.3, 1.0, 4)),
        rng.normal(0, 0.16, 4) * (rng.random(4) < 0.5),
        rng.uniform(0, 0.7, 4) * (rng.random(4) < 0.3),
        rng.normal(0, 0.3, 4) * (rng.random(4) < 0.3),
    ], -1)  # fmt: skip
    # Place: radius (m), length/radius, joint aimed at, way towards the camera (m), shift sideways (m).
    place = np.stack([
        np.exp(rng.uniform(np.log(0.008), np.log(0.036), 4)),
        np.exp(rng.uniform(np.log(0.6), np.log(4.0), 4)),
        rng.integers(0, 21, 4),
        rng.uniform(0.02, 0.1, 4),
        rng.normal(0, 0.025, 4),
        rng.normal(0, 0.025, 4),
    ], -1)  # fmt: skip
    look = np.stack([_draw_look(rng) for _ in range(6)])
    if on[WATCH]:
        look[CLOTH, 0] = 3 + rng.random()
        look[CLOTH, 1:7] = np.repeat(rng.uniform(0.02, 0.5, 3)[None], 2, 0).ravel()
    lobes = rng.uniform(0.5, 1.0) + 0.25 * rng.random() * np.convolve(
        rng.normal(size=BLOB_SIDES + 8), np.ones(9) / 3, "valid"
    )
    blob = np.concatenate(
        [np.clip(lobes, 0.25, 2), [rng.integers(0, 21), rng.uniform(0.01, 0.055), *rng.normal(0, 0.03, 2)]]
    )
    cloth = np.array(
        [
            rng.uniform(0.02, 0.75) ** 1.4,
            rng.uniform(0.002, 0.012),
            rng.uniform(0, 0.004),
            *rng.uniform(0, 6, 3),
        ]
    )
    if on[WATCH]:
        cloth[:3] = [rng.uniform(0.05, 0.1), 0.0022, 0.0]
    return on, profile, rng.normal(0, 1, (4, 3)), place, look, blob, cloth


def _draw_look(rng: np.random.Generator) -> np.ndarray:
    """Draw: texture number, two sRGB colors, texture scale and shifts, gloss, shininess."""
    base = (rng.uniform(0.05, 0.95) + rng.normal(0, (0.03, 0.3)[rng.integers(2)], 3)).clip(0.02, 0.98)
    other = (
        rng.uniform(0.02, 0.98, 3) if rng.random() < 0.4 else (base + rng.normal(0, 0.15)).clip(0.02, 0.98)
    )
    gloss = (0.02, 0.12, 0.4)[rng.integers(3)]
    scale, shift = np.exp(rng.uniform(-1.2, 1.2)), rng.uniform(0, 1, 2)
    return np.array([rng.uniform(0, 1000), *base, *other, scale, *shift, gloss, rng.uniform(10, 80)])


def build_things(
    body: Body, vertices: Float[Tensor, "B N 3"], joints: Float[Tensor, "B 21 3"], draws: ThingDraws
) -> Things:
    """Shape and place all things around bodies (`vertices` with forearm, camera frame)."""
    on = draws.on
    places = _shown_places(body, vertices, joints, draws)
    topology = topology_of(
        len(body.rim), len(body.rest) - body.num_hand_vertices, joints.device, joints.dtype
    )
    away = joints.new_tensor([0.0, 0.0, _AWAY_M])
    kept = [
        away.expand(len(on), count, 3)
        if place is None
        else torch.where(on[:, k, None, None] & (place[..., 2:] > 0), place, away)
        for k, (place, count) in enumerate(zip(places, topology.counts, strict=True))
    ]
    return Things(torch.cat(kept, 1), topology.faces, topology.slot, topology.uv)


def _shown_places(
    body: Body, vertices: Float[Tensor, "B N 3"], joints: Float[Tensor, "B 21 3"], draws: ThingDraws
) -> list[Tensor | None]:
    """Shape the things of every place; None for those that no picture shows."""
    shown: list[bool] = draws.on.any(0).tolist()
    places: list[Tensor | None] = [None] * len(shown)
    if any(shown[:SOLIDS]):
        solids = _shape_solids(draws)
        solids = _place_grip(solids, joints, draws)
        solids = _place_before(solids, joints, draws)
        solids = _place_watch(solids, body, vertices, draws)
        places[:SOLIDS] = solids.unbind(1)
    if shown[BLOB]:
        places[BLOB] = _blob(joints, draws)
    if shown[CLOTH]:
        places[CLOTH] = _cloth(body, vertices, draws)
    return places


def _shape_solids(draws: ThingDraws) -> Float[Tensor, "B 4 P 3"]:
    """Turn profiles into meshes of radius 1 and half length 1 around z: balls, cans, boxes, bottles."""
    along, across, flat, waist, neck, bend = draws.profile[..., None, None].unbind(2)
    like = draws.profile
    t = torch.sin(torch.linspace(-torch.pi / 2, torch.pi / 2, RINGS, device=like.device, dtype=like.dtype))[
        :, None
    ]
    angle = torch.arange(SIDES, device=like.device, dtype=like.dtype) * (2 * torch.pi / SIDES)
    cos, sin = angle.cos(), angle.sin()
    radius = (1 - t.abs().clamp(max=1) ** along).clamp(min=0) ** (1 / along)
    radius = radius * (1 + waist * torch.cos(3 * t)) * (1 - neck * ((t - 0.2) / 0.2).clamp(0, 1))
    corner = (cos.abs() ** across + sin.abs() ** across) ** (-1 / across)
    x, y = radius * corner * cos + bend * (t.square() - 0.3), radius * corner * sin * flat
    return torch.stack([x, y, t.expand_as(x)], -1).flatten(2, 3)


def _place_grip(
    solids: Float[Tensor, "B 4 P 3"], joints: Float[Tensor, "B 21 3"], draws: ThingDraws
) -> Float[Tensor, "B 4 P 3"]:
    """Put the first solid into the palm, as thick as the fingers leave room for."""
    across = normalize(joints[:, 5] - joints[:, 17], dim=-1)
    up = normalize(joints[:, 9] - joints[:, 0], dim=-1)
    palmar = normalize(torch.linalg.cross(across, up), dim=-1)
    axis = normalize(across + 0.35 * draws.turn[:, GRIP], dim=-1)
    base = joints[:, [5, 9, 13, 17]].mean(1) - 0.012 * up
    radii = joints.new_tensor(_GRIP_RADII_M)
    centers = base[:, None] + palmar[:, None] * (radii + 0.013)[:, None]
    fingers = torch.cat([joints[:, 2:], (joints[:, 2:] + joints[:, 1:-1]) / 2], 1)
    offset = fingers[:, None] - centers[:, :, None]
    beside = offset - (offset * axis[:, None, None]).sum(-1, keepdim=True) * axis[:, None, None]
    # The palm's own knuckles are met by construction; only curled fingers limit the thickness.
    room = beside.norm(dim=-1).sort(-1).values[..., 1] - _FLESH_M
    fits = (room > radii) & (radii < 1.3 * draws.place[:, GRIP, :1])
    best = (fits * torch.arange(1, len(radii) + 1, device=radii.device)).amax(-1).clamp(min=1) - 1
    radius = radii[best]
    center = centers[torch.arange(len(best), device=best.device), best]
    length = (radius * draws.place[:, GRIP, 1]).clamp(0.02, 0.13) + 0.03
    center = center + axis * (draws.place[:, GRIP, 4, None] * 0.8)
    frame = _frame_of(axis, palmar)
    size = torch.stack([radius, radius, length], -1)
    placed = (solids[:, GRIP] * size[:, None]) @ frame + center[:, None]
    return torch.cat([placed[:, None], solids[:, 1:]], 1)


def _frame_of(axis: Float[Tensor, "B 3"], side: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """Return rows x, y, z with z along `axis` and x near `side`."""
    x = normalize(side - (side * axis).sum(-1, keepdim=True) * axis, dim=-1)
    return torch.stack([x, torch.linalg.cross(axis, x), axis], 1)


def _place_before(
    solids: Float[Tensor, "B 4 P 3"], joints: Float[Tensor, "B 21 3"], draws: ThingDraws
) -> Float[Tensor, "B 4 P 3"]:
    """Put two solids between the camera and a joint, turned anyhow."""
    placed = [solids[:, GRIP]]
    for k in (FRONT, BESIDE):
        radius, stretch, joint, way, dx, dy = draws.place[:, k].T
        frame = axis_angle_to_matrix(draws.turn[:, k])
        length = (radius * stretch).clamp(max=0.16)
        size = torch.stack([radius, radius, length], -1)
        # Far enough not to cut the hand: by the thing's own extent along the line of sight.
        reach = (frame[:, :, 2].abs() * size).norm(dim=-1)
        center = _towards_camera(joints, joint.long(), way + reach, torch.stack([dx, dy], -1))
        placed.append((solids[:, k] * size[:, None]) @ frame + center[:, None])
    return torch.stack([*placed, solids[:, WATCH]], 1)


def _towards_camera(
    joints: Float[Tensor, "B 21 3"],
    joint: Int64[Tensor, "B"],
    way: Float[Tensor, "B"],
    shift: Float[Tensor, "B 2"],
) -> Float[Tensor, "B 3"]:
    point = joints[torch.arange(len(joint), device=joint.device), joint]
    nearest = torch.minimum(point[:, 2], joints[..., 2].amin(1))
    depth = torch.maximum(nearest - way, 0.55 * nearest)
    point = point * (depth / point[:, 2])[:, None]
    return torch.cat([point[:, :2] + shift, point[:, 2:]], -1)


def _place_watch(
    solids: Float[Tensor, "B 4 P 3"], body: Body, vertices: Float[Tensor, "B N 3"], draws: ThingDraws
) -> Float[Tensor, "B 4 P 3"]:
    """Lay a flat case on the back of the wrist, over its band."""
    rings = vertices[:, body.num_hand_vertices :].unflatten(1, (-1, len(body.rim)))
    where = _cloth_start(rings, draws).long()
    ring = rings[torch.arange(len(where), device=where.device), where]
    center = ring.mean(1)
    top = ring[:, body.rest[body.rim][:, 1].argmax()]
    axis = normalize(top - center, dim=-1)
    along = normalize(rings[:, -1].mean(1) - center, dim=-1)
    size = ring.new_tensor([0.017, 0.017, 0.005])
    placed = (solids[:, WATCH].clamp(-1.1, 1.1) * size) @ _frame_of(axis, along) + (top + axis * 0.004)[
        :, None
    ]
    return torch.cat([solids[:, :WATCH], placed[:, None]], 1)


def _blob(joints: Float[Tensor, "B 21 3"], draws: ThingDraws) -> Float[Tensor, "B P 3"]:
    """Return a flat star-shaped patch of one color that faces the camera."""
    lobes, (joint, size, dx, dy) = draws.blob[:, :BLOB_SIDES], draws.blob[:, BLOB_SIDES:].T
    angle = torch.arange(BLOB_SIDES, device=joints.device, dtype=joints.dtype) * (2 * torch.pi / BLOB_SIDES)
    circle = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], -1)
    center = _towards_camera(joints, joint.long(), torch.full_like(size, 0.03), torch.stack([dx, dy], -1))
    rim = circle * (lobes * size[:, None])[..., None] + center[:, None]
    return torch.cat([rim, center[:, None]], 1)


def _cloth_start(rings: Float[Tensor, "B R S 3"], draws: ThingDraws) -> Float[Tensor, "B"]:
    """Return the arm's ring at which the cloth begins, by its distance from the wrist (share of 0.3 m)."""
    way = (rings.mean(2) - rings[:, :1].mean(2)).norm(dim=-1)
    start: Tensor = (way < 0.3 * draws.cloth[:, :1]).sum(-1).clamp(max=rings.shape[1] - 4).to(way)
    return start


def _cloth(body: Body, vertices: Float[Tensor, "B N 3"], draws: ThingDraws) -> Float[Tensor, "B P 3"]:
    """Return a sleeve (or a watch's band) as a wider, folded tube about the arm."""
    rings = vertices[:, body.num_hand_vertices :].unflatten(1, (-1, len(body.rim)))
    center = rings.mean(2, keepdim=True)
    _, thick, fold, a, b, c = draws.cloth.T[..., None, None]
    number = torch.arange(rings.shape[1], device=rings.device, dtype=rings.dtype)[:, None]
    angle = torch.arange(rings.shape[2], device=rings.device, dtype=rings.dtype) * (
        2 * torch.pi / rings.shape[2]
    )
    waves = torch.sin(number * 1.9 + 2 * torch.sin(angle + a) + b) + torch.sin(3 * angle + number * 0.8 + c)
    begin = _cloth_start(rings, draws)[:, None, None]
    # The hem lies closer than the folds behind it.
    grow = thick + fold * waves * ((number - begin) / 3).clamp(0, 1)
    wide = rings + normalize(rings - center, dim=-1) * grow[..., None].clamp(min=0.0015)
    band = draws.on[:, WATCH, None, None]
    used = (number >= begin) & (~band | (number <= begin + 1))
    away = rings.new_tensor([0.0, 0.0, _AWAY_M])
    return torch.where(used[..., None], wide, away).flatten(1, 2)


def thing_surface(
    textures: Float[Tensor, "T 1 P P"],
    draws: ThingDraws,
    image: Int64[Tensor, "S"],
    slot: Int64[Tensor, "S"],
    uv: Float[Tensor, "S 2"],
) -> Surface:
    """Return the surface of thing points: two colors mixed by a texture."""
    look = draws.look[image, slot]
    count, size = textures.shape[0], textures.shape[-1]
    place = ((uv * look[:, 7:8] + look[:, 8:10]) * size).long() % size
    gray = textures[look[:, 0].long() % count, 0, place[:, 1], place[:, 0]]
    first, second = srgb_to_linear(look[:, 1:4]), srgb_to_linear(look[:, 4:7])
    albedo = first + gray[:, None] * (second - first)
    cloth = (slot == CLOTH).to(gray)
    gloss = look[:, 10] * (1 - 0.9 * cloth)
    return Surface(albedo.clamp(0.004, 0.95), gloss, look[:, 11], torch.zeros_like(gray))
