"""Features of MediaPipe's hand-landmark network, and a small trained reader of its last map."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from amvur.errors import InputError
from amvur.models.features import Features
from amvur.models.landmark_trunk import LandmarkTrunk

LANDMARK_BACKBONE = "mediapipe_hand"
TUNED_BACKBONE = "mediapipe_hand_tuned"
"""The names of these backbones in `NetworkConfig.backbone`; all others are timm's."""
_NARROW, _READ = 64, 512


class LandmarkBackbone(nn.Module):
    """The pooled feature, standardised, beside what a layer reads from the 7×7 map with its places kept.

    `width` is D, `shallow_width` is C. Checkpoints hold the reader, and the later convolutions if `tuned`.
    """

    def __init__(self, tuned: bool = False) -> None:
        """Read the shipped network; raises `ModelFileError` where that fails."""
        super().__init__()
        self.trunk = LandmarkTrunk(tuned=tuned)
        self.standardize = nn.BatchNorm1d(self.trunk.width)
        cells = (LandmarkTrunk.size_px // 32) ** 2
        self.reader = nn.Sequential(
            nn.BatchNorm2d(self.trunk.neck_width),
            nn.Conv2d(self.trunk.neck_width, _NARROW, 1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(cells * _NARROW, _READ),
            nn.GELU(),
        )
        self.width, self.shallow_width = self.trunk.width + _READ, self.trunk.shallow_width

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Features:
        """Return the features of RGB pictures in [0, 1]; raises `InputError` unless they are 224 px wide."""
        if images.shape[-1] != LandmarkTrunk.size_px:
            raise InputError(
                f"The backbone {LANDMARK_BACKBONE} wants pictures of {LandmarkTrunk.size_px} px, found "
                f"{images.shape[-1]}. Set image_px to {LandmarkTrunk.size_px}."
            )
        pooled, neck, shallow = self.trunk(images)
        return Features(self.combine(pooled, neck), shallow)

    def combine(self, pooled: Float[Tensor, "B P"], neck: Float[Tensor, "B N 7 7"]) -> Float[Tensor, "B D"]:
        """Return the global feature of what the trunk saw (which a training may keep)."""
        return torch.cat([self.standardize(pooled), self.reader(neck)], 1)
