"""Decoding of the landmark network and how several looks become one detection."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amvur.crop import CropTransform
from amvur.detect.duplicates import extent, without_duplicates
from amvur.detect.landmarks import Look, combine_looks, decode_landmarks, jitter
from amvur.structures import HandDetection

HAND = np.random.default_rng(1).uniform(40, 180, (21, 3))
WORLD = np.random.default_rng(2).normal(size=(21, 3)) * 0.05


def encode(crop, joints, depth, world, right):
    """What a perfect network would put out for a hand in the image, seen through `crop`."""
    screen = np.column_stack([crop.apply_points(joints), depth * 0.4 * crop.scale + 3.0])
    seen = world @ crop.R_crop_camera.T
    side = 1 - right if crop.mirrored else right
    outputs = (screen, np.array([0.75]), np.array([side]), seen)
    return tuple(output.astype(np.float32).ravel() for output in outputs)


@given(st.floats(-3, 3), st.floats(50, 500), st.booleans())
def test_every_square_leads_back_to_the_same_hand(rotation, side, mirrored):
    """In particular the metric landmarks keep the image's axes, however the square is turned or mirrored."""
    crop = CropTransform(110.0, 120.0, side, 224, rotation, mirrored)
    depth = HAND[:, 2] - HAND[0, 2]
    look = decode_landmarks(encode(crop, HAND[:, :2], depth, WORLD, right=0.9), crop)
    np.testing.assert_allclose(look.joints_2d_px, HAND[:, :2], atol=1e-3)
    np.testing.assert_allclose(look.depth_px, depth, atol=1e-3)
    np.testing.assert_allclose(look.landmarks_3d_m, WORLD, atol=1e-6)
    assert look.presence == pytest.approx(0.75)
    assert look.right == pytest.approx(0.9)


def test_jitter_is_fixed_and_within_its_bounds():
    crop = CropTransform(100.0, 100.0, 200.0, 224, 0.5)
    assert jitter(crop, 0) is crop
    runs = [jitter(crop, run) for run in range(1, 200)]
    assert runs == [jitter(crop, run) for run in range(1, 200)]
    scales = np.array([run.side_px / 200 for run in runs])
    turns = np.array([math.degrees(run.rotation_rad - 0.5) for run in runs])
    shifts = np.array([[run.center_x_px - 100, run.center_y_px - 100] for run in runs]) @ crop.axes.T / 200
    for values, low, high in ((scales, 0.9, 1.15), (turns, -10, 10), (shifts, -0.04, 0.04)):
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
        np.testing.assert_allclose(values.mean(), (low + high) / 2, atol=0.02 * (high - low))
    assert [run.mirrored for run in runs[:4]] == [True, False, True, False]


def look(joints, presence=0.9, right=0.2):
    return Look(joints, np.zeros(21), WORLD, presence, right)


def test_agreeing_looks_inside_are_trusted_fully():
    hand = combine_looks([look(HAND[:, :2])] * 3, (200, 220, 3))
    assert hand.side == "left"
    assert hand.score == pytest.approx(0.9)
    assert hand.convention == "mediapipe"
    assert hand.joints_2d_px.shape == (3, 21, 2)
    assert hand.joints_2d_px.dtype == np.float64
    np.testing.assert_array_equal(hand.confidence, 1)
    np.testing.assert_allclose(hand.box_xyxy_px[:2], HAND[:, :2].min(axis=0))


def test_a_hesitant_side_is_the_majority():
    assert combine_looks([look(HAND[:, :2], right=r) for r in (0.9, 0.9, 0.1)], (200, 220, 3)).side == "right"


def test_joints_outside_lose_confidence_with_distance():
    joints = HAND[:, :2].copy()
    size = np.max(np.ptp(joints, axis=0))
    joints[4, 0] = 220 + 0.05 * size
    size = np.max(np.ptp(joints, axis=0))
    hand = combine_looks([look(joints)], (200, 220, 3))
    assert hand.confidence[4] == pytest.approx(1 - (joints[4, 0] - 220) / size / 0.1)
    joints[4, 0] = 400
    assert combine_looks([look(joints)], (200, 220, 3)).confidence[4] == 0


def test_joints_that_move_between_looks_lose_confidence():
    joints = np.stack([HAND[:, :2]] * 4)
    joints[:, 8, 0] += [-30, -10, 10, 30]
    hand = combine_looks([look(j) for j in joints], (200, 220, 3))
    assert hand.confidence[8] < 0.6
    assert (np.delete(hand.confidence, 8) == 1).all()


def test_a_doubtful_hand_is_trusted_less():
    hand = combine_looks([look(HAND[:, :2], presence=0.2)], (200, 220, 3))
    np.testing.assert_allclose(hand.confidence, 0.4)


def detection(joints, score=0.9, side="left"):
    box = np.concatenate([joints.min(axis=0), joints.max(axis=0)])
    return HandDetection(side, score, box, joints[None], np.ones(21))


def test_of_one_hand_found_twice_the_better_is_kept():
    joints = HAND[:, :2]
    other = detection(joints + 500)
    kept = without_duplicates([detection(joints, 0.8), other, detection(joints + 4, 0.95, "right")])
    assert [hand.score for hand in kept] == [0.95, 0.9]


def test_a_finger_taken_for_a_hand_gives_way_to_the_hand():
    joints = HAND[:, :2]
    finger = detection(joints * 0.2 + joints.mean(axis=0) * 0.8, 0.99)
    whole = detection(joints, 0.7)
    assert without_duplicates([finger, whole]) == [whole]
    assert without_duplicates([whole, finger]) == [whole]


def test_clasped_hands_stay_two():
    joints = HAND[:, :2]
    mirrored = np.stack([joints[:, 0].max() + joints[:, 0].min() - joints[:, 0], joints[:, 1]], axis=1)
    shifted = mirrored + np.array([0.35 * extent(detection(joints)), 0])
    assert len(without_duplicates([detection(joints), detection(shifted, side="right")])) == 2
