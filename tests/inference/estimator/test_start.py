"""Where the solver begins: attitudes, poses and places."""

from dataclasses import replace

import numpy as np
import pytest
from told_joints import told_joints
from truth import exact_observations, true_hands

from amvur.hand.kinematics import HandState, axis_angles
from amvur.hand.open_hand import load_open_hand
from amvur.inference.estimator.start import place_state, start_states


@pytest.fixture(scope="module")
def truth():
    return true_hands(4, seed=4)


def starts_of(truth, seen, *more):
    """Starts, hand by hand."""
    states, n = start_states(truth.hand, truth.landmarks, truth.prior, seen, *more)
    assert len(states) == n * len(truth)
    return states, n


def cosines(states, truth, n):
    """Of the angles between the starts' attitudes and the true one."""
    turns = states.rotations[:, 0].reshape(len(truth), n, 3, 3)
    return (np.einsum("bnij,bij->bn", turns, truth.state.rotations[:, 0]) - 1) / 2


@pytest.mark.parametrize(("with_3d", "thorough", "count"), [(1, False, 1), (0, False, 10), (1, True, 12)])
def test_starts_face_as_the_hand_does(truth, with_3d, thorough, count):
    seen = exact_observations(truth, marks=bool(with_3d))
    states, n = starts_of(truth, seen, None, thorough)
    assert n == count
    assert (states.transl[:, 2] > 0).all()
    turns = states.rotations[:, 0]
    np.testing.assert_allclose(
        turns @ turns.swapaxes(-1, -2), np.tile(np.eye(3), (len(turns), 1, 1)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-9)
    # With 3D landmarks nearly right; without, one of the starts is within reach of the solver.
    assert (cosines(states, truth, n).max(-1) > (0.95 if with_3d else 0.3)).all()


def test_without_the_detectors_3d_landmarks_a_networks_serve(truth):
    seen, told = exact_observations(truth, marks=False), told_joints(truth, amount=0)
    states, n = starts_of(truth, seen, told)
    assert n == 1
    assert (cosines(states, truth, 1) > 0.95).all()
    told.relative_weight[0] = 0  # it did not see every hand
    assert starts_of(truth, seen, told)[1] == 10


def test_starts_have_the_priors_mean_pose_whatever_the_models_zero(truth):
    arrays = replace(load_open_hand("right"), pose_mean=0.2 * np.random.default_rng(0).normal(size=45))
    other = true_hands(1, arrays=arrays)
    states, _ = starts_of(other, exact_observations(other))
    np.testing.assert_allclose(
        other.prior.angles(axis_angles(states.rotations[:, 1:]))[0], other.prior.mean, atol=1e-6
    )


@pytest.mark.parametrize("source", ["detector", "network", "both"])
def test_the_place_of_an_exact_hand_is_found_at_once(truth, source):
    lost = HandState(truth.state.rotations, truth.state.betas, np.zeros((4, 3)))
    seen = exact_observations(truth, pixels=source != "network")
    told = None if source == "detector" else told_joints(truth, amount=0)
    found = place_state(truth.hand, truth.landmarks, lost, seen, told)
    np.testing.assert_allclose(found.transl, truth.state.transl, atol=1e-6)


def test_the_place_never_lies_behind_the_camera(truth):
    seen = exact_observations(truth)
    turned = replace(seen, joints_2d=2 * seen.intrinsics[:, None, :2, 2] - seen.joints_2d)
    assert (place_state(truth.hand, truth.landmarks, truth.state, turned).transl[:, 2] > 0).all()
