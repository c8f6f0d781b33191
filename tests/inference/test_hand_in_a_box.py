"""A hand of which only a box is known: which of four turns of it a network of upright hands follows."""

import numpy as np
import pytest
from test_reconstructor import IMAGE, WIDTH, detect, true_mesh
from truth import INTRINSICS

from amvur.inference.frames import enter
from amvur.inference.network.trained import TrainedNetwork
from amvur.inference.network.view import FusionSettings, JointEstimates, look
from amvur.inference.reconstructor import Reconstructor
from amvur.structures import Camera, HandDetection


@pytest.fixture(scope="module")
def box():
    return detect(true_mesh()[1]).box_xyxy_px


def bare(box, side="right"):
    """A hand in a box, no joint seen."""
    return HandDetection(side, 1.0, box, np.zeros((1, 21, 2)), np.zeros(21))


def seen_by(network, hand):
    frames = enter(IMAGE, Camera(INTRINSICS, "given", WIDTH, len(IMAGE)), [hand])
    (view,) = look(network, frames, FusionSettings())
    return view


class Straying:
    """A network of upright hands that is surest of joints far off in the turns named, sees others in place."""

    image_px, upright = 64, True

    def __init__(self, astray, shift=40.0, std_m=0.001):
        self.astray, self.shift, self.std_m, self.asked = astray, shift, std_m, []

    def __call__(self, images):
        first, count = not self.asked, len(images)
        self.asked.append(count)
        hand = 0.4 * np.random.default_rng(0).random((21, 2)) - 0.2
        hand[0] = 0.0, 0.7
        flat, solid_std = np.tile(hand, (count, 1, 1)), np.full((count, 21, 3), 0.01)
        for turn in self.astray if count == 4 else ():
            flat[turn] += self.shift * first
            solid_std[turn] = self.std_m
        solid = np.random.default_rng(1).random((count, 21, 3)) / 10
        # what is said of places in the picture, which does not choose the turn, is the contrary
        return JointEstimates(solid, solid_std, flat, 1e-3 / solid_std[..., :2])


def test_a_turn_that_leads_out_of_the_picture_is_given_up(box):
    network = Straying(astray=[0, 2])
    view = seen_by(network, bare(box))
    assert network.asked == [4, 2, 2, 1]
    assert (np.abs(view.joints_2d_px - (box[:2] + box[2:]) / 2).max(0) < box[2:] - box[:2]).all()


def test_of_turns_that_are_about_as_sure_one_that_fills_the_box_is_taken(box):
    middle = (box[:2] + box[2:]) / 2
    inside = seen_by(Straying([1], 0.9, 0.009), bare(box))
    assert np.abs(inside.joints_2d_px.mean(0) - middle).max() < 0.3 * (box[2:] - box[:2]).max()
    beside = seen_by(Straying([1], 0.9, 0.0001), bare(box))
    assert np.abs(beside.joints_2d_px.mean(0) - middle).max() > 0.3 * (box[2:] - box[:2]).max()


def test_if_all_turns_lead_out_of_the_picture_the_box_alone_is_left(box):
    network = Straying(astray=range(4))
    assert seen_by(network, bare(box, "left")) is None
    trained = TrainedNetwork(Straying(astray=range(4)))
    reconstruct = Reconstructor(detector="none", device="cpu", checkpoint=trained)
    (guess,) = reconstruct(IMAGE, intrinsics=INTRINSICS, boxes=box[None], side="left")
    assert any("guess" in warning for warning in guess.warnings)
    assert ((guess.joints_2d.mean(0) > box[:2]) & (guess.joints_2d.mean(0) < box[2:])).all()


def test_where_the_detector_sees_nothing_in_a_box_the_network_is_asked_and_that_is_told(box):
    """Of a plain picture MediaPipe sees nothing; the side that it guesses may be wrong."""
    plain = np.full_like(IMAGE, 90)
    trained = TrainedNetwork(Straying(astray=[]))
    for network, told in ((trained, "network's word"), ("none", "pose is a guess")):
        reconstruct = Reconstructor(device="cpu", checkpoint=network)
        (hand,) = reconstruct(plain, intrinsics=INTRINSICS, boxes=box[None], side="left")
        assert hand.side == "left"
        assert any("sees no hand that fills the box" in w and told in w for w in hand.warnings)
        middle = hand.joints_2d.mean(0)
        assert ((middle > box[:2]) & (middle < box[2:])).all()
