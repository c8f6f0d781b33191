"""Boxes and joints from the user: taken as they are, or refused with a remedy."""

import numpy as np
import pytest

from amvur.detect.given import GivenBoxes, GivenJoints, check_box, given_joints
from amvur.errors import InputError

SHAPE = (100, 200, 3)
IMAGE = np.zeros(SHAPE, np.uint8)
JOINTS = np.random.default_rng(0).uniform(10, 90, (21, 2))


@pytest.mark.parametrize("box", [(10, 20, 50, 60), [-10, -10, 5, 5], np.array([0.5, 0.5, 500.0, 500.0])])
def test_good_boxes_come_back_as_numbers(box):
    found = check_box(box, SHAPE)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, box)


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((50, 20, 10, 60), "x0 < x1"),
        ((10, 60, 50, 20), "y0 < y1"),
        ((10, 10, 10, 10), "x0 < x1"),
        ((100, 50, 40, 30), "width and height"),
        ((0, 0, np.nan, 5), "finite"),
        ((0, 0, np.inf, 5), "finite"),
        ((200, 0, 250, 50), "200 pixels wide and 100 high"),
        ((-50, 0, 0, 50), "overlap"),
        ((10, 10, 10, 60), "x0 < x1"),
        ((10, 10, 12, 13), "too small"),
        ((0, 0, 2, 2), "too small"),
        ((0, 50, 200, 53), "too thin"),
        ((0.1, 0.2, 0.9, 0.8), "fractions"),
        ((-500, 20, 10, 60), "lie in"),
        ((196, 20, 400, 60), "2% lie in"),
        ((-1e300, -1e300, 1e300, 1e300), "as large"),
        ((0, 0, 10**400, 50), "numbers"),
        ((1, 2, 3), r"\(4,\)"),
        ("abcd", "numbers"),
    ],
)
def test_bad_boxes_are_refused(box, says):
    with pytest.raises(InputError, match=says):
        check_box(box, SHAPE)


def test_boxes_without_a_detector_give_untrusted_joints():
    (hand,) = GivenBoxes().detect(IMAGE, boxes=np.array([[10.0, 20.0, 50.0, 60.0]]), side="left")
    assert hand.side == "left"
    np.testing.assert_array_equal(hand.confidence, 0)
    np.testing.assert_array_equal(hand.joints_2d_px, np.tile([30.0, 40.0], (1, 21, 1)))


def test_boxes_without_a_detector_need_a_box_and_a_side():
    with pytest.raises(InputError, match="give a box"):
        GivenBoxes().detect(IMAGE, side="left")
    with pytest.raises(InputError, match="give left or right"):
        GivenBoxes().detect(IMAGE, boxes=np.array([[10.0, 20.0, 50.0, 60.0]]))


def test_joints_are_taken_over():
    hand = given_joints(JOINTS, "right", convention="freihand")
    assert hand.convention == "freihand"
    np.testing.assert_array_equal(hand.joints_2d_px, JOINTS[None])
    np.testing.assert_array_equal(hand.confidence, 1)
    np.testing.assert_array_equal(hand.box_xyxy_px, [*JOINTS.min(axis=0), *JOINTS.max(axis=0)])
    assert GivenJoints([hand]).detect(IMAGE) == [hand]
    assert GivenJoints([hand]).detect(IMAGE, side="left")[0].side == "left"


def test_unseen_joints_may_be_missing():
    joints, confidence = JOINTS.copy(), np.linspace(0.2, 1, 21)
    joints[3], confidence[3] = np.nan, 0
    hand = given_joints(joints.tolist(), "left", confidence)
    assert np.isfinite(hand.joints_2d_px).all()
    np.testing.assert_array_equal(hand.box_xyxy_px[:2], np.delete(JOINTS, 3, axis=0).min(axis=0))


def replaced(index, value):
    changed = JOINTS.copy()
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    ("joints", "confidence", "says"),
    [
        (JOINTS[:20], None, r"\(21, 2\).*\(20, 2\)"),
        (np.zeros((21, 2)), None, "one point"),
        (replaced(4, np.nan), None, "confidence 0"),
        (replaced(4, np.inf), None, "confidence 0"),
        (JOINTS, np.full(21, 1.5), r"\[0, 1\]"),
        (JOINTS, np.full(21, np.nan), r"\[0, 1\]"),
        (JOINTS, np.ones(20), r"\(21,\)"),
        (JOINTS, np.arange(21) < 3, "At least 4"),
        ([["a", "b"]], None, "numbers"),
    ],
)
def test_bad_joints_are_refused(joints, confidence, says):
    with pytest.raises(InputError, match=says):
        given_joints(joints, "left", confidence)


def test_joints_off_the_image_are_refused():
    with pytest.raises(InputError, match="The box of the given joints must overlap"):
        GivenJoints([given_joints(JOINTS + 1000, "left")]).detect(IMAGE)


def test_joints_and_boxes_together_are_refused():
    with pytest.raises(InputError, match="boxes beside them"):
        GivenJoints([given_joints(JOINTS, "left")]).detect(IMAGE, boxes=np.array([[0.0, 0.0, 5.0, 5.0]]))


@pytest.mark.parametrize(
    "box", [(196, 20, 400, 60), (-500, 20, 3, 60), (0.1, 0.1, 0.9, 0.9), (50, 50, 50, 90)]
)
def test_boxes_in_the_place_of_detections_are_checked_as_boxes_are(box):
    from amvur.detect.given import hand_in_box
    from amvur.inference.reconstructor import _check_detections

    _check_detections(IMAGE, [hand_in_box(np.array([50.0, 20.0, 90.0, 60.0]), "left")], None)
    with pytest.raises(InputError, match="detection's box"):
        _check_detections(IMAGE, [hand_in_box(np.array(box, dtype=np.float64), "left")], None)
