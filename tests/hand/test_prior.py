"""The prior over poses: plausible hands are likelier than impossible ones, on any hand model."""

import numpy as np
import pytest
from factories import random_hand

torch = pytest.importorskip("torch")

from amvur.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from amvur.hand.model import HandModel
from amvur.hand.open_hand import load_open_hand
from amvur.hand.poses import POSES, hand_pose_from_angles, named_pose
from amvur.hand.prior import make_prior
from amvur.hand.prior_arrays import PriorSettings

TOLERANCE_DEG = 2.5


@pytest.fixture(scope="module")
def model():
    return HandModel(load_open_hand("right"), torch.float64)


@pytest.fixture(scope="module")
def prior(model):
    return make_prior(model)


def local(hand_pose):
    """The angles' argument: local rotations of an open hand, whose `pose_mean` is 0."""
    return torch.as_tensor(hand_pose).reshape(15, 3)


def energy(prior, angles):
    """-ln of the prior's density up to a constant, as its docstring says."""
    off = (angles - prior.mean).numpy()
    over = np.deg2rad(prior.violation_deg(angles).numpy()) / prior.limit_scale
    return 0.5 * (off @ prior.precision.numpy() @ off + over @ over)


@pytest.mark.parametrize("name", sorted(POSES))
def test_named_poses_are_within_the_range_of_motion(model, prior, name):
    pose = named_pose(name, model.arrays.pose_axes, model.arrays.rest_angles)
    assert prior.violation_deg(prior.angles(local(pose))).max() < TOLERANCE_DEG


@pytest.mark.parametrize("name", sorted(POSES))
@pytest.mark.parametrize(
    ("finger", "impossible"),
    [
        ("index", (-60, 0, 0, 0)),
        ("middle", (0, -45, 0, 0)),
        ("ring", (0, 0, -45, 0)),
        ("little", (0, 0, 0, 60)),
    ],
)
def test_named_poses_are_likelier_than_broken_fingers(model, prior, name, finger, impossible):
    pose = named_pose(name, model.arrays.pose_axes, model.arrays.rest_angles)
    bent = hand_pose_from_angles({finger: impossible}, model.arrays.pose_axes, model.arrays.rest_angles)
    assert energy(prior, prior.angles(local(pose))) < energy(prior, prior.angles(local(bent)))


def test_left_and_right_hands_have_the_same_prior(model, prior):
    left = make_prior(HandModel(load_open_hand("left"), torch.float64))
    for key in ("precision", "mean", "lower", "upper"):
        np.testing.assert_allclose(getattr(left, key), getattr(prior, key), atol=1e-12)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_samples_are_within_limits_and_reproducible(model, seed):
    prior = make_prior(model if seed is None else HandModel(random_hand(seed), torch.float64))
    drawn = prior.sample(300, torch.Generator().manual_seed(1))
    assert torch.isfinite(drawn).all()
    assert (drawn >= prior.lower).all()
    assert (drawn <= prior.upper).all()
    again = prior.sample(300, torch.Generator().manual_seed(1))
    np.testing.assert_array_equal(drawn, again)


def test_samples_have_the_gaussians_covariance_where_no_limit_is_near(model, prior):
    wide = type(prior)(**{**vars(prior), "lower": prior.lower - 100, "upper": prior.upper + 100})
    drawn = wide.sample(20_000, torch.Generator().manual_seed(0)).numpy()
    expected = np.linalg.inv(prior.precision.numpy())
    scale = np.sqrt(np.diag(expected))
    # The standard error of a correlation is 1/sqrt(n) = 0.007.
    np.testing.assert_allclose(
        np.cov(drawn.T) / np.outer(scale, scale), expected / np.outer(scale, scale), atol=0.04
    )
    np.testing.assert_allclose((drawn.mean(0) - prior.mean.numpy()) / scale, 0, atol=0.04)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_angles_and_axis_angles_are_inverse(model, seed):
    hand = model if seed is None else HandModel(random_hand(seed), torch.float64)
    prior = make_prior(hand)
    drawn = prior.sample(20, torch.Generator().manual_seed(2))
    pose = prior.axis_angle(drawn)
    mesh_rotations = axis_angle_to_matrix((pose + hand.pose_mean).reshape(20, 15, 3))
    np.testing.assert_allclose(
        prior.angles(matrix_to_axis_angle(mesh_rotations)), drawn, atol=1e-6
    )  # the file's axes are float32


def test_the_prior_is_proper_and_its_mean_possible(prior):
    assert torch.linalg.eigvalsh(prior.precision).min() > 0
    assert (prior.mean >= prior.lower).all()
    assert (prior.mean <= prior.upper).all()


def test_the_last_joint_follows_the_middle_one(model):
    settings = PriorSettings(dip_follows_pip=0.6, dip_follows_pip_deg=0.1)
    prior = make_prior(model, settings)
    covariance = np.linalg.inv(prior.precision.numpy())
    drawn = np.random.default_rng(0).multivariate_normal(np.zeros(45), covariance, 500)
    off = drawn.reshape(-1, 15, 3)[..., 0]
    for finger in range(4):
        np.testing.assert_allclose(off[:, 3 * finger + 2], 0.6 * off[:, 3 * finger + 1], atol=np.deg2rad(0.5))
