"""Brings how much of the hand is hidden into a wanted range, by a bounded search over what hides it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from amvur.data.synthetic.occluders import BESIDE, BLOB, FRONT, GRIP, ThingDraws, Things
from amvur.data.synthetic.scene import Body, Range, SceneConfig
from amvur.render import Raster, rasterize

_COARSE_PX = 64
_PAD_PX = 32
_ROUNDS = 9
_ALWAYS: Range = (0.0, 0.8)
_SIZES_M = (0.006, 0.11)


@dataclass(frozen=True)
class CoarseView:
    """The body alone in a small picture with a margin: its hand, depths, and what lies in the frame."""

    raster: Raster
    hand: Bool[Tensor, "B H W"]
    inside: Bool[Tensor, "H W"]
    intrinsics: Float[Tensor, "B 3 3"]

    def hidden(self, things: Things) -> Float[Tensor, "B"]:
        """Return the share of the hand that things and the frame hide."""
        size = self.inside.shape[0]
        over = rasterize(things.vertices, things.faces, self.intrinsics, size, size)
        free = ~over.mask | (over.zbuf > self.raster.zbuf)
        return 1 - (self.hand & free & self.inside).sum((1, 2)) / self.hand.sum((1, 2)).clamp(min=1)


def coarse_view(
    body: Body, vertices: Float[Tensor, "B N 3"], intrinsics: Float[Tensor, "B 3 3"], size_px: int
) -> CoarseView:
    """Rasterise the body alone in a small picture."""
    scale = _COARSE_PX / size_px
    small = intrinsics * intrinsics.new_tensor([[scale], [scale], [1]])
    small[:, :2, 2] += _PAD_PX
    size = _COARSE_PX + 2 * _PAD_PX
    raster = rasterize(vertices, body.faces, small, size, size)
    inside = torch.zeros(size, size, dtype=torch.bool, device=vertices.device)
    inside[_PAD_PX:-_PAD_PX, _PAD_PX:-_PAD_PX] = True
    return CoarseView(raster, raster.mask & (raster.pix_to_face < body.num_hand_faces), inside, small)


def settings_for_target(config: SceneConfig) -> SceneConfig:
    """Return settings that leave the search free: no second hand; a whole hand where little may be hidden."""
    if config.target_occlusion is None:
        return config
    high = config.target_occlusion[1]
    config = replace(config, second_hand_rate=0.0)
    if high > 0.2:
        return config
    low_scale = max(config.crop_scale[0], 1.05)
    scale = (low_scale, max(config.crop_scale[1], low_scale))
    return replace(config, crop_scale=scale, crop_shift=min(config.crop_shift, 0.03 + 0.2 * high))


def settle(
    draws: ThingDraws,
    build: Callable[[ThingDraws], Things],
    look: Callable[[], CoarseView],
    target: Range | None,
) -> ThingDraws:
    """Take things away where too much is hidden, enlarge one before the hand where too little is.

    At most nine rounds; the last draws are returned even where the range was not met. `look` is asked
    for the body's coarse view only where it matters.
    """
    low, high = target or _ALWAYS
    if target is None and not bool(draws.on[:, [FRONT, BESIDE, BLOB]].any()):
        return draws
    view = look()
    small = torch.full_like(draws.blob[:, 0], _SIZES_M[0])
    large = torch.full_like(small, _SIZES_M[1])
    growing = torch.zeros_like(small, dtype=torch.bool)
    for attempt in range(_ROUNDS):
        hidden = view.hidden(build(draws))
        more, less = hidden < low, hidden > high
        if not bool((more | less).any()):
            break
        size = draws.place[:, FRONT, 0]
        small = torch.where(growing & more, size, small)
        large = torch.where(growing & less, size, large)
        shrink = less & ~growing
        growing = growing | more
        draws = _without(draws, shrink, (BLOB, BESIDE, FRONT, GRIP)[min(attempt, 3)])
        draws = _sized(draws, growing & (more | less), (small * large).sqrt())
    return draws


def _without(draws: ThingDraws, chosen: Bool[Tensor, "B"], thing: int) -> ThingDraws:
    on = draws.on.clone()
    on[:, thing] &= ~chosen
    return replace(draws, on=on)


def _sized(draws: ThingDraws, chosen: Bool[Tensor, "B"], size: Float[Tensor, "B"]) -> ThingDraws:
    """Show the thing before the hand, of a given radius (m), aimed at the middle of the hand."""
    on, place = draws.on.clone(), draws.place.clone()
    on[:, FRONT] |= chosen
    place[:, FRONT, 0] = torch.where(chosen, size, place[:, FRONT, 0])
    place[:, FRONT, 4:] = torch.where(
        chosen[:, None], place[:, FRONT, 4:].clamp(-0.02, 0.02), place[:, FRONT, 4:]
    )
    return replace(draws, on=on, place=place)
