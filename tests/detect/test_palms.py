"""From raw palm outputs to squares, against palms that were put there by hand."""

import math
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from amvur.crop import CropTransform
from amvur.detect.palms import (
    PALM_INPUT_PX,
    Palm,
    crop_of_landmarks,
    crop_of_palm,
    decode_palms,
    merge_palms,
)
from amvur.detect.views import View, tiles, whole


def anchor(index):
    """The anchors as MediaPipe's SsdAnchorsCalculator lists them, one at a time."""
    if index < 24 * 24 * 2:
        cell, cells = index // 2, 24
    else:
        cell, cells = (index - 24 * 24 * 2) // 6, 12
    return np.array([cell % cells + 0.5, cell // cells + 0.5]) * PALM_INPUT_PX / cells


def raw_outputs(palms):
    """What the network would say of palms (index of the anchor, score, centre, side, keypoints)."""
    boxes, logits = np.zeros((2016, 9, 2), np.float32), np.full(2016, -50, np.float32)
    for index, score, center, side, keypoints in palms:
        boxes[index, 0] = center - anchor(index)
        boxes[index, 1] = side
        boxes[index, 2:] = keypoints - anchor(index)
        logits[index] = math.log(score / (1 - score))
    return boxes.ravel(), logits


def make_palm(score=0.9, center=(100.0, 100.0), side=40.0, angle=0.0):
    """A palm whose middle finger points up, turned clockwise by `angle`."""
    up = np.array([math.sin(angle), -math.cos(angle)])
    keypoints = np.tile(np.array(center), (7, 1))
    keypoints[0] -= 0.4 * side * up
    keypoints[2] += 0.4 * side * up
    return Palm(score, np.array(center), side, keypoints)


def test_every_anchor_is_decoded_into_the_image():
    crop = CropTransform(320.0, 240.0, 640.0, PALM_INPUT_PX)
    for index in (0, 1, 2, 100, 1151, 1152, 1158, 2015):
        keypoints = np.arange(14.0).reshape(7, 2) * 3
        boxes, logits = raw_outputs([(index, 0.8, np.array([50.0, 60.0]), 30.0, keypoints)])
        (palm,) = decode_palms(boxes, logits, crop, 0.5)
        assert abs(palm.score - 0.8) < 1e-6
        np.testing.assert_allclose(palm.center_px, crop.invert_points(np.array([50.0, 60.0])), atol=1e-4)
        np.testing.assert_allclose(palm.keypoints_px, crop.invert_points(keypoints), atol=1e-4)
        assert abs(palm.side_px - 30 * 640 / 192) < 1e-4


def test_palms_below_the_threshold_and_infinite_logits_are_left_out():
    boxes, logits = raw_outputs([(5, 0.4, np.zeros(2), 10.0, np.zeros((7, 2)))])
    logits[6] = -np.inf
    crop = whole((192, 192, 3))
    assert decode_palms(boxes, logits, crop, 0.5) == []
    assert len(decode_palms(boxes, logits, crop, 0.3)) == 1


def test_overlapping_palms_are_averaged_by_score_and_others_kept():
    first, second = make_palm(0.9, (100.0, 100.0)), make_palm(0.3, (108.0, 100.0))
    far = make_palm(0.95, (300.0, 100.0))
    merged = merge_palms([second, far, first])
    assert [palm.score for palm in merged] == [0.95, 0.9]
    np.testing.assert_allclose(merged[1].center_px, [102.0, 100.0])
    assert merge_palms([]) == []


@given(st.floats(-3, 3), st.floats(5, 500))
def test_the_square_of_a_palm_turns_and_grows_with_it(angle, side):
    upright, turned = make_palm(side=40.0), make_palm(side=side, angle=angle)
    crop = crop_of_palm(turned)
    assert math.isclose(crop.rotation_rad, angle, abs_tol=1e-9)
    assert math.isclose(crop.side_px, 2.6 * side, rel_tol=1e-9)
    # The palm has the same place in every crop: fingers up, half a palm below the middle.
    np.testing.assert_allclose(
        crop.apply_points(turned.keypoints_px),
        crop_of_palm(upright).apply_points(upright.keypoints_px),
        atol=1e-6,
    )
    np.testing.assert_allclose(crop.apply_points(turned.center_px), [112, 112 + 0.5 / 2.6 * 224], atol=1e-6)


@given(st.floats(-3, 3), st.floats(0.1, 20), st.floats(-300, 300), st.floats(-300, 300))
def test_the_square_of_landmarks_moves_with_the_hand(angle, scale, x, y):
    hand = np.random.default_rng(3).normal(size=(21, 2)) * 40 + [0, -60]
    hand[0] = [0.0, 0.0]
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    moved = scale * hand @ rotation.T + [x, y]
    first, second = crop_of_landmarks(hand), crop_of_landmarks(moved)
    assert math.isclose(second.side_px, scale * first.side_px, rel_tol=1e-6)
    np.testing.assert_allclose(second.apply_points(moved), first.apply_points(hand), atol=1e-4)


def test_landmarks_at_one_point_still_make_a_square():
    assert crop_of_landmarks(np.full((21, 2), 7.0)).side_px > 0


@given(st.integers(20, 3000), st.integers(20, 3000), st.sampled_from([2, 4]))
def test_tiles_cover_the_image_and_overlap(width, height, parts):
    side = max(width, height) / parts
    squares = tiles((height, width, 3), side)
    for axis, length in ((0, width), (1, height)):
        centers = sorted({(s.center_x_px, s.center_y_px)[axis] for s in squares})
        assert centers[0] - side / 2 <= 1e-9
        assert centers[-1] + side / 2 >= length - 1e-9
        assert all(b - a <= side * 2 / 3 + 1e-9 for a, b in pairwise(centers))
    assert len(squares) <= (2 * parts) ** 2


def test_a_view_gives_what_the_image_gives():
    y, x = np.mgrid[:300, :400]
    waves = np.stack([np.sin(x / 19 + y / 31 + phase) for phase in range(3)], axis=-1)
    image = (127 + 120 * waves).astype(np.uint8)
    view = View(image)
    for side in (30.0, 150.0, 450.0):
        crop = CropTransform(200.0, 150.0, side, 64, 0.4)
        difference = view.warp(crop).astype(int) - crop.warp(image)
        assert np.abs(difference).max() <= (0 if side < 64 else 25)
        assert abs(difference.mean()) < 1


def test_beside_the_image_a_view_is_black():
    view = View(np.full((50, 60, 3), 200, np.uint8))
    assert (view.warp(CropTransform(30.0, 100.0, 20.0, 24)) == 0).all()
