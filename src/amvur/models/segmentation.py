"""Which pixels of a crop show the hand that a mesh lies about, and which it covers: a small decoder on frozen
feature maps.

Where the mesh ends is known to some pixels only, objects may lie before it, and what is beside it may have
the color of skin. The decoder weighs the mesh's outline, with its stated deviation, against what a frozen
network of hands and the colors say: a feature pyramid, coarse to fine, whose last step looks at every pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from amvur.settings import from_json

_HINTS = 10
_LIKE_SKIN = 0.02
"""Colors of a hand spread by no less than this (sRGB in [0, 1])."""


@dataclass(frozen=True)
class SegmentationConfig:
    """Sizes of a `HandSegmenter`: channels of the maps it reads (strides 2, 4, 8, 16) and its own there, and
    hidden numbers of a pixel."""

    levels: tuple[int, int, int, int]
    channels: tuple[int, int, int, int] = (16, 24, 32, 48)
    hidden: int = 16

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SegmentationConfig:
        """Read it back from JSON; raises `TypeError` for what is none."""
        return from_json(cls, values)


class HandSegmenter(nn.Module):
    """Crops, meshes' outlines and feature maps → every pixel's logits to show the hand, and to be covered by
    it: behind an object the hand goes on."""

    level_std: Tensor

    def __init__(self, config: SegmentationConfig) -> None:
        """Make a network with random weights; `level_std` scales the maps and is set from data."""
        super().__init__()
        self.config = config
        channels = config.channels
        self.register_buffer("level_std", torch.ones(sum(config.levels)))
        self.lateral = nn.ModuleList(
            nn.Conv2d(level + _HINTS, own, 1) for level, own in zip(config.levels, channels, strict=True)
        )
        self.narrow = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(channels))
        kernels = ((3,), (3, 3), (5, 5), (5, 5))
        self.refine = nn.ModuleList(
            nn.Sequential(*(Refine(own, kernel) for kernel in sizes))
            for own, sizes in zip(channels, kernels, strict=True)
        )
        self.context = nn.Conv2d(channels[0], config.hidden, 1)
        self.pixel = nn.Conv2d(_HINTS, config.hidden, 1)
        self.last = nn.Conv2d(config.hidden, 2, 1)

    def forward(
        self,
        images: Float[Tensor, "B 3 S S"],
        depth_px: Float[Tensor, "B S S"],
        std_px: Float[Tensor, "B S S"],
        maps: tuple[Float[Tensor, "B _ _ _"], ...],
    ) -> Float[Tensor, "B 2 S S"]:
        """Return logits to show the hand and to be covered by it, of crops (sRGB in [0, 1]) and what
        `LandmarkTrunk.pyramid` says of them.

        `depth_px` is how far pixels lie inside of the mesh's outline (negative: outside), `std_px` how well
        the nearest part of that is known to lie (one sigma, both in pixels of the crop).
        """
        hints = mesh_hints(images, depth_px, std_px).contiguous(memory_format=torch.channels_last)
        smaller = [hints]
        for _ in maps:
            smaller.append(F.avg_pool2d(smaller[-1], 2))
        scales = self.level_std.split(list(self.config.levels))
        x = None
        for k in reversed(range(len(maps))):
            own = self.lateral[k](torch.cat([maps[k] / scales[k][:, None, None], smaller[k + 1]], 1))
            if x is not None:
                own = own + F.interpolate(self.narrow[k](x), scale_factor=2, mode="bilinear")
            x = self.refine[k](own)
        context = F.interpolate(self.context(x), scale_factor=2, mode="bilinear")
        logits: Float[Tensor, "B 2 S S"] = self.last(F.relu(context + self.pixel(hints)))
        return logits


class Refine(nn.Module):
    """A residual block: every channel looks around itself, then the channels of a pixel are mixed."""

    def __init__(self, channels: int, kernel: int) -> None:
        """Make a block with a square window of `kernel` pixels."""
        super().__init__()
        self.around = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.wide = nn.Conv2d(channels, 2 * channels, 1)
        self.back = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Return a map of the same shape."""
        moved: Float[Tensor, "B C h w"] = x + self.back(F.relu(self.wide(self.around(x))))
        return moved


def mesh_hints(
    images: Float[Tensor, "B 3 S S"], depth_px: Float[Tensor, "B S S"], std_px: Float[Tensor, "B S S"]
) -> Float[Tensor, "B 10 S S"]:
    """Return how surely pixels lie inside of the mesh, and how like their colors are to those that do."""
    depth, std = depth_px[:, None].clamp(-40.0, 60.0), std_px[:, None].clamp(0.5, 60.0)
    sure = (depth / std).clamp(-4.0, 4.0)
    weight = torch.sigmoid(3 * (sure - 1)) * (depth > 0) + 1e-4
    total = weight.sum((-1, -2), keepdim=True)
    off = images - (images * weight).sum((-1, -2), keepdim=True) / total
    square = off.square().mean(1, keepdim=True)
    variance = (square * weight).sum((-1, -2), keepdim=True) / total
    unlike = (square / (variance + _LIKE_SKIN**2)).clamp(0.0, 25.0).sqrt()
    sizes = [sure / 2, (depth / 20).clamp(-1.5, 1.5), std.log() / 2]
    return torch.cat([*sizes, images - 0.5, 3 * off, unlike / 2], 1)
