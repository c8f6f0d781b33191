"""From the landmark network's raw outputs to joints in the image: one look, and several looks together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from amvur.crop import CropTransform
from amvur.detect.palms import HAND_INPUT_PX
from amvur.structures import HandDetection

LANDMARK_OUTPUTS = (63, 1, 1, 63)
"""Numbers in the landmark network's outputs: landmarks in its input, presence, side, world landmarks."""
_DEPTH_UNIT = 0.4
"""MediaPipe's `normalize_z`: its network's depth is in 0.4 of its input's pixels."""


@dataclass(frozen=True)
class Look:
    """What the landmark network says of one square of an image, in the image's axes.

    `depth_px` is relative to the wrist, larger is further; `landmarks_3d_m` are MediaPipe's world
    landmarks, whose origin is near the hand's middle. `presence` and `right` are probabilities.
    """

    joints_2d_px: Float[np.ndarray, "21 2"]
    depth_px: Float[np.ndarray, "21"]
    landmarks_3d_m: Float[np.ndarray, "21 3"]
    presence: float
    right: float


def decode_landmarks(outputs: Sequence[Float[np.ndarray, "_"]], crop: CropTransform) -> Look:
    """Take the landmark network's four outputs on `crop` back into the image.

    The network believes its input to be a mirrored (selfie) picture: its first output for "Left" is thus
    the probability of a right hand in a picture as the camera took it.
    """
    screen, presence, left_if_selfie, world = outputs
    screen = screen.reshape(21, 3).astype(np.float64)
    world = world.reshape(21, 3).astype(np.float64)
    right = float(left_if_selfie[0])
    return Look(
        joints_2d_px=crop.invert_points(screen[:, :2] * (crop.size_px / HAND_INPUT_PX)),
        depth_px=(screen[:, 2] - screen[0, 2]) / (_DEPTH_UNIT * crop.scale),
        landmarks_3d_m=world @ crop.R_crop_camera,
        presence=float(presence[0]),
        right=1 - right if crop.mirrored else right,
    )


def jitter(crop: CropTransform, run: int) -> CropTransform:
    """The square of run `run`: run 0 is `crop`, the others resized, turned and shifted, odd ones mirrored.

    Scales 0.9–1.15, rotations ±10° and shifts of ±4 % of the side follow a low-discrepancy sequence, so that
    any number of runs covers the range evenly and the same runs are used for every image.
    """
    if run == 0:
        return crop
    # The R4 sequence (Roberts 2018): multiples of the powers of the root of x^5 = x + 1.
    root = 1.1673039782614187
    scale, turn, right, down = ((0.5 + run / root ** (axis + 1)) % 1 for axis in range(4))
    shift = np.array([right - 0.5, down - 0.5]) * 0.08 * crop.side_px @ crop.axes
    return replace(
        crop,
        center_x_px=crop.center_x_px + float(shift[0]),
        center_y_px=crop.center_y_px + float(shift[1]),
        side_px=crop.side_px * (0.9 + 0.25 * scale),
        rotation_rad=crop.rotation_rad + math.radians(20 * (turn - 0.5)),
        mirrored=run % 2 == 1,
    )


def combine_looks(looks: Sequence[Look], image_shape: tuple[int, ...]) -> HandDetection:
    """Gather the looks at one hand.

    A joint's confidence is 1 inside the image where the looks agree. It falls linearly to 0 over a tenth
    of the hand's extent outside of the image (the network guesses there), as 1 / (1 + (s / 0.1)²) with the
    looks' spread s, in hand extents, and for all joints in proportion to a score below one half.
    """
    joints = np.stack([look.joints_2d_px for look in looks])
    middle = np.median(joints, axis=0)
    low, high = middle.min(axis=0), middle.max(axis=0)
    extent = max(float(np.max(high - low)), 1e-6)
    limits = np.array([image_shape[1], image_shape[0]], dtype=np.float64)
    outside = np.linalg.norm(middle - np.clip(middle, 0, limits), axis=1) / extent
    spread = np.median(np.linalg.norm(joints - middle, axis=2), axis=0) / extent
    confidence = np.clip(1 - outside / 0.1, 0, 1) / (1 + (spread / 0.1) ** 2)
    score = float(np.mean([look.presence for look in looks]))
    right = float(np.mean([look.right for look in looks]))
    return HandDetection(
        side=("right" if right >= 0.5 else "left"),
        score=score,
        box_xyxy_px=np.concatenate([low, high]),
        joints_2d_px=joints,
        confidence=confidence * min(1.0, score / 0.5),
        depth_px=np.stack([look.depth_px for look in looks]),
        landmarks_3d_m=np.stack([look.landmarks_3d_m for look in looks]),
        convention="mediapipe",
    )
