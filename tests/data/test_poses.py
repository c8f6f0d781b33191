"""Drawn hands: the same whatever the batch, within limits, and free of themselves by an exact test."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from factories import random_hand
from scipy.spatial import cKDTree

from amvur.data.synthetic.penetration import (
    TOUCH_M,
    make_contact_model,
    mobility,
    overlaps,
    penetration_depth_mm,
    pose_contacts,
    relax,
)
from amvur.data.synthetic.pose_library import LIBRARY, library_angles
from amvur.data.synthetic.poses import ALLOWED_DEPTH_M, KIND_WEIGHTS, PoseKind, draw_hands
from amvur.hand.anatomy import anatomical_axes, anatomical_limits, rest_angles
from amvur.hand.model import HandModel
from amvur.hand.model_arrays import HandModelArrays, mirror_arrays
from amvur.hand.open_hand import load_open_hand
from amvur.hand.poses import BONE_FINGERS, POSES
from amvur.hand.prior import make_prior
from amvur.render import vertex_normals


@pytest.fixture(scope="module")
def model():
    return HandModel(load_open_hand())


@pytest.fixture(scope="module")
def drawn(model):
    return draw_hands(model, 3, torch.arange(200))


def in_mano_format(arrays: HandModelArrays) -> HandModelArrays:
    """The open hand as a file in MANO's format would bring it: a mean pose added, other axes and rest."""
    rest = rest_angles(arrays.joint_template, arrays.side)
    mean = np.random.default_rng(0).normal(size=45) * 0.2
    return replace(
        arrays,
        name="mano",
        pose_axes=anatomical_axes(arrays.joint_template, arrays.side),
        rest_angles=rest,
        pose_limits=anatomical_limits(rest),
        pose_mean=mean,
    )


def models():
    right = load_open_hand()
    return {
        "open": right,
        "left": mirror_arrays(right),
        "mano": in_mano_format(right),
        "random": random_hand(0, 60),
    }


def angles_of(model, hand_pose):
    local = (hand_pose + model.pose_mean).unflatten(-1, (15, 3))
    return make_prior(model).angles(local)


def inside(point, vertices, faces):
    """Winding number of a closed mesh about a point (van Oosterom and Strackee 1983)."""
    a, b, c = (vertices[faces[:, k]] - point for k in range(3))
    la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c))
    dots = [np.einsum("ij,ij->i", x, y) for x, y in ((a, b), (b, c), (c, a))]
    below = la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb
    return np.arctan2(volume, below).sum() / (2 * np.pi) > 0.5


def closed_part(faces, keep, vertices):
    """The kept faces with a fan over every hole, and the fans' middle vertices appended to `vertices`."""
    part = faces[keep]
    edges = {tuple(e) for e in np.concatenate([part[:, [0, 1]], part[:, [1, 2]], part[:, [2, 0]]]).tolist()}
    border = [(b, a) for a, b in edges if (b, a) not in edges]
    corners = np.unique(border)
    middle = len(vertices)
    fan = np.array([(a, b, middle) for a, b in border])
    return np.concatenate([part, fan]), np.concatenate([vertices, vertices[corners].mean(0)[None]])


def tangent_distance(points, skin, normals):
    """Distance to a surface given by vertices and normals: to the tangent plane at the nearest vertex."""
    _, nearest = cKDTree(skin).query(points)
    return np.abs(((points - skin[nearest]) * normals[nearest]).sum(1))


def exact_depth_mm(vertices, arrays):
    """How deep the deepest vertex of any part lies in a finger: fingers closed by fans at their bases."""
    weights = arrays.lbs_weights
    owner = np.stack([weights[:, [0, 13]].sum(1), *(weights[:, f : f + 3].sum(1) for f in (1, 4, 7, 10)),
                      weights[:, 14:].sum(1)]).argmax(0)  # fmt: skip
    deepest = 0.0
    faces = torch.from_numpy(arrays.faces)
    normals = vertex_normals(torch.from_numpy(vertices)[None], faces)[0].numpy()
    for part in range(1, 6):
        keep = (owner[arrays.faces] == part).all(1)
        skin = np.unique(arrays.faces[keep])
        closed, points = closed_part(arrays.faces, keep, vertices)
        apart = cKDTree(arrays.v_template[skin]).query(arrays.v_template)[0] > 0.006
        low, high = vertices[skin].min(0), vertices[skin].max(0)
        near = ((vertices > low) & (vertices < high)).all(1) & apart & (owner != part)
        distance = tangent_distance(vertices, vertices[skin], normals[skin])
        for vertex in np.flatnonzero(near):
            if distance[vertex] > deepest and inside(vertices[vertex], points, closed):
                deepest = distance[vertex]
    return 1000 * deepest


@pytest.mark.parametrize("name", ["open", "left", "mano", "random"])
def test_a_hand_does_not_depend_on_its_batch(name):
    model = HandModel(models()[name])
    whole = draw_hands(model, 5, torch.arange(12))
    order = torch.tensor([7, 0, 11])
    part = draw_hands(model, 5, order)
    for field in ("betas", "hand_pose", "kind"):
        assert torch.equal(getattr(part, field), getattr(whole, field)[order])
        assert getattr(draw_hands(model, 5, order[:1]), field).equal(getattr(whole, field)[7:8])
    assert len(draw_hands(model, 5, order[:0]).betas) == 0
    assert not torch.equal(draw_hands(model, 6, order).hand_pose, part.hand_pose)


@pytest.mark.parametrize("name", ["open", "left", "mano", "random"])
def test_hands_stay_within_the_limits_of_their_model(name):
    model = HandModel(models()[name])
    draws = draw_hands(model, 1, torch.arange(40))
    angles = angles_of(model, draws.hand_pose).unflatten(-1, (15, 3))
    assert (angles > model.pose_limits[..., 0] - 1e-5).all()
    assert (angles < model.pose_limits[..., 1] + 1e-5).all()
    assert draws.betas.abs().max() <= 5
    assert draws.betas.dtype == model.v_template.dtype


def test_a_left_hand_is_the_mirror_image_of_the_right_one(model):
    left = HandModel(mirror_arrays(load_open_hand()))
    indices = torch.arange(10)
    meshes = []
    for hand in (model, left):
        draws = draw_hands(hand, 2, indices)
        meshes.append(hand(torch.zeros(10, 3), draws.hand_pose, draws.betas).vertices)
    torch.testing.assert_close(meshes[0] * torch.tensor([-1.0, 1, 1]), meshes[1], atol=2e-5, rtol=0)


def test_kinds_come_as_often_as_stated(model):
    assert sum(KIND_WEIGHTS) == pytest.approx(1)
    kinds = draw_hands(model, 4, torch.arange(500)).kind.bincount(minlength=len(PoseKind)) / 500
    assert np.abs(kinds.numpy() - KIND_WEIGHTS).max() < 0.07


def test_hand_lengths_are_those_of_a_population(model):
    betas = draw_hands(model, 8, torch.arange(500)).betas
    _, joints = model.shape(betas)
    chain = (joints[:, [9, 10, 11, 12]] - joints[:, [0, 9, 10, 11]]).norm(dim=-1).sum(1)
    template = model.joint_template[[9, 10, 11, 12]] - model.joint_template[[0, 9, 10, 11]]
    length = 180.5 * chain / template.norm(dim=-1).sum()
    assert 176 < length.median() < 184
    assert (length < 150).float().mean() == pytest.approx(0.045, abs=0.03)
    assert length.min() > 130
    assert length.max() < 225
    assert betas[:, 3:].std() == pytest.approx(1, abs=0.15)


def test_the_library_is_named_complete_and_within_limits(model):
    assert len(LIBRARY) >= 100
    assert set(POSES) <= set(LIBRARY)
    assert all(set(pose) == set(BONE_FINGERS) for pose in LIBRARY.values())
    angles = library_angles(model)
    assert angles.shape == (len(LIBRARY), 45)
    distance = np.abs(angles[:, None] - angles).max(-1) + 10 * np.eye(len(angles))
    assert np.rad2deg(distance.min()) > 1  # no two alike
    clinical = np.rad2deg(angles.reshape(-1, 15, 3) + model.arrays.rest_angles)
    assert clinical[list(LIBRARY).index("hook"), [1, 4], 0] == pytest.approx([90, 92], abs=1)


def test_every_library_pose_can_be_freed_without_losing_it(model):
    angles = torch.from_numpy(library_angles(model))
    contacts = make_contact_model(model)
    freed, depth = relax(contacts, torch.zeros(len(angles), 10), angles)
    assert depth.max() < ALLOWED_DEPTH_M
    assert np.rad2deg(np.abs(freed - angles.numpy()).max()) < 25


def test_the_compiled_push_agrees_with_autograd(model):
    contacts = make_contact_model(model)
    draws = draw_hands(model, 9, torch.arange(30))
    angles = angles_of(model, draws.hand_pose).double() * 1.3
    betas = draws.betas.double()
    _, depth = relax(contacts, betas, angles, 0)
    leaf = angles.clone().requires_grad_()
    overlap = overlaps(contacts, pose_contacts(contacts, betas, leaf))
    deepest = overlap.amax(-1).detach().numpy()
    np.testing.assert_allclose(depth[deepest > 0], deepest[deepest > 0], atol=1e-9)
    energy = 0.5 * (overlap - TOUCH_M).clamp_min(0).square().sum(-1)
    (gradient,) = torch.autograd.grad(energy.sum(), leaf)
    weight = mobility()
    length = 2 * energy / (weight * gradient.square()).sum(-1).clamp_min(1e-12)
    turn = (-length[:, None] * weight * gradient).clamp(-0.2, 0.2).detach()
    lower, upper = (model.pose_limits[..., k].flatten().double() for k in range(2))
    expected = torch.clamp(angles + turn, lower, upper).numpy()
    moved, _ = relax(contacts, betas, angles, 1)
    pushed = deepest > 2 * TOUCH_M
    palm = (overlap[:, -len(contacts.probes) :].amax(-1) > TOUCH_M).numpy()
    assert (pushed & ~palm).sum() >= 8
    np.testing.assert_allclose(moved[pushed & ~palm], expected[pushed & ~palm], atol=1e-8)
    # The palm's normals turn with the thumb, which the compiled step leaves out.
    np.testing.assert_allclose(moved[pushed & palm], expected[pushed & palm], atol=0.03)


def test_drawn_hands_hardly_enter_themselves(model, drawn):
    vertices = model(torch.zeros(200, 3), drawn.hand_pose, drawn.betas).vertices
    depth = penetration_depth_mm(vertices, model)
    assert depth.quantile(0.5) < 1.2
    assert depth.quantile(0.95) < 3
    assert depth.max() < 5


def test_the_estimate_of_depth_agrees_with_winding_numbers(model, drawn):
    raw = angles_of(model, drawn.hand_pose[:24]).double() * 1.25
    poses = torch.cat([drawn.hand_pose[:24], make_prior(model).axis_angle(raw.float())])
    vertices = model(torch.zeros(48, 3), poses, drawn.betas[:24].repeat(2, 1)).vertices
    estimate = penetration_depth_mm(vertices, model).numpy()
    exact = np.array([exact_depth_mm(v.double().numpy(), model.arrays) for v in vertices])
    assert np.percentile(exact[:24], 90) < 3
    assert exact[:24].max() < 6
    assert exact[24:].max() > 3  # the exact test does find something
    assert np.corrcoef(estimate, exact)[0, 1] > 0.75
    assert (exact - estimate).max() < 3


def test_depth_is_the_same_wherever_the_hand_is(model, drawn):
    orient = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    still = model(torch.zeros(10, 3), drawn.hand_pose[:10], drawn.betas[:10]).vertices
    moved = model(orient, drawn.hand_pose[:10], drawn.betas[:10], torch.ones(10, 3)).vertices
    torch.testing.assert_close(
        penetration_depth_mm(still, model), penetration_depth_mm(moved, model), atol=0.01, rtol=0
    )


def test_straight_fingers_do_not_count_as_touching_and_crossed_ones_do(model):
    names = list(LIBRARY)
    angles = torch.from_numpy(library_angles(model)).float()
    index = [names.index(n) for n in ("spread", "flat", "letter_r", "thumb_in_fist")]
    poses = make_prior(model).axis_angle(angles[index])
    depth = penetration_depth_mm(model(torch.zeros(4, 3), poses, torch.zeros(4, 10)).vertices, model)
    assert depth[0] == 0
    assert depth[1] < 2
    assert (depth[2:] > 4).all()
