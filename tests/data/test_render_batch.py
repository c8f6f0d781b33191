from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image

from amvur.data.samples import JointState
from amvur.data.synthetic.render_batch import SceneRenderer
from amvur.data.synthetic.scene import SceneConfig
from amvur.hand.model import HandModel
from amvur.hand.open_hand import load_open_hand
from amvur.hand.poses import named_pose
from amvur.hand.prior import make_prior

COUNT, SIZE = 8, 160


@pytest.fixture(scope="module")
def model():
    return HandModel(load_open_hand("right"))


@pytest.fixture(scope="module")
def renderer(model):
    return SceneRenderer(model, SIZE)


@pytest.fixture(scope="module")
def hands(model):
    generator = torch.Generator().manual_seed(3)
    prior = make_prior(model)
    return torch.randn(COUNT, 10, generator=generator), prior.axis_angle(prior.sample(COUNT, generator))


@pytest.fixture(scope="module")
def batch(renderer, hands):
    return renderer.render(7, torch.arange(COUNT), *hands)


def with_config(renderer, config):
    """A second renderer that shares what was baked."""
    other = object.__new__(SceneRenderer)
    other.__dict__.update(renderer.__dict__)
    other.config = config
    return other


def side_model(is_left):
    return HandModel(load_open_hand("left" if is_left else "right"), torch.float64)


def blocked_by_rays(vertices, faces, chunk=200):
    """Möller–Trumbore in float64: whether each vertex's ray to the camera meets a face without it."""
    a, b, c = vertices[faces].unbind(1)
    ab, ac = b - a, c - a
    hidden = []
    for first in range(0, len(vertices), chunk):
        ray = vertices[first : first + chunk, None]
        p = torch.linalg.cross(ray, ac[None].expand(len(ray), -1, -1))
        scale = 1 / (ab * p).sum(-1)
        u = -(a * p).sum(-1) * scale
        q = torch.linalg.cross(-a, ab)
        v = (ray * q).sum(-1) * scale
        t = (ac * q).sum(-1) * scale
        index = torch.arange(first, first + len(ray))
        foreign = (faces[None] != index[:, None, None]).all(-1)
        hidden.append(((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (t < 1 - 1e-4) & foreign).any(-1))
    return torch.cat(hidden)


def test_same_seed_and_index_give_the_same_picture_in_any_batch(renderer, hands, batch):
    order = torch.tensor([5, 0, 3])
    again = renderer.render(7, order, *(x[order] for x in hands))
    for field in fields(batch):
        assert torch.equal(getattr(again, field.name), getattr(batch, field.name)[order]), field.name


def test_larger_chunks_change_next_to_nothing(renderer, hands, batch):
    together = with_config(renderer, replace(renderer.config, chunk=COUNT)).render(
        7, torch.arange(COUNT), *hands
    )
    assert torch.equal(together.joint_states, batch.joint_states)
    assert (together.images.float() - batch.images.float()).abs().mean() < 0.2
    torch.testing.assert_close(together.vertices, batch.vertices, atol=1e-6, rtol=0)


def test_another_seed_gives_another_picture(renderer, hands, batch):
    other = renderer.render(8, torch.arange(1), *(x[:1] for x in hands))
    assert not torch.equal(other.images[0], batch.images[0])


def test_parameters_reproduce_vertices_and_pixels_of_either_side(batch):
    assert 0 < batch.is_left.sum() < COUNT
    for i in range(COUNT):
        one = [getattr(batch, n)[i].double() for n in ("global_orient", "hand_pose", "betas", "transl")]
        mesh = side_model(bool(batch.is_left[i]))(*one)
        torch.testing.assert_close(mesh.vertices.float(), batch.vertices[i], atol=2e-6, rtol=0)
        homogeneous = mesh.joints @ batch.intrinsics[i].double().T
        pixels = homogeneous[:, :2] / homogeneous[:, 2:]
        assert (pixels - batch.joints_2d[i].double()).abs().max() < 1e-3


def test_visible_vertices_agree_with_rays(model, hands, batch, renderer):
    stage = renderer._stage(7, torch.arange(COUNT), *hands)
    agreed = []
    for i in range(0, COUNT, 2):
        body = stage.scene.vertices[i, : len(renderer.body.rest)].double()
        hidden = blocked_by_rays(body, renderer.body.faces)[: len(model.v_template)]
        agreed.append((batch.visible_vertices[i] == ~hidden).float().mean())
    assert np.mean(agreed) > 0.995


def test_unoccluded_vertices_agree_with_rays_against_everything(hands, batch, renderer):
    agreed = []
    for i in range(COUNT):
        one = torch.tensor([i])
        scene = renderer._stage(7, one, *(x[one] for x in hands)).scene
        count = batch.vertices.shape[1]
        seen = batch.unoccluded_vertices[i].nonzero()[:, 0]
        if len(scene.slot) == 0 or len(seen) < 50:
            continue
        hidden = blocked_by_rays(scene.vertices[0].double(), scene.faces)[:count]
        flat = scene.vertices[0, :count] @ scene.intrinsics[0].T
        inside = ((flat[:, :2] / flat[:, 2:]).clamp(0, SIZE) == flat[:, :2] / flat[:, 2:]).all(-1)
        agreed.append((batch.unoccluded_vertices[i] == (~hidden & inside)).float().mean())
    assert np.mean(agreed) > 0.995


def test_mask_lies_where_visible_vertices_are(batch):
    for i in range(COUNT):
        points = batch.vertices[i][batch.unoccluded_vertices[i]] @ batch.intrinsics[i].T
        x, y = (points[:, :2] / points[:, 2:]).long().clamp(0, SIZE - 1).T
        if len(x) > 20:
            assert batch.mask[i, y, x].float().mean() > 0.8


def test_mirrored_labels_are_those_of_the_mirrored_picture(renderer, hands):
    right = with_config(renderer, replace(renderer.config, left_rate=0.0)).render(
        7, torch.arange(2), *(x[:2] for x in hands)
    )
    left = with_config(renderer, replace(renderer.config, left_rate=1.0)).render(
        7, torch.arange(2), *(x[:2] for x in hands)
    )
    assert torch.equal(left.images, right.images.flip(2))
    assert torch.equal(left.mask, right.mask.flip(2))
    torch.testing.assert_close(left.joints_2d[..., 0], SIZE - right.joints_2d[..., 0])
    torch.testing.assert_close(left.vertices, right.vertices * torch.tensor([-1.0, 1, 1]))
    for name in ("vertex_albedo", "vertex_colors", "joint_states", "visible_vertices", "occlusion"):
        assert torch.equal(getattr(left, name), getattr(right, name)), name


def test_nothing_is_hidden_in_bare_scenes_but_by_the_hand_itself(renderer, hands):
    batch = with_config(renderer, SceneConfig.bare()).render(1, torch.arange(COUNT), *hands)
    assert batch.occlusion.max() < 0.02
    assert not (batch.joint_states == JointState.HIDDEN_BY_OBJECT).any()


def test_flat_palm_shows_all_joints(model, renderer):
    pose = torch.as_tensor(named_pose("flat", model.arrays.pose_axes, model.arrays.rest_angles)).float()[None]
    bare = with_config(renderer, SceneConfig.bare())
    shown = []
    for seed in range(12):
        batch = bare.render(seed, torch.zeros(1, dtype=torch.long), torch.zeros(1, 10), pose)
        facing = batch.joints[0, 5:, 2].max() - batch.joints[0, 5:, 2].min() < 0.05
        if facing:
            shown.append((batch.joint_states == JointState.VISIBLE).float().mean())
    assert shown
    assert np.mean(shown) > 0.9


def test_target_occlusion_is_reached(renderer, hands):
    target = (0.4, 0.7)
    config = replace(renderer.config, target_occlusion=target, second_hand_rate=0.0)
    batch = with_config(renderer, config).render(2, torch.arange(COUNT), *hands)
    reached = (batch.occlusion > target[0] - 0.05) & (batch.occlusion < target[1] + 0.05)
    assert reached.float().mean() > 0.7


def test_colors_of_vertices_are_those_of_the_picture(renderer, hands):
    config = replace(SceneConfig.bare(), noise_std=(1e-4, 1e-4))
    batch = with_config(renderer, config).render(4, torch.arange(COUNT), *hands)
    errors = []
    for i in range(COUNT):
        seen = batch.unoccluded_vertices[i]
        points = batch.vertices[i][seen] @ batch.intrinsics[i].T
        x, y = (points[:, :2] / points[:, 2:]).long().clamp(0, SIZE - 1).T
        inner = batch.mask[i, y, x]
        picture = batch.images[i, y, x].float() / 255
        errors.append((picture - batch.vertex_colors[i][seen]).abs()[inner].median())
    assert np.median(errors) < 0.03
    assert (batch.vertex_albedo > 0).all()


def test_users_pictures_become_backgrounds(model, hands, tmp_path, renderer):
    Image.new("RGB", (300, 200), (10, 200, 30)).save(tmp_path / "green.png")
    config = replace(SceneConfig.bare(), photo_rate=1.0)
    other = SceneRenderer(model, 64, config, [tmp_path / "green.png"])
    batch = other.render(1, torch.arange(2), *(x[:2] for x in hands))
    behind = batch.images.float()[~batch.mask]
    assert (behind.median(0).values.argmax() == 1).all()
