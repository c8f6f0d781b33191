"""The network that ships: where it is asked, and what it sees in a sample picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from amvur import Reconstructor
from amvur.data.synthetic.generator import SyntheticHands
from amvur.inference.trained import load_trained
from amvur.pretrained import default_checkpoint

SEED = 900_001


@pytest.fixture(scope="module")
def shipped():
    return load_trained("default", torch.device("cpu"))


@pytest.fixture(scope="module")
def pictures():
    return next(iter(SyntheticHands(SEED, "open", 224).stream(0, 12, 12)))


def test_it_is_asked_for_hands_without_joints_alone(shipped):
    assert default_checkpoint() is not None
    picture = np.full((64, 64, 3), 128, np.uint8)
    hand = Reconstructor(detector="none", checkpoint="none").detector.detect(
        picture, boxes=np.array([[8.0, 8, 56, 56]]), side="left"
    )[0]
    seen = replace(hand, confidence=np.ones(21))
    views = shipped.look(picture, [seen, hand])
    assert views[0] is None
    assert views[1] is not None


def test_a_box_is_enough(pictures):
    """Joints from the box alone are far nearer to the truth than a hand that just fills the box."""
    errors = {"none": [], "default": []}
    for i in range(len(pictures.images)):
        joints = pictures.joints_2d[i].numpy().astype(float)
        inside = np.clip(joints, 0, 224)
        box = np.concatenate([inside.min(0) - 5, inside.max(0) + 5])
        side = "left" if pictures.is_left[i] else "right"
        for checkpoint, found in errors.items():
            reconstructor = Reconstructor(detector="none", checkpoint=checkpoint)
            hand = reconstructor(pictures.images[i].numpy(), boxes=box[None], side=side)[0]
            found.append(np.linalg.norm(hand.joints_2d - joints, axis=1).mean())
    assert np.median(errors["default"]) < 0.6 * np.median(errors["none"])
