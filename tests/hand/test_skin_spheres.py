"""Spheres in the skin: where they are against the mesh, their Jacobian against finite differences."""

import numpy as np
import pytest
import torch
from factories import random_hand
from test_landmark_chain import moved, random_state

from amvur.hand.contact_layout import layout_contacts
from amvur.hand.joints import JOINT_BONES, TIP_JOINTS
from amvur.hand.landmarks import N_PARAMETERS, HandState
from amvur.hand.model import HandModel
from amvur.hand.open_hand import load_open_hand
from amvur.hand.skin_spheres import make_skin_spheres, overlap_jacobian, overlaps
from amvur.hand.surface import place_surface, surface_and_jacobian, surface_points


@pytest.fixture(params=["random", "open"])
def model(request):
    arrays = random_hand(3) if request.param == "random" else load_open_hand("right")
    return HandModel(arrays, torch.float64)


def at_rest(n, betas=None):
    turns = torch.eye(3, dtype=torch.float64).expand(n, 16, 3, 3)
    betas = torch.zeros(n, 10, dtype=torch.float64) if betas is None else betas
    return HandState(turns, betas, torch.zeros(n, 3, dtype=torch.float64))


def test_points_alone_are_those_of_the_points_with_their_jacobian(model):
    spheres, state = make_skin_spheres(model), random_state()
    surface = surface_points(model, state, torch.tensor([[0, 5, 9], [3, 4, 5], [7, 7, 1]]))
    wanted, _ = surface_and_jacobian(spheres.chain, surface, state)
    np.testing.assert_allclose(place_surface(spheres.chain, surface, state), wanted, atol=1e-12)


def test_fingers_spheres_lie_in_the_middle_of_their_rings_of_skin(model):
    """In the rest pose, for any betas: at the mean of the ring by its weights."""
    spheres, layout = make_skin_spheres(model), layout_contacts(model.arrays)
    betas = torch.as_tensor(np.random.default_rng(0).normal(size=(4, 10)))
    skin = model.v_template + (model.shapedirs @ betas[:, None, :, None])[..., 0]
    wanted = np.einsum("sm,bsmc->bsc", layout.ring_weights, skin.numpy()[:, layout.ring])
    found = place_surface(spheres.chain, spheres.centers, at_rest(4, betas))
    np.testing.assert_allclose(found[:, : len(layout.ring)], wanted, atol=1e-12)


def test_radii_follow_the_betas_as_the_rings_do():
    model = HandModel(load_open_hand("right"), torch.float64)
    spheres, layout = make_skin_spheres(model), layout_contacts(model.arrays)
    for beta in range(10):
        for sign in (1, -1):
            betas = torch.zeros(10, dtype=torch.float64)
            betas[beta] = sign
            corners = (model.v_template + model.shapedirs @ betas).numpy()[layout.ring]
            middle = (layout.ring_weights[..., None] * corners).sum(1)
            reach = np.linalg.norm(corners - middle[:, None], axis=-1)
            wanted = layout.flesh * (layout.ring_weights * reach).sum(1)
            found = spheres.radii + spheres.radii_dirs @ betas
            np.testing.assert_allclose(found[: len(wanted)], wanted, atol=1e-4)


@pytest.mark.parametrize("version", ["open", "open-v1"])
def test_the_last_sphere_of_a_finger_ends_where_its_flesh_does(version):
    arrays = load_open_hand(version=version)
    model = HandModel(arrays, torch.float64)
    spheres = make_skin_spheres(model)
    bones = layout_contacts(arrays).bone
    for tip in TIP_JOINTS:
        bone = JOINT_BONES[tip]
        base, end = arrays.joint_template[[tip - 1, tip]]
        axis = (end - base) / np.linalg.norm(end - base)
        last = np.flatnonzero(bones == bone)[-1]
        reach = (spheres.centers.rest[0, last].numpy() - base) @ axis + float(spheres.radii[last])
        flesh = (arrays.v_template[arrays.lbs_weights[:, bone] > 0.9] - base) @ axis
        assert abs(reach - flesh.max()) < 0.0015, (bone, reach, flesh.max())


def test_nothing_overlaps_in_a_flat_hand():
    model = HandModel(load_open_hand("right"), torch.float64)
    assert (overlaps(make_skin_spheres(model), at_rest(1)) < 0).all()


def test_fingertips_sink_into_the_palm_when_bent_too_far():
    """All finger joints at a right angle and 20 degrees more: every fingertip is in the palm's skin."""
    model = HandModel(load_open_hand("right"), torch.float64)
    spheres, state = make_skin_spheres(model), at_rest(1)
    turns = state.rotations.clone()
    for bone in range(1, 13):
        flexion = model.pose_axes[bone - 1, 0] * np.radians(110 if (bone - 1) % 3 else 90)
        turns[:, bone] = torch.linalg.matrix_exp(
            torch.tensor(
                [[0, -flexion[2], flexion[1]], [flexion[2], 0, -flexion[0]], [-flexion[1], flexion[0], 0]]
            )
        )
    fingers = len(layout_contacts(model.arrays).ring)
    depth = overlaps(spheres, HandState(turns, state.betas, state.transl))[0]
    palm = spheres.pairs[:, 1] >= fingers
    entered = {int(s) for s in spheres.pairs[palm & (depth > 0.002), 0]}
    bones = layout_contacts(model.arrays).bone[list(entered)]
    assert {(bone - 1) // 3 for bone in bones} >= {0, 1, 2, 3}


def test_the_jacobian_is_the_finite_difference(model):
    spheres, state, h = make_skin_spheres(model), random_state(), 1e-6
    depth = overlaps(spheres, state)
    chosen = depth.topk(min(12, len(spheres.pairs)), dim=1).indices
    jacobian = overlap_jacobian(spheres, state, chosen)
    for parameter in range(N_PARAMETERS):
        step = np.zeros(N_PARAMETERS)
        step[parameter] = h
        ahead, behind = (overlaps(spheres, moved(state, sign * step)) for sign in (1, -1))
        numeric = ((ahead - behind) / (2 * h)).gather(1, chosen)
        np.testing.assert_allclose(jacobian[..., parameter], numeric, atol=1e-7)
