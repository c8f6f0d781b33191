"""From detections to observations: mirrored hands, several passes, unseen joints, boxes."""

from dataclasses import fields, replace

import numpy as np
import pytest

from amvur.detect.convention import load_convention
from amvur.inference.estimator.observation import NetworkObservations, Observations, observe
from amvur.inference.frames import enter, lies_on, merge_passes
from amvur.structures import Camera, HandDetection

WIDTH = 640
INTRINSICS = np.array([[800.0, 1.5, 300], [0, 780, 250], [0, 0, 1]])
OURS = load_convention("amvur")
NAMES = [field.name for field in fields(Observations)]


def detection(seed=0, passes=3, **changes):
    rng = np.random.default_rng(seed)
    hand = HandDetection(
        side="right",
        score=0.9,
        box_xyxy_px=np.array([200.0, 100, 400, 330]),
        joints_2d_px=rng.uniform(100, 400, (1, 21, 2)) + rng.normal(size=(passes, 21, 2)),
        confidence=rng.uniform(0.3, 1, 21),
        depth_px=rng.normal(size=(passes, 21)) * 30,
        landmarks_3d_m=rng.normal(size=(passes, 21, 3)) * 0.05,
    )
    return replace(hand, **changes)


def mirrored(hand):
    """The same hand in the mirrored picture."""
    x0, y0, x1, y1 = hand.box_xyxy_px
    marks = hand.landmarks_3d_m
    return replace(
        hand,
        side="left" if hand.side == "right" else "right",
        box_xyxy_px=np.array([WIDTH - x1, y0, WIDTH - x0, y1]),
        joints_2d_px=hand.joints_2d_px * [-1, 1] + [WIDTH, 0],
        landmarks_3d_m=None if marks is None else marks * [-1, 1, 1],
    )


def observe_all(hands, intrinsics=INTRINSICS):
    return observe(enter(None, Camera(intrinsics, "given", WIDTH, 480), hands), OURS)


def observed(hand, intrinsics=INTRINSICS):
    return observe_all([hand], intrinsics)


def assert_same(one, other, **tolerance):
    for name in NAMES:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), err_msg=name, **tolerance)


def test_a_detection_lies_on_the_joints_that_it_is_near():
    hand = detection()
    middle = np.median(hand.joints_2d_px, 0)
    size = np.ptp(middle, axis=0).max()
    for share, near in ((0.0, True), (0.14, True), (0.16, False)):
        aside = np.array([share * size, 0])
        assert lies_on(hand, middle + aside) == near


@pytest.mark.parametrize("kind", ["all", "2D only", "box only"])
def test_a_left_hand_is_the_right_hand_of_the_mirrored_picture(kind):
    hand = detection()
    if kind == "2D only":
        hand = replace(hand, depth_px=None, landmarks_3d_m=None)
    if kind == "box only":
        hand = replace(hand, confidence=np.zeros(21))
    camera = INTRINSICS * [[1, -1, 1], [1, 1, 1], [1, 1, 1]]
    camera[0, 2] = WIDTH - camera[0, 2]
    assert_same(observed(mirrored(hand), camera), observed(hand), rtol=1e-12, atol=1e-12)


def test_hands_of_both_sides_share_a_batch():
    hands = [detection(0), mirrored(detection(1)), detection(2)]
    together = observe_all(hands)
    for i, hand in enumerate(hands):
        one = observed(hand)
        for name in NAMES:
            np.testing.assert_array_equal(getattr(together, name)[i], getattr(one, name)[0])


def test_passes_are_merged_by_their_median():
    hand = detection(passes=5)
    hand.joints_2d_px[4, 8] += 500
    seen = observed(hand)
    np.testing.assert_allclose(seen.joints_2d[0], np.median(hand.joints_2d_px, 0))
    np.testing.assert_allclose(seen.depth[0], np.median(hand.depth_px, 0) * OURS.depth_gain)
    np.testing.assert_allclose(seen.landmarks_3d[0], np.median(hand.landmarks_3d_m, 0))
    assert np.abs(seen.joints_2d[0, 8] - hand.joints_2d_px[0, 8]).max() < 5


def test_passes_that_differ_weigh_less():
    agreeing = detection(passes=5)
    differing = replace(agreeing, joints_2d_px=agreeing.joints_2d_px.copy())
    differing.joints_2d_px[:, 8] += 20 * np.array([-2, -1, 0, 1, 2])[:, None]
    one, other = (observed(hand).joints_2d_weight[0] for hand in (agreeing, differing))
    assert other[8] < 0.8 * one[8]
    spread = merge_passes(differing).spread_px
    np.testing.assert_allclose(spread[8], np.sqrt(differing.joints_2d_px[:, 8].var(0).mean()))


def test_weights_are_the_conventions_scales():
    joints = np.zeros((1, 21, 2))
    joints[0, 1] = 200, 100  # 200 px long
    seen = observed(detection(passes=1, joints_2d_px=joints, confidence=np.ones(21)))
    np.testing.assert_allclose(seen.joints_2d_weight[0], 1 / (200 * OURS.joints_2d_scale))
    np.testing.assert_allclose(seen.depth_weight[0], 1 / (200 * OURS.depth_scale))
    np.testing.assert_allclose(seen.landmarks_3d_weight[0], 1 / OURS.landmarks_3d_scale_m)


@pytest.mark.parametrize("nonsense", [np.nan, 1e9, 0.0])
def test_what_stands_at_an_unseen_joint_does_not_matter(nonsense):
    hand = detection()
    confidence = hand.confidence.copy()
    confidence[[3, 17]] = 0
    clean = replace(hand, confidence=confidence)
    values = {}
    for name in ("joints_2d_px", "depth_px", "landmarks_3d_m"):
        values[name] = getattr(hand, name).copy()
        values[name][:, [3, 17]] = nonsense
    one, other = observed(clean), observed(replace(clean, **values))
    assert_same(one, other)
    for name in ("joints_2d_weight", "depth_weight", "landmarks_3d_weight"):
        assert (getattr(one, name)[0, [3, 17]] == 0).all()
    assert all(np.isfinite(getattr(other, name)).all() for name in NAMES)


def test_a_box_gives_an_open_hand_that_fills_it_and_weighs_little():
    box = np.array([100.0, 50, 260, 250])
    center = np.tile((box[:2] + box[2:]) / 2, (1, 21, 1))
    bare = HandDetection("right", 1.0, box, center, np.zeros(21))
    joints = merge_passes(bare).joints_2d_px
    assert np.ptp(joints, axis=0).max() == pytest.approx(0.9 * 200, rel=0.05)
    assert (joints.min(0) >= box[:2] - 20).all()
    assert (joints.max(0) <= box[2:] + 20).all()
    assert merge_passes(bare).size_px > 100
    alone, seen = (
        observed(bare),
        observed(replace(bare, joints_2d_px=joints[None], confidence=np.ones(21))),
    )
    assert (alone.joints_2d_weight < 0.3 * seen.joints_2d_weight).all()
    assert (alone.depth_weight == 0).all()
    assert (alone.landmarks_3d_weight == 0).all()


def test_hands_are_chosen_as_often_as_they_are_named(rng):
    seen = observe_all([detection(0), detection(1)])
    told = NetworkObservations(*(rng.normal(size=(2, 21, *k)) for k in ((3,), (3, 3), (2,), (2,))))
    rows = np.array([1, 0, 1])
    for whole in (seen, told):
        for name, values in vars(whole[rows]).items():
            np.testing.assert_array_equal(values, getattr(whole, name)[rows])


def test_all_weights_of_a_hand_fall_by_a_share():
    seen = observe_all([detection(0), detection(1)])
    less = seen.down_weighted(np.array([[0.25], [1.0]]))
    for name in NAMES:
        before, after = getattr(seen, name), getattr(less, name)
        np.testing.assert_array_equal(after[0], before[0] * (0.25 if name.endswith("weight") else 1))
        np.testing.assert_array_equal(after[1], before[1])
