"""Augmentation: picture, camera and labels move together, and only the picture's colors change otherwise."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))
from tiny_run import TinySource

from amvur.geometry.cameras import project
from amvur.hand.model import HandModel
from amvur.training.augment import AugmentConfig, augment, draw_similarities, mix_spectrum, move
from amvur.training.targets import as_right_hands

SOURCE = TinySource(0, px=64)
HAND = SOURCE.hand
STILL = AugmentConfig(
    roll_deg=0.0,
    scale=(1.0, 1.0),
    shift=0.0,
    padding="zeros",
    brightness=0.0,
    contrast=(1.0, 1.0),
    gain=(1.0, 1.0),
    gray_probability=0.0,
    noise=0.0,
    erase_probability=0.0,
    spectrum_probability=0.0,
)


def seed(number=0):
    return torch.Generator().manual_seed(number)


def batch(count=6, px=64):
    return as_right_hands(TinySource(0, px=px).batch(range(count)))


def posed(labels):
    hand = HandModel(HAND.arrays, torch.float64)
    names = ("global_orient", "hand_pose", "betas", "transl")
    return hand(*(getattr(labels, name).double() for name in names))


@pytest.mark.parametrize("camera", ["centred", "anywhere", "skewed"])
def test_projected_joints_move_with_the_labels(camera):
    labels = batch(32)
    k = labels.intrinsics
    if camera != "centred":
        k[:, :2, 2] += 30 * torch.randn(32, 2, generator=seed())
    if camera == "skewed":
        k[:, 0, 1], k[:, 1, 1] = 3.0, 55.0
    labels = replace(labels, joints_2d=project(posed(labels).joints, k.double()).float())
    moved = move(labels, HAND, draw_similarities(32, 64, seed(3), AugmentConfig()))
    found = project(posed(moved).joints, moved.intrinsics.double())
    assert (moved.joints_2d - labels.joints_2d).abs().max() > 5
    torch.testing.assert_close(found, moved.joints_2d.double(), rtol=0, atol=1e-3)
    assert torch.equal(moved.intrinsics[:, 1, 0], torch.zeros(32))
    assert torch.equal(moved.intrinsics[:, 2], torch.tensor([0.0, 0, 1]).expand(32, 3))
    before, after = posed(labels).joints, posed(moved).joints
    torch.testing.assert_close(before[..., 2], after[..., 2], rtol=0, atol=1e-6, msg="depth stays")
    assert (moved.intrinsics[:, 0, 0] > 0).all()


def test_the_picture_moves_with_the_labels():
    labels = batch(12)
    images = torch.zeros_like(labels.images)
    points = torch.tensor([[20.5, 30.5], [40.5, 25.5]])
    for channel, (x, y) in enumerate(points.int().tolist()):
        images[:, y - 1 : y + 2, x - 1 : x + 2, channel] = 250
    labels.joints_2d[:, :2] = points
    moved = move(
        replace(labels, images=images), HAND, draw_similarities(12, 64, seed(1), AugmentConfig()), "zeros"
    )
    pixels = moved.images.double()
    centres = torch.arange(64, dtype=torch.float64) + 0.5
    for channel in range(2):
        weight = pixels[..., channel] / pixels[..., channel].sum((1, 2), keepdim=True)
        x, y = (weight.sum(1) * centres).sum(-1), (weight.sum(2) * centres).sum(-1)
        found = torch.stack([x, y], -1)
        torch.testing.assert_close(found, moved.joints_2d[:, channel].double(), rtol=0, atol=0.1)


def test_joints_that_leave_the_picture_weigh_nothing():
    labels = batch(8)
    labels.joints_2d[:, 0] = torch.tensor([63.9, 63.9])
    labels.joint_confidence[:, 1] = 0
    moved = move(labels, HAND, draw_similarities(8, 64, seed(2), AugmentConfig()))
    inside = ((moved.joints_2d >= 0) & (moved.joints_2d <= 64)).all(-1)
    assert not inside[:, 0].all()
    assert torch.equal(moved.joint_confidence > 0, inside & (labels.joint_confidence > 0))


def test_nothing_asked_is_nothing_done():
    labels = batch()
    found = augment(labels, HAND, seed(), STILL)
    assert torch.equal(found.images, labels.images)
    torch.testing.assert_close(found.transl, labels.transl)
    torch.testing.assert_close(found.global_orient, labels.global_orient, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.intrinsics, labels.intrinsics)


def test_a_seed_is_an_augmentation():
    labels = batch()
    first, again, other = (augment(labels, HAND, seed(n)) for n in (4, 4, 5))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.transl, again.transl)
    assert not torch.equal(first.images, other.images)
    assert first.images.shape == labels.images.shape


@pytest.mark.parametrize(
    "change",
    [{"brightness": 0.3}, {"contrast": (0.5, 0.6)}, {"gain": (0.5, 0.6)}, {"noise": 0.1},
     {"gray_probability": 1.0}, {"erase_probability": 1.0}, {"spectrum_probability": 1.0}],
)  # fmt: skip
def test_colors_change_no_label(change):
    labels = batch()
    found = augment(labels, HAND, seed(), replace(STILL, **change))
    assert not torch.equal(found.images, labels.images)
    torch.testing.assert_close(found.joints_2d, labels.joints_2d)
    if "gray_probability" in change:
        assert (found.images.amax(-1) == found.images.amin(-1)).all()
    if "erase_probability" in change:
        share = (found.images == labels.images).all(-1).float().mean((1, 2))
        assert ((share > 0.5) & (share < 1)).all()


def test_mixed_spectra_keep_phases_and_means_of_amplitude():
    """Half-way amplitudes lie between those of two pictures of the batch; where edges are stays."""
    pixels = torch.rand(4, 3, 32, 32, generator=seed(7))
    mixed = mix_spectrum(pixels, seed(3), replace(STILL, spectrum_probability=1.0))
    before, after = torch.fft.rfft2(pixels.double()), torch.fft.rfft2(mixed.double())
    turn = (after * before.conj()).angle()[..., 1:-1, 1:-1].abs()
    assert turn.max() < 1e-3
    amplitudes = before.abs()
    low, high = amplitudes.amin(0), amplitudes.amax(0)
    assert ((after.abs() > low - 1e-3) & (after.abs() < high + 1e-3)).all()
    assert (mixed - pixels).abs().max() > 0.05
    assert torch.equal(mix_spectrum(pixels, seed(3), STILL), pixels)
