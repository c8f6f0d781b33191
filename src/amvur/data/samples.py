"""Labelled hand pictures in our conventions, batched: what every data source yields."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor


class JointState(IntEnum):
    """Whether a joint shows in the picture, and if not, why."""

    VISIBLE = 0
    HIDDEN_BY_SELF = 1
    HIDDEN_BY_OBJECT = 2
    OUTSIDE = 3


@dataclass(frozen=True)
class HandBatch:
    """B pictures of one labelled hand each; metres, camera frame (OpenCV axes), pixels of the picture.

    Left hands (`is_left`) are labelled as left hands: mirrored picture, mirrored labels, and parameters
    of the left hand's model. `vertex_albedo` is the skin's own color and `vertex_colors` what the light
    makes of it (sRGB in [0, 1]), for hidden vertices too. `visible_vertices` tells self-occlusion only,
    `unoccluded_vertices` also objects and the picture's border. `mask` marks pixels that show the hand;
    `occlusion` is the fraction of the hand's own silhouette (in and out of frame) that does not show.
    """

    images: UInt8[Tensor, "B H W 3"]
    intrinsics: Float[Tensor, "B 3 3"]
    vertices: Float[Tensor, "B V 3"]
    joints: Float[Tensor, "B 21 3"]
    joints_2d: Float[Tensor, "B 21 2"]
    joint_states: Int64[Tensor, "B 21"]
    global_orient: Float[Tensor, "B 3"]
    hand_pose: Float[Tensor, "B 45"]
    betas: Float[Tensor, "B 10"]
    transl: Float[Tensor, "B 3"]
    vertex_albedo: Float[Tensor, "B V 3"]
    vertex_colors: Float[Tensor, "B V 3"]
    visible_vertices: Bool[Tensor, "B V"]
    unoccluded_vertices: Bool[Tensor, "B V"]
    mask: Bool[Tensor, "B H W"]
    is_left: Bool[Tensor, "B"]
    occlusion: Float[Tensor, "B"]
    skin_tone: Float[Tensor, "B"]
    index: Int64[Tensor, "B"]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.index)

    def to(self, device: torch.device | str) -> HandBatch:
        """Return the batch on another device."""
        return HandBatch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def concatenate(batches: list[HandBatch]) -> HandBatch:
    """Join batches of equal picture size."""
    names = [f.name for f in fields(HandBatch)]
    return HandBatch(**{name: torch.cat([getattr(b, name) for b in batches]) for name in names})
