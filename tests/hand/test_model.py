"""The differentiable hand: batches, dtypes, gradients and the meaning of its parameters."""

import io

import numpy as np
import pytest
from factories import random_hand
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

torch = pytest.importorskip("torch")

from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.hand.joints import BONE_JOINTS, BONE_PARENTS, JOINT_PARENTS, TIP_JOINTS
from amvur.hand.model import HandModel
from amvur.hand.model_arrays import mirror_arrays
from amvur.hand.open_hand import load_open_hand

SEEDS = st.integers(0, 2**32 - 1)
FLIP = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(params=["random", "open right", "open left"])
def arrays(request):
    if request.param == "random":
        return random_hand()
    return load_open_hand(request.param.split()[1])


@pytest.fixture
def model(arrays):
    return HandModel(arrays, torch.float64)


def parameters(rng, *batch, scale=0.4):
    sizes = (3, 45, 10, 3)
    return [torch.as_tensor(rng.normal(size=(*batch, size)) * scale) for size in sizes]


def zeros(*batch):
    return [torch.zeros(*batch, size, dtype=torch.float64) for size in (3, 45, 10)]


def test_the_rest_pose_is_the_template(model, arrays):
    orient, pose, betas = zeros()
    mesh = model(orient, pose - model.pose_mean, betas)
    np.testing.assert_allclose(mesh.vertices, arrays.v_template, atol=1e-9)
    np.testing.assert_allclose(mesh.joints, arrays.joint_template, atol=1e-6)
    np.testing.assert_allclose(mesh.rest_vertices, arrays.v_template, atol=1e-12)


def test_betas_are_linear_in_the_rest_pose(model, arrays, rng):
    orient, pose, _ = zeros()
    betas = rng.normal(size=10)
    mesh = model(orient, pose - model.pose_mean, torch.as_tensor(betas))
    expected = arrays.v_template + np.einsum("vcd,d->vc", arrays.shapedirs, betas)
    np.testing.assert_allclose(mesh.vertices, expected, atol=1e-9)
    joints = arrays.joint_template + np.einsum("jcd,d->jc", arrays.joint_shapedirs, betas)
    np.testing.assert_allclose(mesh.rest_joints, joints, atol=1e-12)


def test_global_orientation_turns_the_hand_about_its_wrist(model, rng):
    _, pose, betas, transl = parameters(rng)
    still = model(torch.zeros(3, dtype=torch.float64), pose, betas)
    vector = rng.normal(size=3)
    turned = model(torch.as_tensor(vector), pose, betas, transl)
    wrist, turn = still.rest_joints[0].numpy(), Rotation.from_rotvec(vector)
    for key in ("vertices", "joints"):
        expected = turn.apply(getattr(still, key).numpy() - wrist) + wrist + transl.numpy()
        np.testing.assert_allclose(getattr(turned, key), expected, atol=1e-9)
    np.testing.assert_allclose(still.joints[0], wrist, atol=1e-12)
    np.testing.assert_allclose(turned.bone_origin, turned.joints[list(BONE_JOINTS)], atol=1e-12)


def test_translation_is_added_last(model, rng):
    orient, pose, betas, transl = parameters(rng)
    with_it, without = model(orient, pose, betas, transl), model(orient, pose, betas)
    np.testing.assert_allclose(with_it.vertices, without.vertices + transl, atol=1e-14)
    np.testing.assert_allclose(with_it.joints, without.joints + transl, atol=1e-14)
    np.testing.assert_allclose(with_it.bone_origin, without.bone_origin + transl, atol=1e-14)


def test_bones_keep_their_lengths_and_tips_are_means_of_vertices(model, arrays, rng):
    mesh = model(*parameters(rng, 4))
    for child, parent in enumerate(JOINT_PARENTS):
        if child in TIP_JOINTS or parent < 0:
            continue
        posed = (mesh.joints[:, child] - mesh.joints[:, parent]).norm(dim=-1)
        rest = (mesh.rest_joints[:, child] - mesh.rest_joints[:, parent]).norm(dim=-1)
        np.testing.assert_allclose(posed, rest, atol=1e-12)
    tips = mesh.vertices[:, arrays.tip_vertices.tolist()].mean(2)
    np.testing.assert_allclose(mesh.joints[:, list(TIP_JOINTS)], tips, rtol=0, atol=1e-15)


def test_the_chain_of_bones_written_out(model, rng):
    orient, pose, betas, _ = parameters(rng)
    mesh = model(orient, pose, betas)
    local = Rotation.from_rotvec(torch.cat([orient, pose + model.pose_mean]).numpy().reshape(16, 3))
    pivots = mesh.rest_joints[list(BONE_JOINTS)].numpy()
    for bone in range(16):
        point, turn, at = pivots[bone], Rotation.identity(), bone
        while at >= 0:  # from the bone up to the root
            point = local[at].apply(point - pivots[at]) + pivots[at]
            turn = local[at] * turn
            at = BONE_PARENTS[at]
        np.testing.assert_allclose(mesh.bone_origin[bone], point, atol=1e-12)
        np.testing.assert_allclose(mesh.bone_rotation[bone], turn.as_matrix(), atol=1e-12)


def test_linear_blend_skinning_written_out(model, arrays, rng):
    mesh = model(*parameters(rng)[:3])
    pivots = mesh.rest_joints[list(BONE_JOINTS)].numpy()
    expected = np.zeros_like(arrays.v_template)
    for bone in range(16):
        moved = (mesh.rest_vertices.numpy() - pivots[bone]) @ mesh.bone_rotation[bone].numpy().T
        expected += arrays.lbs_weights[:, bone : bone + 1] * (moved + mesh.bone_origin[bone].numpy())
    np.testing.assert_allclose(mesh.vertices, expected, atol=1e-12)


def test_landmarks_on_bones_are_the_joints_but_for_the_tips(model, rng):
    mesh = model(*parameters(rng, 2)[:3])
    chain = model.chain_joints(mesh.rest_joints, mesh.bone_rotation, mesh.bone_origin)
    others = [joint for joint in range(21) if joint not in TIP_JOINTS]
    np.testing.assert_allclose(chain[:, others], mesh.joints[:, others], atol=1e-12)


def test_regressed_joints_are_means_of_vertices(model, arrays, rng):
    vertices = rng.normal(size=(2, 3, len(arrays.v_template), 3))
    expected = np.einsum("jv,abvc->abjc", arrays.joint_regressor, vertices)
    np.testing.assert_allclose(model.regress_joints(torch.as_tensor(vertices)), expected, atol=1e-12)


@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3), (2, 1, 2), (0,)])
def test_any_batch_axes(rng, batch):
    model = HandModel(random_hand(), torch.float64)
    values = parameters(rng, *batch)
    mesh = model(*values)
    assert mesh.vertices.shape == (*batch, 23, 3)
    assert mesh.joints.shape == (*batch, 21, 3)
    assert mesh.bone_rotation.shape == (*batch, 16, 3, 3)
    for index in np.ndindex(*batch):
        one = model(*(value[index] for value in values))
        np.testing.assert_allclose(mesh.vertices[index], one.vertices, atol=1e-14)
        np.testing.assert_allclose(mesh.joints[index], one.joints, atol=1e-14)


def test_matrices_and_axis_angles_are_the_same_pose(model, rng):
    orient, pose, betas, transl = parameters(rng, 2)
    matrices = axis_angle_to_matrix(torch.cat([orient, pose + model.pose_mean], -1).reshape(2, 16, 3))
    ours, other = model.from_matrices(matrices, betas, transl), model(orient, pose, betas, transl)
    np.testing.assert_allclose(ours.vertices, other.vertices, atol=1e-14)


def test_float32_is_close_and_stays_float32(model, arrays, rng):
    values = parameters(rng, 3)
    single = HandModel(arrays)(*(value.float() for value in values))
    assert single.vertices.dtype == single.joints.dtype == torch.float32
    np.testing.assert_allclose(single.vertices, model(*values).vertices, atol=5e-6)
    assert HandModel(arrays).double().v_template.dtype == torch.float64


@pytest.mark.parametrize("scale", [0.0, 1e-8, 0.5])
def test_gradients(scale):
    arrays = random_hand(vertices=7)
    model = HandModel(arrays, torch.float64)
    values = [v.requires_grad_() for v in parameters(np.random.default_rng(1), scale=scale)]
    if scale == 0.0:  # exactly the rest pose, where a careless Rodrigues has no derivative
        values[1] = (-model.pose_mean).clone().requires_grad_()

    def outputs(*inputs):
        mesh = model(*inputs)
        return mesh.vertices, mesh.joints

    assert torch.autograd.gradcheck(outputs, values, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_mirrored_parameters_give_the_mirrored_hand(seed):
    rng = np.random.default_rng(seed)
    arrays = random_hand(seed % 1000)
    orient, pose, betas, transl = parameters(rng, scale=1.0)
    mesh = HandModel(arrays, torch.float64)(orient, pose, betas, transl)
    flip = torch.as_tensor(FLIP)
    other = HandModel(mirror_arrays(arrays), torch.float64)
    mirror = other(orient * -flip, pose * (-flip).repeat(15), betas, transl * flip)
    np.testing.assert_allclose(mirror.vertices, mesh.vertices * flip, atol=1e-12)
    np.testing.assert_allclose(mirror.joints, mesh.joints * flip, atol=1e-12)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_mirror_twice_is_the_identity(seed):
    arrays = random_hand(seed)
    twice = mirror_arrays(mirror_arrays(arrays))
    for key, value in vars(arrays).items():
        np.testing.assert_array_equal(getattr(twice, key), value, err_msg=key)


def test_mirroring_keeps_what_an_anatomical_turn_means():
    """The same angle about the same anatomical axis moves the mirrored hand to the mirror image."""
    right = random_hand()
    left = mirror_arrays(right)
    for bone, axis, angle in ((0, 0, 0.7), (8, 1, -0.4), (14, 2, 0.3)):
        meshes = []
        for arrays in (right, left):
            pose = np.zeros((15, 3))
            pose[bone] = angle * arrays.pose_axes[bone, axis]
            model = HandModel(arrays, torch.float64)
            orient, _, betas = zeros()
            relative = torch.as_tensor(pose.ravel() - arrays.pose_mean)
            meshes.append(model(orient, relative, betas).vertices.numpy())
        np.testing.assert_allclose(meshes[1], meshes[0] * FLIP, atol=1e-12)


def test_mirrored_faces_stay_outward():
    hand = load_open_hand("right")
    volumes = []
    for arrays in (hand, mirror_arrays(hand)):
        a, b, c = arrays.v_template[arrays.faces].transpose(1, 0, 2)
        volumes.append(float((np.cross(a, b) * c).sum() / 6))
    assert volumes[0] > 0
    assert volumes[1] == pytest.approx(volumes[0])


def test_weights_files_never_hold_the_hand_model(arrays):
    model = HandModel(arrays)
    assert model.state_dict() == {}
    assert list(model.parameters()) == []
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), model)
    assert set(network.state_dict()) == {"0.weight", "0.bias"}
    stream = io.BytesIO()
    torch.save(network.state_dict(), stream)
    assert len(stream.getvalue()) < 5000


def test_the_open_hands_arrays_hold_together():
    hand = load_open_hand("right")
    np.testing.assert_allclose(hand.lbs_weights.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(hand.joint_regressor.sum(1), 1, atol=1e-5)
    assert hand.lbs_weights.min() >= 0
    assert hand.joint_regressor.min() >= 0
    np.testing.assert_allclose(
        hand.joint_template[list(TIP_JOINTS)], hand.v_template[hand.tip_vertices].mean(1), atol=1e-6
    )
    np.testing.assert_allclose(
        hand.pose_axes @ hand.pose_axes.transpose(0, 2, 1), np.tile(np.eye(3), (15, 1, 1)), atol=1e-5
    )
    assert hand.parents == BONE_PARENTS
    assert (hand.pose_limits[..., 0] <= 0).all()
    assert (hand.pose_limits[..., 1] >= 0).all()
