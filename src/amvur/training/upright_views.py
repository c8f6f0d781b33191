"""Training crops of networks that see hands upright: turned by the labels, with a detector's errors."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator

from amvur.hand.model import HandModel
from amvur.models.upright import upright_frames
from amvur.training.augment import AugmentConfig, augment, move
from amvur.training.targets import LabelledImages

ROLL_DEG, SHIFT = 25.0, 0.05
"""How far the crops of a detector are turned and shifted against those of the labels, at most."""
_FRAME_JOINTS = (0, 5, 9, 13)
"""Joints that say where up is."""


def upright_view(
    images: LabelledImages, hand: HandModel, generator: Generator, config: AugmentConfig
) -> LabelledImages:
    """Return upright crops of the same hands, a little off and with other colors.

    Pictures in which a joint that tells the direction has no label stay as they are turned.
    """
    size = images.images.shape[1]
    known = (images.joint_confidence[:, list(_FRAME_JOINTS)] > 0).all(1)
    frame = upright_frames(torch.where(torch.isfinite(images.joints_2d), images.joints_2d, 0))
    linear = frame[:, :, :2] * (size / 2)
    shift = (frame[:, :, 2:] + 1) * (size / 2)
    last = images.joints_2d.new_tensor([0.0, 0.0, 1.0]).expand(len(images), 1, 3)
    upright = torch.cat([torch.cat([linear, shift], -1), last], 1)
    eye = torch.eye(3, dtype=upright.dtype, device=upright.device)
    moved = move(images, hand, torch.where(known[:, None, None], upright, eye), config.padding)
    return augment(moved, hand, generator, replace(config, roll_deg=ROLL_DEG, shift=SHIFT))
