"""Axes, rest angles and limits derived from 21 joints: what the axes do, and the two sides' symmetry."""

import math

import numpy as np
import pytest
from factories import rest_joints
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from amvur.hand.anatomy import anatomical_axes, anatomical_limits, palm_normal, rest_angles
from amvur.hand.joints import BONE_JOINTS
from amvur.hand.open_hand import load_open_hand

FLIP = np.array([-1.0, 1.0, 1.0])
# `rest_joints` is a right hand seen from its back: fingers −y, thumb −x, and so the palm faces +z.
PALM, THUMB_SIDE, DISTAL = np.array([0, 0, 1.0]), np.array([-1.0, 0, 0]), np.array([0, -1.0, 0])
FLEXION, ABDUCTION, TWIST = range(3)
FIRST = {"index": 0, "middle": 3, "little": 6, "ring": 9, "thumb": 12}
SEEDS = st.integers(0, 2**32 - 1)


def uneven_hand(seed=0, scale=0.003):
    return rest_joints() + np.random.default_rng(seed).normal(size=(21, 3)) * scale


def bone(joints, k):
    direction = joints[BONE_JOINTS[k + 1] + 1] - joints[BONE_JOINTS[k + 1]]
    return direction / np.linalg.norm(direction)


def moves(joints, axes, k, which):
    """Where a small positive turn about an axis takes the end of bone k+1."""
    return np.cross(axes[k, which], bone(joints, k))


def test_palm_normal():
    np.testing.assert_allclose(palm_normal(rest_joints(), "right"), PALM, atol=1e-12)
    np.testing.assert_allclose(palm_normal(rest_joints() * FLIP, "left"), PALM, atol=1e-12)


def test_fingers_flex_into_the_palm():
    joints = rest_joints()
    axes = anatomical_axes(joints, "right")
    for k in range(12):
        np.testing.assert_allclose(moves(joints, axes, k, FLEXION), PALM, atol=1e-9)


def test_the_thumb_flexes_across_the_palm_and_abducts_out_of_it():
    joints = rest_joints()
    axes = anatomical_axes(joints, "right")
    for k in (12, 13, 14):
        assert moves(joints, axes, k, FLEXION) @ -THUMB_SIDE > 0.5
        assert moves(joints, axes, k, FLEXION) @ PALM > 0.2
        assert moves(joints, axes, k, ABDUCTION) @ PALM > 0.5
        assert moves(joints, axes, k, ABDUCTION) @ THUMB_SIDE > 0


def test_fingers_abduct_away_from_the_middle_one():
    joints = rest_joints()
    axes = anatomical_axes(joints, "right")
    for finger, sign in (("index", 1), ("middle", 1), ("ring", -1), ("little", -1)):
        assert sign * moves(joints, axes, FIRST[finger], ABDUCTION) @ THUMB_SIDE > 0.8


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_axes_are_right_handed_frames_along_the_bones(seed):
    joints = uneven_hand(seed)
    axes = anatomical_axes(joints, "right")
    np.testing.assert_allclose(axes @ axes.transpose(0, 2, 1), np.tile(np.eye(3), (15, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(axes), 1, atol=1e-12)
    for k in range(15):
        sign = -1 if 6 <= k < 12 else 1  # little and ring
        np.testing.assert_allclose(axes[k, TWIST], sign * bone(joints, k), atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_the_left_hand_is_the_mirrored_right_one(seed):
    joints = uneven_hand(seed)
    right, left = anatomical_axes(joints, "right"), anatomical_axes(joints * FLIP, "left")
    np.testing.assert_allclose(left, right * -FLIP, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(left), 1, atol=1e-12)
    np.testing.assert_allclose(rest_angles(joints, "right"), rest_angles(joints * FLIP, "left"), atol=1e-12)
    for k in range(15):
        for which in (FLEXION, ABDUCTION):
            ours = np.cross(left[k, which], bone(joints * FLIP, k))
            np.testing.assert_allclose(ours, moves(joints, right, k, which) * FLIP, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_any_frame_and_unit_will_do(seed):
    joints, turn = uneven_hand(seed), Rotation.random(random_state=seed)
    moved = 1000 * turn.apply(joints) + 3
    for ours, expected in zip(anatomical_axes(moved, "right"), anatomical_axes(joints, "right"), strict=True):
        np.testing.assert_allclose(ours, turn.apply(expected), atol=1e-9)
    np.testing.assert_allclose(rest_angles(moved, "right"), rest_angles(joints, "right"), atol=1e-9)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("finger", [1, 2, 3, 4])
@pytest.mark.parametrize("angles_deg", [(20, 35, 15), (-10, 5, 60), (70, 80, 40)])
def test_a_bent_finger_has_the_angles_it_was_bent_by(side, finger, angles_deg):
    joints = rest_joints() * (FLIP if side == "left" else 1)
    base = 1 + 4 * finger
    bones = np.diff(joints[base : base + 4], axis=0)
    hinge = np.cross(bones[0], PALM) / np.linalg.norm(bones[0])
    total = 0.0
    for i, angle in enumerate(angles_deg):
        total += math.radians(angle)
        joints[base + i + 1] = joints[base + i] + Rotation.from_rotvec(hinge * total).apply(bones[i])
    first = (0, 3, 9, 6)[finger - 1]
    ours = np.degrees(rest_angles(joints, side)[first : first + 3, FLEXION])
    np.testing.assert_allclose(ours, angles_deg, atol=1e-6)


def test_a_spread_finger_is_abducted():
    joints = rest_joints()
    before = rest_angles(joints, "right")
    spread = joints.copy()
    for finger, sign in ((1, 1), (4, -1)):
        base = 1 + 4 * finger
        turn = Rotation.from_rotvec(sign * math.radians(10) * -PALM)
        spread[base + 1 : base + 4] = joints[base] + turn.apply(joints[base + 1 : base + 4] - joints[base])
    change = np.degrees(rest_angles(spread, "right") - before)[:, ABDUCTION]
    np.testing.assert_allclose(change[[FIRST["index"], FIRST["little"]]], 10, atol=1e-9)
    np.testing.assert_allclose(np.delete(change, [FIRST["index"], FIRST["little"]]), 0, atol=1e-9)


def test_limits_are_the_published_ranges_about_the_rest_pose():
    rest = np.zeros((15, 3))
    rest[FIRST["index"] + 1, FLEXION] = math.radians(20)  # index PIP
    limits = np.degrees(anatomical_limits(rest))
    np.testing.assert_allclose(limits[FIRST["index"] + 1, FLEXION], [-25, 85])
    np.testing.assert_allclose(limits[FIRST["ring"] + 1, FLEXION], [-5, 105])
    np.testing.assert_allclose(limits[FIRST["little"], ABDUCTION], [-20, 20])
    np.testing.assert_allclose(limits[FIRST["thumb"] + 2, FLEXION], [-15, 80])


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_limits_hold_the_rest_pose(seed):
    rest = np.random.default_rng(seed).normal(size=(15, 3))
    limits = anatomical_limits(rest)
    assert (limits[..., 0] <= 0).all()
    assert (limits[..., 1] >= 0).all()


def test_the_open_hands_own_axes_are_near():
    """Its axes were found on its nails, ours from joints alone: they differ by less than 20 degrees."""
    hand = load_open_hand("right")
    ours = anatomical_axes(hand.joint_template, "right")
    apart = np.degrees(np.arccos(np.clip((ours * hand.pose_axes).sum(-1), -1, 1)))
    assert apart.max() < 20
    difference = np.degrees(rest_angles(hand.joint_template, "right") - hand.rest_angles)
    assert np.abs(difference).max() < 4
