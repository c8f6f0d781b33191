"""A network that knows the truth: hands before a camera, and what it would say of their pictures."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch.distributions import Normal

from amvur.crop import CropTransform
from amvur.evaluation.pictures import crop_picture

SIZE = 32
STD = 0.004


@dataclass(frozen=True)
class Hand:
    """One hand as labelled, and its picture, which says only which hand it is."""

    joints: np.ndarray
    vertices: np.ndarray
    intrinsics: np.ndarray
    crop: CropTransform


def draw_hands(count, seed=0, vertices=40):
    rng = np.random.default_rng(seed)
    hands = []
    for number in range(count):
        points = (rng.random((21 + vertices, 3)) - 0.5) * [0.18, 0.09, 0.05]
        points = points @ Rotation.random(random_state=seed + number).as_matrix().T
        points = points - points[0] + np.array([0.08, -0.05, 0.6]) + 0.04 * rng.standard_normal(3)
        focal = rng.uniform(500, 700)
        intrinsics = np.array([[focal, 0, 330.0], [0, focal + 3, 235.0], [0, 0, 1]])
        flat = points @ intrinsics.T
        flat = flat[:, :2] / flat[:, 2:]
        x, y = (flat.min(0) + flat.max(0)) / 2
        side = 1.3 * float(np.ptp(flat, 0).max())
        crop = CropTransform(float(x), float(y), side, SIZE, mirrored=bool(number % 2))
        hands.append(Hand(points[:21], points[21:], intrinsics, crop))
    return hands


class ToldSource:
    """Those hands as a data set; every picture's pixels are its number."""

    protocol = None
    evaluation_list: Path | None = None
    name = "told"

    def __init__(self, hands, roots=False, cameras=True, labelled=True, name="told"):
        self.hands, self.roots, self.cameras, self.labelled, self.name = hands, roots, cameras, labelled, name
        self.looked_at = []

    def __len__(self):
        return len(self.hands)

    def identity(self):
        return {"hands": len(self.hands), "sha256": self.name}

    def pictures(self, start, stop, size_px, crop_scale):
        assert size_px == SIZE
        for number in range(start, stop):
            self.looked_at.append(number)
            hand = self.hands[number]
            yield crop_picture(
                np.full((480, 640, 3), number, np.uint8),
                hand.crop,
                f"{number:04d}",
                hand.intrinsics if self.cameras else None,
                root=hand.joints[0] if self.roots else None,
                joints=hand.joints if self.labelled else None,
                vertices=hand.vertices if self.labelled else None,
                occlusion=number / len(self.hands),
                skin_tone=0.2,
            )


class ToldNetwork:
    """Says the truth plus `noise` (m) of every hand, in view axes of a right hand."""

    def __init__(self, hands, noise=0.0, std=STD, seed=0):
        self.config = SimpleNamespace(image_px=SIZE)
        self.hands, self.noise, self.std, self.seed = hands, noise, std, seed

    def __call__(self, images):
        numbers = (images[:, 0, 0, 0] * 255).round().long().tolist()
        rows = [self.say(number) for number in numbers]
        joints, vertices, flat = (torch.tensor(np.stack(column)) for column in zip(*rows, strict=True))
        return SimpleNamespace(
            joints=Normal(joints, self.std, validate_args=False),
            vertices=Normal(vertices, self.std, validate_args=False),
            joints_2d=Normal(flat, 0.02),
            prior_joints_2d=Normal(flat, 0.02),
        )

    def say(self, number):
        hand, rng = self.hands[number], np.random.default_rng((self.seed, number))
        crop = hand.crop
        flat = hand.joints @ hand.intrinsics.T
        flat = crop.apply_points(flat[:, :2] / flat[:, 2:]) / SIZE * 2 - 1
        # an own way to view axes: the rotation that turns the ray through the crop's centre onto z
        ray = np.linalg.solve(crop.crop_intrinsics(hand.intrinsics), [SIZE / 2, SIZE / 2, 1])
        ray /= np.linalg.norm(ray)
        axis = np.cross(ray, [0, 0, 1])
        turn = Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.arccos(ray[2])).as_matrix()
        relative = np.concatenate([hand.joints, hand.vertices]) - hand.joints[0]
        relative = relative @ (turn @ crop.R_crop_camera).T
        noise = self.noise * rng.standard_normal(relative.shape)
        noise[0] = 0
        return (relative + noise)[:21], (relative + noise)[21:], flat
