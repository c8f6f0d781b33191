"""A stand-in for a trained network, which was told the truth and errs by a known amount."""

from __future__ import annotations

import numpy as np
from truth import INTRINSICS, project_numpy

from amvur.inference.frames import enter
from amvur.inference.network.fusion import view_rotation
from amvur.inference.network.trained import TrainedNetwork
from amvur.inference.network.view import FusionSettings, JointEstimates, crop_of
from amvur.structures import Camera


class ToldNetwork:
    """Answers, whatever the pictures show, with the joints of hands it was told, in their order."""

    image_px, upright = 64, False

    def __init__(self, std_m=0.003, std_px=2.0, seed=0):
        self.std_m, self.std_px, self.rng = std_m, std_px, np.random.default_rng(seed)
        self.answers, self.pictures = [], []

    def tell(self, joints, detection, scale=1.3, noise=1.0):
        """Tell the joints (m, camera `INTRINSICS`) of a right hand and the detection its crop is made from."""
        (frame,) = enter(None, Camera(INTRINSICS, "given", 640, 480), [detection])
        crop = crop_of(frame, scale, self.image_px)
        turn = view_rotation(INTRINSICS, np.array([crop.center_x_px, crop.center_y_px]))
        relative = (joints - joints[0]) @ turn.T + noise * self.std_m * self.rng.normal(size=(21, 3))
        relative[0] = 0
        pixels = project_numpy(joints) + noise * self.std_px * self.rng.normal(size=(21, 2))
        flat = 2 * crop.apply_points(pixels) / crop.size_px - 1
        self.answers.append((relative, flat, 2 * self.std_px / crop.side_px))
        return self

    def __call__(self, pictures):
        self.pictures.append(pictures)
        assert pictures.dtype == np.uint8
        relative, flat, std = (
            np.stack(x).astype(np.float32) for x in zip(*self.answers[: len(pictures)], strict=True)
        )
        assert len(relative) == len(pictures)
        flat_std = np.broadcast_to(std[:, None, None], flat.shape)
        return JointEstimates(relative, np.full_like(relative, self.std_m), flat, flat_std)

    def trained(self, **settings):
        """Wrapped as the reconstructor takes it."""
        return TrainedNetwork(self, FusionSettings(**settings))
