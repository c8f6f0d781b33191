"""Points that bones carry: against the whole model in torch, and their Jacobian against finite differences."""

import numpy as np
import pytest
from factories import random_hand
from scipy.spatial.transform import Rotation

torch = pytest.importorskip("torch")

from amvur.hand.joints import JOINT_BONES
from amvur.hand.kinematics import (
    N_PARAMETERS,
    HandState,
    Kinematics,
    axis_angles,
    rotation_matrices,
    skew,
)
from amvur.hand.model import HandModel
from amvur.hand.open_hand import load_open_hand

OFFSETS = 0.01 * np.random.default_rng(5).normal(size=(21, 3))


@pytest.fixture(params=["random", "open"])
def arrays(request):
    return random_hand(3) if request.param == "random" else load_open_hand("right")


def random_state(n=3, seed=0):
    rng = np.random.default_rng(seed)
    rotations = Rotation.random(16 * n, random_state=seed).as_matrix().reshape(n, 16, 3, 3)
    return HandState(rotations, rng.normal(size=(n, 10)), rng.normal(size=(n, 3)))


def moved(state, step):
    """The state after a step of the 61 parameters, by scipy."""
    turn = Rotation.from_rotvec(step[:48].reshape(16, 3)).as_matrix()
    return HandState(state.rotations @ turn, state.betas + step[48:58], state.transl + step[58:])


def mesh_of(arrays, state):
    """The independent reference: the model that training uses."""
    model = HandModel(arrays, torch.float64)
    return model, model.from_matrices(*(torch.as_tensor(x) for x in vars(state).values()))


def points_of(kind, arrays, state):
    hand = Kinematics(arrays)
    if kind == "skin":
        chosen = np.random.default_rng(1).integers(0, len(arrays.v_template), (len(state), 7))
        return hand, hand.skin(state, chosen), chosen
    return hand, hand.joints if kind == "joints" else hand.landmarks(OFFSETS), None


def test_a_step_turns_bones_in_their_own_frames():
    state, steps = random_state(), 0.3 * np.random.default_rng(0).normal(size=(3, N_PARAMETERS))
    ours = state.retract(steps)
    for i, step in enumerate(steps):
        for name, expected in vars(moved(state, step)).items():
            np.testing.assert_allclose(getattr(ours, name)[i], expected[i], atol=1e-12)


def test_joints_are_the_models(arrays):
    state = random_state()
    model, mesh = mesh_of(arrays, state)
    expected = model.chain_joints(mesh.rest_joints, mesh.bone_rotation, mesh.bone_origin)
    hand = Kinematics(arrays)
    np.testing.assert_allclose(hand.place(hand.joints, state), expected, atol=1e-12)


def test_the_open_hands_tips_lie_on_its_mesh():
    arrays, state = load_open_hand("right"), random_state()
    hand = Kinematics(arrays)
    # The file stores float32.
    np.testing.assert_allclose(hand.place(hand.joints, state), mesh_of(arrays, state)[1].joints, atol=1e-6)


def test_an_offset_turns_with_its_bone(arrays):
    state, hand = random_state(), Kinematics(arrays)
    difference = hand.place(hand.landmarks(OFFSETS), state) - hand.place(hand.joints, state)
    turns = mesh_of(arrays, state)[1].bone_rotation[:, list(JOINT_BONES)].numpy()
    np.testing.assert_allclose(difference, (turns @ OFFSETS[..., None])[..., 0], atol=1e-12)


def test_points_of_the_skin_are_the_meshs_vertices(arrays):
    state = random_state()
    hand, points, chosen = points_of("skin", arrays, state)
    wanted = np.take_along_axis(mesh_of(arrays, state)[1].vertices.numpy(), chosen[..., None], 1)
    np.testing.assert_allclose(hand.place(points, state), wanted, atol=1e-12)


@pytest.mark.parametrize("kind", ["joints", "landmarks", "skin"])
def test_jacobian_is_the_finite_difference(arrays, kind):
    state, h = random_state(), 1e-6
    hand, points, _ = points_of(kind, arrays, state)
    placed, jacobian = hand.place_with_jacobian(points, state)
    np.testing.assert_allclose(placed, hand.place(points, state), atol=1e-14)
    for i, step in enumerate(h * np.eye(N_PARAMETERS)):
        ahead, behind = (hand.place(points, moved(state, s * step)) for s in (1, -1))
        np.testing.assert_allclose(jacobian[..., i], (ahead - behind) / (2 * h), atol=1e-8)


@pytest.mark.parametrize("kind", ["landmarks", "skin"])
def test_a_hand_of_a_batch_is_the_hand_alone(arrays, kind):
    state = random_state(4)
    hand, points, _ = points_of(kind, arrays, state)
    own = points if kind == "landmarks" else type(points)(*(x[2:3] for x in vars(points).values()))
    for whole, alone in zip(
        hand.place_with_jacobian(points, state), hand.place_with_jacobian(own, state[2:3]), strict=True
    ):
        np.testing.assert_allclose(alone[0], whole[2], atol=1e-14)


def test_states_are_chosen_hand_by_hand():
    one, other = random_state(3, 0), random_state(3, 1)
    mixed = one.where(np.array([True, False, True]), other)
    for name in vars(one):
        np.testing.assert_array_equal(getattr(mixed, name)[[0, 2]], getattr(one, name)[[0, 2]])
        np.testing.assert_array_equal(getattr(mixed, name)[1], getattr(other, name)[1])


@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 5, 3)])
def test_axis_angles_and_matrices_are_inverse(shape):
    vectors = np.random.default_rng(0).uniform(-1.7, 1.7, shape)
    np.testing.assert_allclose(axis_angles(rotation_matrices(vectors)), vectors, atol=1e-12)


def test_skew_is_the_cross_product(rng):
    a, b = rng.normal(size=(2, 4, 3))
    np.testing.assert_allclose((skew(a) @ b[..., None])[..., 0], np.cross(a, b), atol=1e-14)
