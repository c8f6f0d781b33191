"""Contours of hands in a picture: hands drawn to where it has them, left ones too, and hands out of it."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from posed import covered
from scipy.ndimage import gaussian_filter
from test_reconstructor import HEIGHT, WIDTH, detect, mirror, true_mesh
from truth import INTRINSICS, project_numpy

from amvur.hand.kinematics import HandState
from amvur.hand.loading import load_hand_model
from amvur.hand.posing import HandPoser
from amvur.inference.calibration import FEATURES
from amvur.inference.estimator.config import ContourSettings
from amvur.inference.frames import enter
from amvur.inference.reconstructor import Reconstructor
from amvur.inference.silhouette.finder import ContourFinder
from amvur.inference.silhouette.segmentation import shipped_segmentation
from amvur.structures import Camera

CAMERA = Camera(INTRINSICS, "given", WIDTH, HEIGHT)


@cache
def photograph(skin=(200, 140, 110), table=(70, 110, 150)):
    """The true hand in one color before a table of another, with noise."""
    mask = covered(true_mesh()[0], load_hand_model("open").faces, INTRINSICS, HEIGHT, WIDTH)
    picture = gaussian_filter(np.where(mask[..., None], skin, table).astype(float), (0.7, 0.7, 0))
    picture += 6 * np.random.default_rng(0).normal(size=picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def beside(shift_px):
    """A detector that puts all joints so far beside the hand."""
    detection = detect(true_mesh()[1])
    return replace(detection, joints_2d_px=detection.joints_2d_px + shift_px)


@pytest.fixture(scope="module")
def reconstructor():
    return Reconstructor(detector="none", checkpoint="none", device="cpu", texture="sampled")


def fit(reconstructor, detections, image=None, camera=CAMERA):
    return reconstructor.fit(enter(image, camera, detections))


def off_px(hand):
    """How far the projected mesh is from the true one (px, median over vertices)."""
    places = project_numpy(hand.posterior.mesh().vertices[0].astype(float))
    return np.median(np.linalg.norm(places - project_numpy(true_mesh()[0]), axis=1))


def test_a_hand_is_drawn_to_its_contour_and_told_how_far_it_still_is_from_it(reconstructor):
    """Joints that are all 6 px too far to the right: the picture knows better."""
    shifts = [(x, 0.0) for x in (0.0, 6.0, 26.0)]
    (blind,) = fit(reconstructor, [beside((6.0, 0.0))])
    there, drawn, far = fit(reconstructor, [beside(x) for x in shifts], photograph())
    assert off_px(blind) > 4.5
    assert off_px(drawn) < 0.9 * off_px(blind)
    assert off_px(there) < 1.5
    mismatch = [hand.features[FEATURES.index("log_mismatch")] for hand in (there, drawn, far)]
    assert mismatch == sorted(mismatch)
    assert mismatch[2] > mismatch[0] + 0.5
    assert blind.features[-1] == 0  # nothing was looked at


def test_a_hand_outside_of_the_picture_is_left_alone(reconstructor):
    gone = [beside((5000.0, 0.0))]
    (blind,) = fit(reconstructor, gone)
    (seeing,) = fit(reconstructor, gone, photograph())
    apart = np.linalg.norm(blind.posterior.state.transl - seeing.posterior.state.transl)
    assert apart < 0.02 * np.linalg.norm(blind.posterior.state.transl)
    assert seeing.features[-1] == 0
    assert seeing.look is None
    assert np.isfinite(seeing.posterior.mesh().vertices).all()


def test_left_hands_mirror_and_share_the_batch(reconstructor):
    """The left hand of the mirrored picture comes out as the mirror image, alone or beside a right hand."""
    right = beside((4.0, 3.0))
    (alone,) = fit(reconstructor, [right], photograph())
    (left,) = fit(reconstructor, [mirror(right)], photograph()[:, ::-1], CAMERA.mirrored())
    np.testing.assert_allclose(left.posterior.state.transl, alone.posterior.state.transl, atol=5e-4)
    np.testing.assert_allclose(left.posterior.state.rotations, alone.posterior.state.rotations, atol=1e-2)
    both = np.minimum(photograph(), photograph()[:, ::-1])
    pair = fit(reconstructor, [right, mirror(right)], both)
    (single,) = fit(reconstructor, [mirror(right)], both)
    np.testing.assert_allclose(pair[1].posterior.state.betas, single.posterior.state.betas, atol=0.02)


def test_contours_are_points_of_the_skin_of_hands_in_the_picture():
    """Of a hand that nobody sees no point counts; a second look may be at some of the hands."""
    pose = HandPoser(load_hand_model("open"))
    turns = np.tile(np.eye(3), (2, 16, 1, 1))
    state = HandState(turns, np.zeros((2, 10)), np.array([[0.0, 0.05, 0.45], [9.0, 0.0, 0.45]]))
    frames = enter(photograph(), CAMERA, [beside(0), beside(0)])
    finder, rows = ContourFinder(frames, pose, shipped_segmentation(), ContourSettings()), np.arange(2)
    found = finder(state, rows)
    first = finder.looks[0]
    assert finder.looks[1] is None
    assert (found.weight[1] == 0).all()
    counts = found.weight[0] > 0
    np.testing.assert_allclose(np.linalg.norm(found.normals[0][counts], axis=1), 1, rtol=1e-6)
    on_skin = project_numpy(pose.hand.place(found.surface, state))[0]
    off = ((on_skin - found.places[0]) * found.normals[0]).sum(1)
    # as far as is searched, and once more what all sides of a part have in common
    assert np.abs(off).max() < 2 * 8 * first.view.pixel_px * 224 / 128
    again = finder(state[rows[:1]], rows[:1])
    np.testing.assert_array_equal(again.places[0], found.places[0])
    assert finder.looks[1] is None
