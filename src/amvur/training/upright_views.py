"""Training crops of networks that see hands upright: turned by the labels, with a detector's errors."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from amvur.hand.model import HandModel
from amvur.models.upright import upright_frames
from amvur.training.augment import AugmentConfig, move, recolor, similarities
from amvur.training.targets import LabelledImages

ROLL_DEG, ANY_ROLL, SCALE, SHIFT = 15.0, 0.2, 0.12, 0.05
"""Spread of the crops (one sigma): of their roll, logarithm of size and place in sides. A share of them has
any roll, since a hand of which only a box is known is first looked at in four turns."""
_FRAME_JOINTS = (0, 5, 9, 13)
"""Joints that say where up is."""


def upright_view(
    images: LabelledImages, hand: HandModel, generator: Generator, config: AugmentConfig
) -> LabelledImages:
    """Return upright crops of the same hands, a little off and with other colors; resampled once.

    Pictures in which a joint that tells the direction has no label stay as they are turned.
    """
    size = images.images.shape[1]
    frames = _errors(len(images), size, generator) @ _upright(images)
    return recolor(move(images, hand, frames, config.padding), generator, config)


def upright_by_labels(images: LabelledImages, hand: HandModel, padding: str = "reflection") -> LabelledImages:
    """Return upright crops of the same hands exactly as their labels say."""
    return move(images, hand, _upright(images), padding)


def _upright(images: LabelledImages) -> Float[Tensor, "B 3 3"]:
    """Return the maps from pixels to those of upright crops."""
    size = images.images.shape[1]
    known = (images.joint_confidence[:, list(_FRAME_JOINTS)] > 0).all(1)
    frame = upright_frames(torch.where(torch.isfinite(images.joints_2d), images.joints_2d, 0))
    shift = (frame[:, :, 2:] + 1) * (size / 2)
    last = images.joints_2d.new_tensor([0.0, 0.0, 1.0]).expand(len(images), 1, 3)
    upright = torch.cat([torch.cat([frame[:, :, :2] * (size / 2), shift], -1), last], 1)
    eye = torch.eye(3, dtype=upright.dtype, device=upright.device)
    return torch.where(known[:, None, None], upright, eye)


def _errors(count: int, size_px: int, generator: Generator) -> Float[Tensor, "B 3 3"]:
    """Draw how crops of a detector differ from those of the labels."""
    turn, grow, right, down = torch.randn(4, count, generator=generator, device=generator.device)
    chance, roll = torch.rand(2, count, generator=generator, device=generator.device)
    angle = torch.where(chance < ANY_ROLL, (2 * roll - 1) * math.pi, math.radians(ROLL_DEG) * turn)
    shift = SHIFT * size_px * torch.stack([right, down], -1)
    return similarities(angle, (SCALE * grow).exp(), shift, size_px)
