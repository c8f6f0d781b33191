"""The door: hands enter as right ones in the mirror image, and leave as they came."""

from dataclasses import replace

import numpy as np
import pytest
from test_reconstructor import IMAGE, detect, true_mesh
from truth import INTRINSICS, project_numpy

from amvur.inference.frames import enter
from amvur.structures import Camera

SKEWED = Camera(INTRINSICS + np.array([[0, 3.0, 0], [0, 0, 0], [0, 0, 0]]), "given", 640, 480)


def test_a_mirrored_camera_sees_the_mirrored_hand(rng):
    points = rng.normal(size=(9, 3)) * [0.1, 0.1, 0.05] + [0, 0, 0.5]
    here = points @ SKEWED.intrinsics.T
    there = (points * [-1, 1, 1]) @ SKEWED.mirrored().intrinsics.T
    x, y = (here[:, :2] / here[:, 2:]).T
    np.testing.assert_allclose(there[:, :2] / there[:, 2:], np.stack([640 - x, y], 1))
    assert SKEWED.mirrored().mirrored() == SKEWED
    assert (SKEWED.mirrored().source, SKEWED.mirrored().height) == ("given", 480)


def test_a_right_hand_enters_as_it_is_and_a_left_one_in_the_mirror_image():
    hand = detect(true_mesh()[1])
    one, other = enter(IMAGE, SKEWED, [hand, replace(hand, side="left")])
    assert (one.image is IMAGE, one.detection is hand, one.camera is SKEWED) == (True, True, True)
    assert other.detection.side == "right"
    np.testing.assert_array_equal(other.image, IMAGE[:, ::-1])
    np.testing.assert_allclose(other.detection.joints_2d_px[..., 0], 640 - hand.joints_2d_px[..., 0])
    x0, y0, x1, y1 = hand.box_xyxy_px
    np.testing.assert_allclose(other.detection.box_xyxy_px, [640 - x1, y0, 640 - x0, y1])
    np.testing.assert_array_equal(other.detection.depth_px, hand.depth_px)
    np.testing.assert_allclose(other.detection.landmarks_3d_m, hand.landmarks_3d_m * [-1, 1, 1])
    points = project_numpy(true_mesh()[1])
    np.testing.assert_allclose(one.flip * other.flip, [-1, 1, 1])
    assert other.merged.size_px == pytest.approx(np.ptp(points, axis=0).max(), rel=1e-6)


def test_without_a_picture_there_is_none_in_the_mirror():
    (frame,) = enter(None, SKEWED, [replace(detect(true_mesh()[1]), side="left")])
    assert frame.image is None
