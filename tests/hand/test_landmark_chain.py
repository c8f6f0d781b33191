"""Landmarks without a mesh: against the whole model, and their Jacobian against finite differences.

(Not named `test_landmarks.py`: a test of the detector has that name already.)
"""

import numpy as np
import pytest
import torch
from factories import random_hand
from scipy.spatial.transform import Rotation

from amvur.hand.joints import JOINT_BONES
from amvur.hand.landmarks import (
    BETAS,
    N_PARAMETERS,
    TRANSL,
    HandState,
    landmarks,
    landmarks_and_jacobian,
    make_chain,
)
from amvur.hand.model import HandModel
from amvur.hand.open_hand import load_open_hand

ZERO = torch.zeros(21, 3, dtype=torch.float64)
OFFSETS = 0.01 * torch.as_tensor(np.random.default_rng(5).normal(size=(21, 3)))


@pytest.fixture(params=["random", "open"])
def model(request):
    arrays = random_hand(3) if request.param == "random" else load_open_hand("right")
    return HandModel(arrays, torch.float64)


def random_state(n=3, seed=0):
    rng = np.random.default_rng(seed)
    rotations = Rotation.random(16 * n, random_state=seed).as_matrix().reshape(n, 16, 3, 3)
    return HandState(
        torch.as_tensor(rotations),
        torch.as_tensor(rng.normal(size=(n, 10))),
        torch.as_tensor(rng.normal(size=(n, 3))),
    )


def moved(state, step):
    """The state after a step of the 61 parameters, by scipy."""
    turn = Rotation.from_rotvec(step[:48].reshape(16, 3)).as_matrix()
    return HandState(
        state.rotations @ torch.as_tensor(turn),
        state.betas + torch.as_tensor(step[BETAS]),
        state.transl + torch.as_tensor(step[TRANSL]),
    )


def test_without_offsets_landmarks_are_the_models_joints(model):
    state = random_state()
    mesh = model.from_matrices(state.rotations, state.betas, state.transl)
    expected = model.chain_joints(mesh.rest_joints, mesh.bone_rotation, mesh.bone_origin)
    np.testing.assert_allclose(landmarks(make_chain(model, ZERO), state), expected, atol=1e-12)


def test_the_open_hands_tips_lie_on_its_mesh():
    model = HandModel(load_open_hand("right"), torch.float64)
    state = random_state()
    joints = model.from_matrices(state.rotations, state.betas, state.transl).joints
    # The file stores float32.
    np.testing.assert_allclose(landmarks(make_chain(model, ZERO), state), joints, atol=1e-6)


def test_an_offset_turns_with_its_bone(model):
    state = random_state()
    mesh = model.from_matrices(state.rotations, state.betas, state.transl)
    difference = landmarks(make_chain(model, OFFSETS), state) - landmarks(make_chain(model, ZERO), state)
    expected = (mesh.bone_rotation[:, list(JOINT_BONES)] @ OFFSETS[..., None])[..., 0]
    np.testing.assert_allclose(difference, expected, atol=1e-12)


def test_jacobian_is_the_finite_difference(model):
    chain = make_chain(model, OFFSETS)
    state, h = random_state(), 1e-6
    points, jacobian = landmarks_and_jacobian(chain, state)
    np.testing.assert_array_equal(points, landmarks(chain, state))
    for i, step in enumerate(h * np.eye(N_PARAMETERS)):
        numeric = (landmarks(chain, moved(state, step)) - landmarks(chain, moved(state, -step))) / (2 * h)
        np.testing.assert_allclose(jacobian[..., i], numeric, atol=1e-8)


def test_a_hand_of_a_batch_is_the_hand_alone(model):
    chain, state = make_chain(model, ZERO), random_state(4)
    points, jacobian = landmarks_and_jacobian(chain, state)
    one = HandState(state.rotations[2:3], state.betas[2:3], state.transl[2:3])
    alone, its_jacobian = landmarks_and_jacobian(chain, one)
    np.testing.assert_allclose(alone[0], points[2], atol=1e-14)
    np.testing.assert_allclose(its_jacobian[0], jacobian[2], atol=1e-14)
