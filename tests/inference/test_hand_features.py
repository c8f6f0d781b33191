"""What tells good fits from bad ones."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_reconstructor import WIDTH, detect, true_mesh
from told import ToldNetwork
from truth import INTRINSICS

from amvur.detect.convention import load_convention
from amvur.hand.kinematics import N_PARAMETERS, HandState
from amvur.inference.calibration import FEATURES, calibration_from, hand_features
from amvur.inference.estimator.estimate import Estimate
from amvur.inference.estimator.observation import observe
from amvur.inference.frames import enter
from amvur.inference.network.fusion import fuse
from amvur.inference.network.view import NetworkView
from amvur.inference.silhouette.segmentation import HandPixels
from amvur.structures import Camera

JOINTS = true_mesh()[1]


def features(joints, view, pixels=None):
    """Features of a hand fitted with these joints (m), of whom the detector knows the true ones."""
    frames = enter(None, Camera(INTRINSICS, "given", WIDTH, 480), [detect(JOINTS)])
    seen, told = observe(frames, load_convention("amvur")), None
    if view is not None:
        seen, told = fuse(seen, frames, [view], ToldNetwork().trained().fusion)
    state = HandState(np.tile(np.eye(3), (1, 16, 1, 1)), np.zeros((1, 10)), JOINTS[:1])
    curvature = np.zeros((1, N_PARAMETERS, N_PARAMETERS))
    one = np.ones(1)
    estimate = Estimate(state, curvature, curvature, one, joints[None], JOINTS[:1, 2], one)
    found = hand_features(frames, seen, told, estimate, [pixels])
    return dict(zip(FEATURES, found[0], strict=True))


def view_of(joints):
    """A network's view of a hand with these joints, by a crop in the middle of the picture."""
    middle = INTRINSICS[:2, 2]
    one = np.ones((21, 2))
    return NetworkView(middle, joints - joints[0], np.full((21, 3), 0.01), one, one)


def test_a_network_that_agrees_up_to_a_similarity_tells_the_least():
    turn = Rotation.from_euler("xyz", (10, 50, -20), degrees=True).as_matrix()
    found = features(JOINTS @ turn.T * 1.1 + 0.2, view_of(JOINTS))
    assert found["log_disagreement"] == pytest.approx(np.log(1 / 8))


def test_disagreement_grows_with_the_distance():
    off = np.random.default_rng(0).normal(size=(21, 3)) / np.sqrt(3)
    near, far = (features(JOINTS, view_of(JOINTS + a * off)) for a in (0.004, 0.008))
    assert near["log_disagreement"] == pytest.approx(np.log(0.004 / 0.008), abs=0.4)
    assert far["log_disagreement"] - near["log_disagreement"] == pytest.approx(np.log(2), abs=0.05)
    without = (far[name] == near[name] for name in near if name != "log_disagreement")
    assert all(without)


def test_without_a_network_there_is_no_disagreement():
    assert features(JOINTS, None)["log_disagreement"] == 0


def test_a_calibration_may_leave_the_last_features_out():
    read = calibration_from({"coefficients": [0.5, 1.0], "floor_m": [0.001] * 21})
    np.testing.assert_array_equal(read.coefficients, [0.5, 1, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(read.inflation(np.array([[1, 0.5, 9, 9, 9, 9, 9.0]])), np.exp(1.0))


def test_a_network_half_as_sure_is_told_so():
    sure = view_of(JOINTS)
    unsure = NetworkView(
        sure.center_px,
        sure.relative_joints_m,
        2 * sure.relative_joints_std_m,
        sure.joints_2d_px,
        sure.joints_2d_std_px,
    )
    before, after = features(JOINTS, sure), features(JOINTS, unsure)
    assert after["log_network_std"] - before["log_network_std"] == pytest.approx(np.log(2))
    assert all(after[name] == before[name] for name in before if name != "log_network_std")
    assert features(JOINTS, None)["log_network_std"] == 0


def seen(covered):
    """A mesh of 100 pixels, so many of which the hand covers, though none of them shows it."""
    depth, number = np.full((10, 10), 3.0), np.arange(100).reshape(10, 10)
    logits = np.stack([np.full(depth.shape, -99.0), np.where(number < covered, 99.0, -99.0)])
    return HandPixels(logits.astype(np.float32), depth, np.full(depth.shape, 2.0))


def test_a_mesh_beside_the_segmented_hand_tells_and_an_unknown_picture_does_not():
    found = [
        features(JOINTS, None, pixels)["log_mismatch"] for pixels in (seen(90), seen(80), seen(100), None)
    ]
    np.testing.assert_allclose(found, [0, np.log(2), np.log(0.2), 0], atol=1e-6)
