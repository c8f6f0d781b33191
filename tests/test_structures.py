"""Values with arrays: equal by content, short to print, copied and pickled."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from factories import make_hand

from amvur.structures import Camera, HandDetection


@pytest.fixture(scope="module")
def hand():
    return make_hand()


def test_equal_contents_are_equal_and_others_are_not(hand):
    assert hand == replace(hand, vertices=hand.vertices.copy())
    assert hand != replace(hand, vertices=hand.vertices + 1)
    assert hand != replace(hand, score=0.5 * hand.score)
    assert hand != replace(hand, camera=replace(hand.camera, intrinsics=2 * hand.camera.intrinsics))
    assert hand != "hand"
    assert [hand].index(hand) == 0


def test_arrays_of_other_types_differ_and_nan_equals_itself():
    camera = Camera(np.eye(3), "given", 4, 3)
    assert camera != Camera(np.eye(3, dtype=np.float32), "given", 4, 3)
    unseen = HandDetection("left", 1.0, np.zeros(4), np.full((1, 21, 2), np.nan), np.zeros(21))
    assert unseen == copy.deepcopy(unseen)


def test_a_hand_prints_on_one_short_line(hand):
    assert len(repr(hand)) < 120
    assert "\n" not in repr(hand)
    assert hand.side in repr(hand)
    assert "float64[3, 3]" in repr(hand.camera)


def test_hands_are_copied_and_pickled(hand):
    for other in (copy.deepcopy(hand), pickle.loads(pickle.dumps(hand))):
        assert other == hand
