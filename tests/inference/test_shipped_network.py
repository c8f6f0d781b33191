"""The network that ships: where it is asked, and what it sees in a sample picture."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from amvur import Reconstructor
from amvur.checkpoint_folder import default_checkpoint
from amvur.data.synthetic.generator import SyntheticHands
from amvur.detect.given import given_joints
from amvur.inference.camera import make_camera
from amvur.inference.frames import enter
from amvur.inference.network.trained import load_trained
from amvur.pretrained import load_network
from amvur.training.targets import as_right_hands

SEED = 900_001


def frames_of(image, *detections):
    return enter(image, make_camera(image.shape[1], image.shape[0]), detections)


@pytest.fixture(scope="module")
def shipped():
    return load_trained("default")


@pytest.fixture(scope="module")
def pictures():
    return next(iter(SyntheticHands(SEED, "open", 224).stream(0, 12, 12)))


def test_it_is_asked_for_a_box_and_beside_a_detector(shipped):
    picture = np.full((64, 64, 3), 128, np.uint8)
    box = Reconstructor(detector="none", checkpoint="none").detector.detect(
        picture, boxes=np.array([[8.0, 8, 56, 56]]), side="left"
    )[0]
    joints = np.random.default_rng(0).uniform(8, 56, (21, 2))
    views = shipped.look(frames_of(picture, given_joints(joints, "left"), box))
    assert all(view is not None for view in views)
    views = shipped.only_for_boxes().look(frames_of(picture, given_joints(joints, "left"), box))
    assert views[0] is None
    assert views[1] is not None


@pytest.mark.parametrize("unseen", [[0], [0, 5, 9, 13], list(range(17))])
def test_joints_of_which_the_palm_is_not_seen(shipped, pictures, unseen):
    """No roll is read from joints that nobody saw: the hand is sought as in a box."""
    joints = pictures.joints_2d[0].numpy().astype(float)
    trust = np.ones(21)
    trust[unseen] = 0
    joints[unseen] = np.nan
    hand = given_joints(joints, "left" if pictures.is_left[0] else "right", trust)
    (view,) = shipped.look(frames_of(pictures.images[0].numpy(), hand))
    assert np.isfinite(view.relative_joints_m).all()
    assert np.isfinite(view.joints_2d_px).all()


def test_joints_in_a_point_at_the_palm(shipped, pictures):
    """A palm seen end on says nothing of the roll either."""
    joints = pictures.joints_2d[0].numpy().astype(float)
    joints[[0, 5, 9, 13]] = joints[0]
    (view,) = shipped.look(frames_of(pictures.images[0].numpy(), given_joints(joints, "right")))
    assert np.isfinite(view.joints_2d_px).all()


def test_a_box_is_enough(pictures):
    """Joints from the box alone are far nearer to the truth than a hand that just fills the box."""
    errors = {"none": [], "default": []}
    for i in range(len(pictures.images)):
        joints = pictures.joints_2d[i].numpy().astype(float)
        inside = np.clip(joints, 0, 224)
        box = np.concatenate([inside.min(0) - 5, inside.max(0) + 5])
        side = "left" if pictures.is_left[i] else "right"
        for checkpoint, found in errors.items():
            reconstructor = Reconstructor(detector="none", checkpoint=checkpoint)
            hand = reconstructor(pictures.images[i].numpy(), boxes=box[None], side=side)[0]
            found.append(np.linalg.norm(hand.joints_2d - joints, axis=1).mean())
    assert np.median(errors["default"]) < 0.6 * np.median(errors["none"])


def test_its_head_says_how_sure_every_vertex_is(shipped, pictures):
    """AMVUR's mean is the prior-net's hand; its deviations differ between vertices and between pictures."""
    right = as_right_hands(pictures).images
    images = right.permute(0, 3, 1, 2).float() / 255
    network, _ = load_network(default_checkpoint(), torch.device("cpu"))
    with torch.no_grad():
        seen = network(images)
    assert torch.allclose(seen.vertices.loc, seen.prior_vertices.loc, atol=1e-6)
    std = seen.vertices.scale
    assert 0.002 < std.min() < std.max() < 0.1
    assert std.std(1).mean() > 0.1 * std.mean()
    assert std.mean((1, 2)).std() > 0.1 * std.mean()
    said = shipped.network.network({"pictures": right.numpy()})
    np.testing.assert_allclose(said["vertices"], seen.vertices.loc, atol=1e-6)
    np.testing.assert_allclose(said["vertices_std"], std, atol=1e-6)
