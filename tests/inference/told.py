"""A stand-in for a trained network, which was told the truth and errs by a known amount."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch.distributions import Normal
from truth import INTRINSICS, project_numpy

from amvur.geometry.cameras import view_rotation
from amvur.inference.network_view import FusionSettings, crop_of
from amvur.inference.trained import TrainedNetwork


class ToldNetwork:
    """Answers, whatever the pictures show, with the joints of hands it was told, in their order."""

    def __init__(self, std_m=0.003, std_px=2.0, seed=0):
        self.config = SimpleNamespace(image_px=64)
        self.std_m, self.std_px, self.rng = std_m, std_px, np.random.default_rng(seed)
        self.answers, self.pictures = [], []

    def tell(self, joints, detection, scale=1.3, noise=1.0):
        """Tell the joints (m, camera `INTRINSICS`) of a right hand and the detection its crop is made from."""
        crop = crop_of(detection, scale, self.config.image_px)
        center = torch.tensor([crop.center_x_px, crop.center_y_px], dtype=torch.float64)
        turn = view_rotation(torch.as_tensor(INTRINSICS), center).numpy()
        relative = (joints - joints[0]) @ turn.T + noise * self.std_m * self.rng.normal(size=(21, 3))
        relative[0] = 0
        pixels = project_numpy(joints) + noise * self.std_px * self.rng.normal(size=(21, 2))
        flat = 2 * crop.apply_points(pixels) / crop.size_px - 1
        self.answers.append((relative, flat, 2 * self.std_px / crop.side_px))
        return self

    def __call__(self, images):
        self.pictures.append(images)
        assert images.dtype == torch.float32
        relative, flat, std = (
            torch.as_tensor(np.stack(x)).float() for x in zip(*self.answers[: len(images)], strict=True)
        )
        assert len(relative) == len(images)
        return SimpleNamespace(
            joints=Normal(relative, torch.full_like(relative, self.std_m), validate_args=False),
            joints_2d=Normal(flat, std[:, None, None].expand_as(flat), validate_args=False),
        )

    def trained(self, **settings):
        """Wrapped as the reconstructor takes it."""
        return TrainedNetwork(self, torch.device("cpu"), FusionSettings(**settings))
