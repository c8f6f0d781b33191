"""Upright training crops: those of the tracker but for drawn errors, labels moving with the picture."""

import math

import pytest
import torch

from amvur.data.synthetic.generator import SyntheticHands
from amvur.detect.palms import crop_of_landmarks
from amvur.geometry.cameras import project
from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.training import upright_views
from amvur.training.augment import AugmentConfig
from amvur.training.targets import as_right_hands
from amvur.training.upright_views import upright_view


@pytest.fixture(scope="module")
def hand():
    return HandModel(load_hand_model("open"))


@pytest.fixture(scope="module")
def images():
    return as_right_hands(SyntheticHands(3, size_px=64).batch(range(6)))


def seen(images, hand, seed=0):
    return upright_view(images, hand, torch.Generator().manual_seed(seed), AugmentConfig())


def test_without_errors_it_is_the_trackers_crop(hand, images, monkeypatch):
    for name in ("ROLL_DEG", "ANY_ROLL", "SCALE", "SHIFT"):
        monkeypatch.setattr(upright_views, name, 0.0)
    found = seen(images, hand)
    for joints, ours in zip(images.joints_2d.double().numpy(), found.joints_2d.double(), strict=True):
        crop = crop_of_landmarks(joints)
        wanted = torch.as_tensor(crop.apply_points(joints)) * (64 / crop.size_px)
        assert (ours - wanted).abs().max() < 1e-2


def test_labels_and_camera_move_with_the_picture(hand, images):
    found = seen(images, hand)
    mesh = hand(found.global_orient, found.hand_pose, found.betas, found.transl)
    assert (project(mesh.joints, found.intrinsics) - found.joints_2d).abs().max() < 0.05
    assert not torch.equal(found.joints_2d, seen(images, hand, seed=1).joints_2d)


def test_most_hands_point_up_and_some_anywhere(hand, images):
    rows = torch.arange(6).repeat(50)
    joints = seen(images[rows], hand).joints_2d
    up = joints[:, 9] - joints[:, 0]
    off = torch.atan2(up[:, 0], -up[:, 1]).abs()
    share = float((off < math.radians(50)).float().mean())
    assert 0.75 < share < 0.95  # four in five, and those of the others that happen to


def test_hands_whose_direction_is_unknown_are_not_turned(hand, images, monkeypatch):
    for name in ("ROLL_DEG", "ANY_ROLL", "SCALE", "SHIFT"):
        monkeypatch.setattr(upright_views, name, 0.0)
    confidence = images.joint_confidence.clone()
    confidence[:, 9] = 0
    found = seen(type(images)(**{**vars(images), "joint_confidence": confidence}), hand)
    assert torch.allclose(found.joints_2d, images.joints_2d, atol=1e-4)
