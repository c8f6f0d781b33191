"""Skin does not pass through skin: the term against finite differences, and hands that it parts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_reconstructor import IMAGE, detect
from truth import INTRINSICS, Truth, aligned_error_mm, exact_evidence, moved, true_hands

from amvur.data.synthetic.penetration import penetration_depth_mm
from amvur.data.synthetic.pose_library import LIBRARY, library_angles
from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.hand.landmarks import N_PARAMETERS, landmarks
from amvur.hand.skin_spheres import make_skin_spheres
from amvur.inference.fit import fit
from amvur.inference.prior_terms import contact_quadratic, prior_quadratic
from amvur.inference.reconstructor import Reconstructor

NAMES = ("spread", "letter_r", "thumb_in_fist")


@pytest.fixture(scope="module")
def truth():
    """Hands in the poses `NAMES`: nothing touches, two fingers cross, a thumb lies inside a fist."""
    hands = true_hands(3, seed=2)
    angles = torch.as_tensor(library_angles(hands.model)[[list(LIBRARY).index(name) for name in NAMES]])
    local = axis_angle_to_matrix((hands.prior.axis_angle(angles) + hands.prior.pose_mean).reshape(3, 15, 3))
    state = replace(
        hands.state,
        rotations=torch.cat([hands.state.rotations[:, :1], local], 1),
        betas=torch.zeros_like(hands.state.betas),
    )
    prior = replace(hands.prior, skin=make_skin_spheres(hands.model))
    return Truth(hands.model, hands.chain, prior, state, landmarks(hands.chain, state))


def depth_mm(model, state):
    mesh = model.from_matrices(state.rotations, state.betas, state.transl)
    return penetration_depth_mm(mesh.vertices, model).numpy()


def test_a_hand_that_touches_nothing_costs_nothing(truth):
    part = contact_quadratic(truth.prior.skin, truth.state)
    assert part.cost[0] == 0
    assert (part.gradient[0] == 0).all()
    assert (part.curvature[0] == 0).all()
    assert (part.cost[1:] > 1).all()


def test_the_gradient_is_the_finite_difference_of_the_cost(truth):
    part, h = contact_quadratic(truth.prior.skin, truth.state), 1e-6
    numeric = torch.zeros_like(part.gradient)
    for i, step in enumerate(h * np.eye(N_PARAMETERS)):
        ahead, behind = (contact_quadratic(truth.prior.skin, moved(truth.state, s * step)) for s in (1, -1))
        numeric[:, i] = (ahead.cost - behind.cost) / (2 * h)
    np.testing.assert_allclose(part.gradient, numeric, atol=1e-4 * part.gradient.abs().max())
    assert (torch.linalg.eigvalsh(part.curvature)[:, 0] > -1e-6).all()


def test_a_hand_as_a_whole_may_be_anywhere(truth):
    """Its attitude (the first three parameters) and its place (the last three) do not matter."""
    part = contact_quadratic(truth.prior.skin, truth.state)
    outside = [0, 1, 2, 58, 59, 60]
    np.testing.assert_allclose(part.gradient[:, outside], 0, atol=1e-8 * part.gradient.abs().max())


def test_it_is_part_of_the_prior_where_the_prior_has_skin(truth):
    both = prior_quadratic(truth.prior, truth.state)
    alone = prior_quadratic(replace(truth.prior, skin=None), truth.state)
    part = contact_quadratic(truth.prior.skin, truth.state)
    for name in ("cost", "gradient", "curvature"):
        torch.testing.assert_close(getattr(both, name), getattr(alone, name) + getattr(part, name))


def test_a_fit_parts_fingers_and_leaves_other_hands_alone(truth):
    evidence = exact_evidence(truth, relative_scale=0.03, marks=False)
    before = fit(truth.chain, replace(truth.prior, skin=None), evidence, truth.state)
    after = fit(truth.chain, truth.prior, evidence, before.state)
    assert (depth_mm(truth.model, before.state)[1:] > 4).all()
    assert (depth_mm(truth.model, after.state)[1:] < 3).all()
    assert (aligned_error_mm(landmarks(truth.chain, after.state), truth.points) < 6).all()
    torch.testing.assert_close(after.state.rotations[0], before.state.rotations[0], atol=1e-2, rtol=0)


def test_reconstructed_hands_are_solid(truth):
    """Also without a network, and a hand of many does not change by what the others do."""
    reconstruct = Reconstructor(detector="none", checkpoint="none", device="cpu")
    detections = [detect(points) for points in truth.points.numpy()]
    hands = reconstruct(IMAGE, intrinsics=INTRINSICS, detections=detections)
    for detection, points in zip(detections, truth.points.numpy(), strict=True):
        (alone,) = reconstruct(IMAGE, intrinsics=INTRINSICS, detections=[detection])
        apart = [np.abs(hand.joints - alone.joints).max() for hand in hands]
        assert min(apart) < 1e-4
        vertices = torch.as_tensor(alone.vertices)[None]
        assert penetration_depth_mm(vertices, truth.model)[0] < 3
        placed = torch.as_tensor(alone.joints)[None], torch.as_tensor(points).float()[None]
        assert aligned_error_mm(*placed)[0] < 8
