"""The prior in numpy: against the tensors that training uses, and of a hand whose zero is a mean pose."""

from dataclasses import fields, replace

import numpy as np
import pytest
from factories import random_hand

torch = pytest.importorskip("torch")

from amvur.hand.model import HandModel
from amvur.hand.open_hand import load_open_hand
from amvur.hand.prior import make_prior
from amvur.hand.prior_arrays import prior_arrays

MEAN = 0.2 * np.random.default_rng(0).normal(size=45)
"""As MANO's file has one."""


@pytest.fixture(params=["open", "random"])
def arrays(request):
    return replace(load_open_hand("right"), pose_mean=MEAN) if request.param == "open" else random_hand(3)


def test_it_is_the_prior_of_training(arrays):
    ours, theirs = prior_arrays(arrays), make_prior(HandModel(arrays, torch.float64))
    for field in fields(ours):
        np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name))
    local = np.random.default_rng(1).normal(size=(2, 5, 15, 3))
    np.testing.assert_allclose(ours.angles(local), theirs.angles(torch.as_tensor(local)), atol=1e-14)


def test_local_turns_and_angles_are_inverse_whatever_the_mean_pose(arrays):
    """Local turns are a bone's whole ones: the mean pose is in them, and the torch pose leaves it out."""
    prior, angles = prior_arrays(arrays), np.random.default_rng(2).normal(size=(6, 45))
    local = prior.local_axis_angle(angles)
    np.testing.assert_allclose(prior.angles(local), angles, atol=1e-6)  # the file's axes are float32
    pose = make_prior(HandModel(arrays, torch.float64)).axis_angle(torch.as_tensor(angles)).numpy()
    np.testing.assert_allclose(local.reshape(6, 45), pose + arrays.pose_mean, atol=1e-12)
