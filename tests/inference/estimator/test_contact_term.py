"""Skin does not pass through skin: where spheres lie in the mesh, the term, and hands that it parts."""

import numpy as np
import pytest
from factories import random_hand
from laws import assert_gradient, assert_nothing
from scipy.spatial.transform import Rotation
from truth import aligned_error_mm, differences, exact_observations, moved, true_hands

torch = pytest.importorskip("torch")

from amvur.data.synthetic.penetration import penetration_depth_mm
from amvur.data.synthetic.pose_library import LIBRARY, library_angles
from amvur.hand.contact_layout import layout_contacts
from amvur.hand.joints import JOINT_BONES, TIP_JOINTS
from amvur.hand.kinematics import HandState, Kinematics, rotation_matrices
from amvur.hand.model import HandModel
from amvur.hand.open_hand import load_open_hand
from amvur.inference.estimator.config import EstimatorConfig
from amvur.inference.estimator.contact_term import ContactTerm
from amvur.inference.estimator.landmark_term import LandmarkTerm
from amvur.inference.estimator.prior_term import AnatomicalPrior
from amvur.inference.estimator.solver import minimize

NAMES = ("spread", "letter_r", "thumb_in_fist")


@pytest.fixture(scope="module")
def open_hand():
    arrays = load_open_hand("right")
    return arrays, ContactTerm(Kinematics(arrays), EstimatorConfig()), HandModel(arrays, torch.float64)


@pytest.fixture(scope="module")
def state(open_hand):
    """Hands in the poses `NAMES`: nothing touches, two fingers cross, a thumb lies inside a fist."""
    hands = true_hands(3, seed=2)
    angles = library_angles(open_hand[2])[[list(LIBRARY).index(name) for name in NAMES]]
    local = rotation_matrices(hands.prior.local_axis_angle(np.asarray(angles, dtype=np.float64)))
    rotations = np.concatenate([hands.state.rotations[:, :1], local], 1)
    return HandState(rotations, np.zeros((3, 10)), hands.state.transl)


def at_rest(n, betas=None):
    turns = np.tile(np.eye(3), (n, 16, 1, 1))
    return HandState(turns, np.zeros((n, 10)) if betas is None else betas, np.zeros((n, 3)))


@pytest.mark.parametrize("kind", ["random", "open"])
def test_fingers_spheres_lie_in_the_middle_of_their_rings_of_skin(kind):
    """In the rest pose, for any betas: at the mean of the ring by its weights, as large as the ring."""
    arrays = random_hand(3) if kind == "random" else load_open_hand("right")
    term, layout = ContactTerm(Kinematics(arrays), EstimatorConfig()), layout_contacts(arrays)
    betas, weights = np.concatenate([np.eye(10), -np.eye(10)]), layout.ring_weights[..., None]
    skin = arrays.v_template + np.einsum("vck,bk->bvc", arrays.shapedirs, betas)
    corners = skin[:, layout.ring]
    middle = (weights * corners).sum(2)
    found = term.hand.place(term.centers, at_rest(20, betas))
    np.testing.assert_allclose(found[:, : len(layout.ring)], middle, atol=1e-12)
    if kind == "open":  # radii are taken to be linear in the betas
        reach = np.linalg.norm(corners - middle[:, :, None], axis=-1)
        radii = (term.radii + betas @ term.radii_dirs.T)[:, : len(layout.ring)]
        np.testing.assert_allclose(radii, layout.flesh * (layout.ring_weights * reach).sum(-1), atol=1e-4)


@pytest.mark.parametrize("version", ["open", "open-v1"])
def test_the_last_sphere_of_a_finger_ends_where_its_flesh_does(version):
    arrays = load_open_hand(version=version)
    term, bones = ContactTerm(Kinematics(arrays), EstimatorConfig()), layout_contacts(arrays).bone
    for tip in TIP_JOINTS:
        bone = JOINT_BONES[tip]
        base, end = arrays.joint_template[[tip - 1, tip]]
        axis = (end - base) / np.linalg.norm(end - base)
        last = np.flatnonzero(bones == bone)[-1]
        reach = (term.centers.rest[0, last] - base) @ axis + term.radii[last]
        flesh = (arrays.v_template[arrays.lbs_weights[:, bone] > 0.9] - base) @ axis
        assert abs(reach - flesh.max()) < 0.0015, (bone, reach, flesh.max())


def test_fingertips_sink_into_the_palm_when_bent_too_far_and_not_in_a_flat_hand(open_hand):
    """All finger joints at a right angle and 20 degrees more: every fingertip is in the palm's skin."""
    arrays, term, _ = open_hand
    flat, layout = at_rest(1), layout_contacts(arrays)
    assert (term.overlaps(flat) == 0).all()
    turns = flat.rotations.copy()
    for bone in range(1, 13):
        flexion = arrays.pose_axes[bone - 1, 0] * np.radians(110 if (bone - 1) % 3 else 90)
        turns[:, bone] = Rotation.from_rotvec(flexion).as_matrix()
    depth = term.overlaps(HandState(turns, flat.betas, flat.transl))[0]
    palm = term.pairs[:, 1] >= len(layout.ring)
    bones = layout.bone[np.unique(term.pairs[palm & (depth > 0.002), 0])]
    assert set((bones - 1) // 3) >= {0, 1, 2, 3}


def test_overlaps_are_those_of_spheres_and_their_jacobian_the_finite_difference(open_hand, state):
    _, term, _ = open_hand
    depth = term.overlaps(state)
    centers = term.hand.place(term.centers, state)[:, term.pairs]
    gap = np.linalg.norm(centers[:, :, 0] - centers[:, :, 1], axis=-1)
    np.testing.assert_allclose(depth, (term.radii[term.pairs].sum(1) - gap - 0.0005).clip(0), atol=1e-12)
    chosen = np.argsort(-depth, axis=1)[1:, :12]
    bent = state[1:]
    assert (np.take_along_axis(depth[1:], chosen, 1) > 1e-5).all()
    numeric = differences(lambda s: np.take_along_axis(term.overlaps(s), chosen, 1), bent)
    np.testing.assert_allclose(term.overlap_jacobian(bent, chosen), numeric, atol=1e-7)


def test_a_hand_that_touches_nothing_costs_nothing(open_hand, state):
    _, term, _ = open_hand
    part = term(state)
    assert_nothing(type(part)(part.cost[:1], part.gradient[:1], part.curvature[:1]))
    assert (part.cost[1:] > 1).all()
    np.testing.assert_allclose(part.cost, 0.5 * np.square(term.overlaps(state) / 0.002).sum(-1))
    assert_nothing(term(state[:1]))


def test_the_gradient_is_the_finite_difference_and_the_hand_as_a_whole_may_be_anywhere(open_hand, state):
    """Its attitude (the first three parameters) and its place (the last three) do not matter."""
    _, term, _ = open_hand
    assert_gradient(term, moved(state[1:], np.full(61, 0.02)), tolerance=1e-4)
    gradient, outside = term(state).gradient, [0, 1, 2, 58, 59, 60]
    np.testing.assert_allclose(gradient[:, outside], 0, atol=1e-8 * np.abs(gradient).max())


def test_a_fit_parts_fingers_and_leaves_other_hands_alone(open_hand, state):
    _, term, model = open_hand
    hands = true_hands(3, seed=2)
    truth = type(hands)(hands.arrays, hands.hand, hands.prior, hands.landmarks, state)
    seen = exact_observations(truth, relative_scale=0.03, marks=False)
    terms = (AnatomicalPrior(truth.prior, EstimatorConfig()), LandmarkTerm(truth.hand, truth.landmarks, seen))

    def depth_mm(hands):
        mesh = model.from_matrices(*(torch.as_tensor(x) for x in vars(hands).values()))
        return penetration_depth_mm(mesh.vertices, model).numpy()

    before = minimize(terms, state).state
    after = minimize((*terms, term), before).state
    assert (depth_mm(before)[1:] > 4).all()
    assert (depth_mm(after)[1:] < 3).all()
    assert (aligned_error_mm(truth.place(after), truth.points) < 6).all()
    np.testing.assert_allclose(after.rotations[0], before.rotations[0], atol=1e-2)
