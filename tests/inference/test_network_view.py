"""What a network sees of a hand: crops, views in the camera and the picture, answers that are refused."""

from dataclasses import replace

import numpy as np
import pytest
from test_reconstructor import IMAGE, WIDTH, detect, mirror, true_mesh
from told import ToldNetwork
from truth import INTRINSICS, project_numpy

from amvur.errors import InputError
from amvur.inference.frames import enter
from amvur.inference.network.fusion import view_rotation
from amvur.inference.network.view import FusionSettings, crop_of, look
from amvur.inference.reconstructor import Reconstructor
from amvur.structures import Camera, HandDetection


def frames_of(*detections):
    return enter(IMAGE, Camera(INTRINSICS, "given", WIDTH, len(IMAGE)), detections)


def test_a_crop_is_a_square_about_the_joints_and_of_a_box_smaller_by_the_flesh():
    joints = np.stack([np.linspace(100, 200, 21), np.linspace(50, 90, 21)], 1)
    box = np.array([90.0, 40, 210, 100])
    hand = HandDetection("right", 1.0, box, joints[None], np.ones(21))
    crop = crop_of(frames_of(hand)[0], 1.3, 64)
    np.testing.assert_allclose((crop.center_x_px, crop.center_y_px, crop.side_px), (150, 70, 130))
    bare = crop_of(frames_of(replace(hand, confidence=np.zeros(21)))[0], 1.1, 64)
    np.testing.assert_allclose((bare.center_x_px, bare.center_y_px, bare.side_px), (150, 70, 120))


@pytest.fixture(scope="module")
def hand():
    joints = true_mesh()[1]
    return joints, detect(joints)


def test_views_come_back_in_the_camera_and_the_picture(hand):
    joints, detection = hand
    network = ToldNetwork().tell(joints, detection, noise=0).tell(joints, detection, noise=0)
    views = look(network, frames_of(detection, mirror(detection)), FusionSettings())
    assert network.pictures[0].shape == (2, 64, 64, 3)
    for view, side in zip(views, ("right", "left"), strict=True):
        np.testing.assert_allclose(view.joints_2d_px, project_numpy(joints), atol=1e-3, err_msg=side)
        turn = view_rotation(INTRINSICS, view.center_px)
        np.testing.assert_allclose(view.relative_joints_m @ turn, joints - joints[0], atol=1e-6)
        np.testing.assert_allclose(view.joints_2d_std_px, 2.0, rtol=1e-5)
        np.testing.assert_allclose(view.relative_joints_std_m, 0.003, rtol=1e-5)


def test_answers_for_two_crops_are_averaged_and_their_difference_counts(hand):
    joints, detection = hand
    network = ToldNetwork(seed=1).tell(joints, detection, 1.2).tell(joints, detection, 1.5)
    both = FusionSettings(crop_scales=(1.2, 1.5))
    (view,) = look(network, frames_of(detection), both)
    first, second = (answer[0].astype(np.float32) for answer in network.answers)
    np.testing.assert_allclose(view.relative_joints_m, (first + second) / 2, atol=1e-7)
    expected = np.hypot(0.003, np.abs(first - second) / 2)
    np.testing.assert_allclose(view.relative_joints_std_m, expected, rtol=1e-4)
    assert np.linalg.norm(view.joints_2d_px - project_numpy(joints), axis=1).mean() < 4


def test_a_hand_off_the_picture_has_no_view(hand):
    joints, detection = hand
    away = replace(detection, joints_2d_px=detection.joints_2d_px + 5000)
    network = ToldNetwork().tell(joints, detection)
    views = look(network, frames_of(away, detection), FusionSettings())
    assert views[0] is None
    assert views[1] is not None
    reconstruct = Reconstructor(detector="none", device="cpu", checkpoint=network.trained())
    hands = reconstruct(IMAGE, intrinsics=INTRINSICS, detections=[away, detection])
    assert all(np.isfinite(h.vertices).all() for h in hands)


def test_an_answer_that_is_not_finite_is_refused(hand):
    network = ToldNetwork().tell(*hand)
    network.answers[0][1][3] = np.inf
    with pytest.raises(InputError, match="not finite"):
        look(network, frames_of(hand[1]), FusionSettings())


@pytest.mark.parametrize(
    "wrong", [{"network_scale_3d": 0.0}, {"crop_scales": ()}, {"network_scale_2d": np.nan}]
)
def test_settings_that_cannot_weigh_are_refused(wrong):
    with pytest.raises(InputError, match="above 0"):
        FusionSettings(**wrong)
