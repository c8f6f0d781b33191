"""A network's word beside a detector's: weights, frames, and what it adds to a fitted hand."""

from dataclasses import replace

import numpy as np
import pytest
from test_reconstructor import IMAGE, WIDTH, aligned, detect, true_mesh
from told import ToldNetwork
from truth import INTRINSICS, exact_observations, project_numpy, true_hands

from amvur.inference.estimator.posterior import aligned_std
from amvur.inference.frames import enter, merge_passes
from amvur.inference.network.fusion import fuse, view_rotation
from amvur.inference.network.view import FusionSettings, look
from amvur.inference.reconstructor import Reconstructor
from amvur.structures import Camera, HandDetection

FLIP = np.array([-1.0, 1.0, 1.0])
CAMERA = Camera(INTRINSICS, "given", WIDTH, len(IMAGE))


def frames_of(*detections):
    return enter(IMAGE, CAMERA, detections)


@pytest.fixture(scope="module")
def hand():
    joints = true_mesh()[1]
    return joints, detect(joints)


@pytest.fixture(scope="module")
def view(hand):
    network = ToldNetwork().tell(*hand)
    return look(network, frames_of(hand[1]), FusionSettings())[0]


def test_a_view_looks_along_the_ray_to_its_middle(rng):
    torch = pytest.importorskip("torch")
    from amvur.geometry import cameras

    skewed = np.array([[800.0, 3, 320], [0, 780, 240], [0, 0, 1]])
    for center in rng.uniform(0, 600, (5, 2)):
        ours = view_rotation(skewed, center)
        wanted = cameras.view_rotation(torch.as_tensor(skewed), torch.as_tensor(center))
        np.testing.assert_allclose(ours, wanted, atol=1e-12)


def test_the_networks_word_is_turned_to_the_cameras_axes_and_weighed_there(hand, view):
    seen, settings = exact_observations(true_hands(2)), FusionSettings(2.0, 3.0)
    told = fuse(seen, frames_of(hand[1]) * 2, [view, None], settings)[1]
    turn = view_rotation(INTRINSICS, view.center_px)
    np.testing.assert_allclose(told.relative_joints[0], view.relative_joints_m @ turn)
    off = np.array([1.0, -2.0, 3.0]) * 1e-3  # along the view's axes
    np.testing.assert_allclose(told.relative_weight[0] @ (off @ turn), off / (2 * view.relative_joints_std_m))
    np.testing.assert_allclose(told.joints_2d_weight[0], 1 / (3 * view.joints_2d_std_px))
    assert told.present.tolist() == [True, False]
    assert all((values[1] == 0).all() for values in vars(told).values())


def test_2d_joints_can_be_left_to_the_detector(hand, view):
    """Beside a detector only the 3D word counts then; of a bare box the network tells all, the box nothing."""
    bare, seen = replace(hand[1], confidence=np.zeros(21)), exact_observations(true_hands(2))
    (own, told), (_, left) = (
        fuse(seen, frames_of(hand[1], bare), [view, view], FusionSettings(joints_2d_beside_detector=both))
        for both in (True, False)
    )
    np.testing.assert_array_equal(left.relative_weight, told.relative_weight)
    np.testing.assert_array_equal(left.joints_2d_weight[1], told.joints_2d_weight[1])
    assert (told.joints_2d_weight > 0).all()
    assert (left.joints_2d_weight[0] == 0).all()
    assert (own.joints_2d_weight[1] == 0).all()


def test_beside_a_network_passes_that_differ_are_believed_less(hand, view):
    """All weights of the detector fall with how far its passes differ, beyond 1 % of the hand's size."""
    _, detection = hand
    seen = exact_observations(true_hands(4))
    joints = np.repeat(detection.joints_2d_px[:1], 3, 0)
    steady = replace(detection, joints_2d_px=joints, depth_px=None, landmarks_3d_m=None)
    far = np.sqrt(3) * 0.04 * np.ptp(joints[0], axis=0).max()
    step = np.array([-1.0, 0.0, 1.0])[:, None, None] * np.array([far, 0.0])
    differing = replace(steady, joints_2d_px=joints + step)
    assert merge_passes(differing).relative_spread == pytest.approx(0.04)
    detections, views = [differing, steady, detection, differing], [view, view, view, None]
    added, _ = fuse(seen, frames_of(*detections), views, FusionSettings())
    for name in ("joints_2d_weight", "depth_weight", "landmarks_3d_weight"):
        before, after = getattr(seen, name), getattr(added, name)
        assert (before > 0).any()
        np.testing.assert_allclose(after[0], before[0] / 4)
        np.testing.assert_array_equal(after[1:], before[1:])
    patient, _ = fuse(seen, frames_of(*detections), views, FusionSettings(steady_looks=0.02))
    np.testing.assert_allclose(patient.joints_2d_weight[0], seen.joints_2d_weight[0] / 2)


def rough(joints, seed, scale=0.06):
    """What a poor detector says: 2D joints only, off by a share of the hand's size."""
    exact = detect(joints)
    size = np.ptp(exact.joints_2d_px[0], axis=0).max()
    off = scale * size * np.random.default_rng(seed).normal(size=(1, 21, 2))
    return replace(exact, joints_2d_px=exact.joints_2d_px + off, depth_px=None, landmarks_3d_m=None)


def without_picture(engine, detection):
    """The hand fitted without its outline."""
    views = engine.trained and engine.trained.look(frames_of(detection))
    return engine.fit(enter(None, CAMERA, [detection]), views)


def aligned_error(ours, true):
    return np.linalg.norm(aligned(ours, true) - true, axis=1).mean()


def test_fused_hands_beat_those_of_the_detector_alone_and_of_the_network_alone():
    alone = Reconstructor(detector="none", checkpoint="none", device="cpu")
    fusing = Reconstructor(
        detector="none", checkpoint=ToldNetwork().trained(network_scale_3d=1.0), device="cpu"
    )
    errors = {"detector": [], "network": [], "fused": []}
    for seed, turn in enumerate([(1.4, 0.5, -0.6), (0.2, -0.7, 0.3), (-1.0, 0.6, 1.5), (0.5, 2.5, 0.2)]):
        joints = true_mesh(turn=turn)[1]
        detection = rough(joints, seed)
        network = ToldNetwork(0.006, 5.0, seed).tell(joints, detection)
        fusing.trained = network.trained(network_scale_3d=1.0)
        for name, engine in (("detector", alone), ("fused", fusing)):
            (fitted,) = without_picture(engine, detection)
            errors[name].append(aligned_error(fitted.posterior.mesh().joints[0], joints))
        errors["network"].append(aligned_error(network.answers[0][0], joints))
    mean = {name: np.mean(values) for name, values in errors.items()}
    assert mean["fused"] < 0.6 * mean["detector"]
    assert mean["fused"] < 0.8 * mean["network"]


@pytest.fixture(scope="module")
def box_pair():
    """A right hand from a box and a network alone, and the left hand of the mirrored picture."""
    joints = true_mesh()[1]
    pixels = project_numpy(joints)
    box = np.concatenate([pixels.min(0) - 12, pixels.max(0) + 12])
    bare = HandDetection("right", 1.0, box, np.zeros((1, 21, 2)), np.zeros(21))
    network = ToldNetwork(0.004, 3.0).tell(joints, bare)
    reconstruct = Reconstructor(detector="none", device="cpu", checkpoint=network.trained())
    x, y, _ = np.meshgrid(np.arange(WIDTH), np.arange(len(IMAGE)), [0])  # smooth, as pixels merge in crops
    image = np.concatenate([x / 4, y / 3, (x + 2 * y) / 8], -1).astype(np.uint8)
    (right,) = reconstruct(image, intrinsics=INTRINSICS, boxes=box[None], side="right")
    x0, y0, x1, y1 = box
    camera = CAMERA.mirrored().intrinsics
    mirrored = np.array([[WIDTH - x1, y0, WIDTH - x0, y1]])
    (left,) = reconstruct(image[:, ::-1].copy(), intrinsics=camera, boxes=mirrored, side="left")
    return joints, right, left, network


def test_a_box_and_a_network_give_the_hand(box_pair):
    joints, right, _, _ = box_pair
    assert aligned_error(right.joints, joints) < 0.004
    assert np.abs(right.joints_2d - project_numpy(joints)).mean() < 3
    assert not any("guess" in warning for warning in right.warnings)
    assert not any("hardly seen" in warning for warning in right.warnings)


def test_the_mirrored_picture_gives_the_mirrored_hand(box_pair):
    _, right, left, network = box_pair
    assert left.side == "left"
    np.testing.assert_allclose(left.joints, right.joints * FLIP, atol=1e-5)
    np.testing.assert_allclose(left.joints_std, right.joints_std, rtol=1e-3)
    np.testing.assert_allclose(*(p.astype(int) for p in network.pictures), atol=3)


def test_a_network_makes_a_hand_more_sure(hand):
    """Before calibration: that asks the errors how sure hands are, and not how much evidence there was."""
    joints, _ = hand
    detection = rough(joints, 0, 0.02)
    network = ToldNetwork().tell(joints, detection)
    stds = []
    for checkpoint in ("none", network.trained()):
        reconstruct = Reconstructor(detector="none", device="cpu", checkpoint=checkpoint)
        (fitted,) = without_picture(reconstruct, detection)
        drawn = fitted.inflated(1.0).draw(48, seed=0).joints
        stds.append(np.median(aligned_std(drawn, drawn.mean(0))))
    assert stds[1] < 0.8 * stds[0]
