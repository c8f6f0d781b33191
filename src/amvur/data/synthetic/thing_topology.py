"""The faces and texture coordinates of things, the same in every scene: solids, then a blob, then cloth."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

RINGS, SIDES, BLOB_SIDES = 14, 20, 28
"""Vertices of a solid along and around it, and around a blob."""
SOLIDS = 4
"""How many solids there are."""


@dataclass(frozen=True)
class Topology:
    """What all scenes share of their things: faces, slots, texture coordinates, vertices a place."""

    faces: Int64[Tensor, "G 3"]
    slot: Int64[Tensor, "G"]
    uv: Float[Tensor, "M 2"]
    counts: tuple[int, ...]


@functools.lru_cache(maxsize=8)
def topology_of(rim: int, arm: int, device: torch.device, dtype: torch.dtype) -> Topology:
    """Join the places' faces and texture coordinates; the cloth has `arm` vertices in rings of `rim`."""
    faces, uv, slots, first = [], [], [], 0
    for k, (face, coordinates) in enumerate(
        _topologies(rim, arm, torch.empty(0, device=device, dtype=dtype))
    ):
        faces.append(face + first)
        uv.append(coordinates)
        slots.append(torch.full_like(face[:, 0], k))
        first += len(coordinates)
    counts = tuple(len(coordinates) for coordinates in uv)
    return Topology(torch.cat(faces), torch.cat(slots), torch.cat(uv), counts)


def _topologies(r: int, arm: int, like: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return each place's faces and texture coordinates."""
    n = SIDES
    solid = _tube(RINGS, n, like.device)
    u = torch.arange(n, device=like.device).repeat(RINGS) / n
    v = torch.arange(RINGS, device=like.device).repeat_interleave(n) / (RINGS - 1)
    solid_uv = torch.stack([1 - (2 * u - 1).abs(), v], -1).to(like)
    m = BLOB_SIDES
    rim = torch.arange(m, device=like.device)
    blob = torch.stack([torch.full_like(rim, m), rim, (rim + 1) % m], -1)
    blob_uv = torch.zeros(m + 1, 2, device=like.device, dtype=like.dtype)
    rings = arm // r
    cu = torch.arange(r, device=like.device).repeat(rings) / r
    cv = torch.arange(rings, device=like.device).repeat_interleave(r) / rings
    cloth_uv = torch.stack([1 - (2 * cu - 1).abs(), cv], -1).to(like)
    return [(solid, solid_uv)] * SOLIDS + [(blob, blob_uv), (_tube(rings, r, like.device), cloth_uv)]


def _tube(rings: int, sides: int, device: torch.device) -> Int64[Tensor, "F 3"]:
    ring = torch.arange(rings * sides, device=device).view(rings, sides)
    a, b = ring[:-1], ring[1:]
    a2, b2 = a.roll(-1, 1), b.roll(-1, 1)
    return torch.stack([torch.stack([a, a2, b], -1), torch.stack([a2, b2, b], -1)], 2).view(-1, 3)
