from dataclasses import replace

import pytest
import torch

from amvur.data.synthetic import occluders
from amvur.data.synthetic.scene import SceneConfig, _border, draw_arms, draw_cameras, make_body, streams
from amvur.errors import ModelFileError
from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.hand.model import HandModel
from amvur.hand.open_hand import load_open_hand
from amvur.render import vertex_normals

COUNT = 40


@pytest.fixture(scope="module")
def model():
    return HandModel(load_open_hand("right"))


@pytest.fixture(scope="module")
def body(model):
    return make_body(model)


def cameras(model, config):
    vertices = model.v_template.expand(COUNT, -1, -1)
    axis = torch.tensor([1.0, 0, 0]).expand(COUNT, 3)
    return vertices, draw_cameras(streams(1, torch.arange(COUNT), 0), config, 224, vertices, axis)


def test_streams_differ_by_index_and_purpose():
    a, b = streams(1, torch.tensor([4, 5]), 0)
    (c,) = streams(1, torch.tensor([4]), 1)
    (again,) = streams(1, torch.tensor([4]), 0)
    first = a.random()
    assert first == again.random()
    assert len({first, b.random(), c.random()}) == 3


def test_hands_stand_before_the_camera_and_fill_the_crop_as_asked(model):
    config = SceneConfig(crop_scale=(1.0, 1.2), crop_shift=0.0)
    vertices, camera = cameras(model, config)
    placed = vertices @ axis_angle_to_matrix(camera.global_orient).mT + camera.transl[:, None]
    assert placed[..., 2].min() > 0.1
    flat = placed @ camera.intrinsics.mT
    flat = flat[..., :2] / flat[..., 2:]
    assert flat.min() > 0
    assert flat.max() < 224
    side = (flat.amax(1) - flat.amin(1)).amax(-1)
    assert (side > 224 / 1.2 / 1.15 - 1).all()
    assert (camera.intrinsics[:, 0, 0] == camera.intrinsics[:, 1, 1]).all()


def test_views_along_the_forearm_are_drawn_again(model):
    _, camera = cameras(model, SceneConfig())
    axis = axis_angle_to_matrix(camera.global_orient)[:, :, 0]
    assert axis[:, 2].min() > -0.56


def test_arm_continues_the_wrist_outward(model, body):
    arm = draw_arms(streams(1, torch.arange(3), 1), SceneConfig(), model.v_template)
    joints = model.joint_template.expand(3, -1, -1)
    grown = body.attach(model.v_template.expand(3, -1, -1), joints, arm)
    first = grown[:, body.num_hand_vertices : body.num_hand_vertices + len(body.rim)]
    assert (first - grown[:, body.rim]).norm(dim=-1).max() < 0.03
    rest = body.rest[body.num_hand_vertices :].unflatten(0, (-1, len(body.rim)))
    outward = rest - rest.mean(1, keepdim=True)
    normals = vertex_normals(body.rest[None], body.faces)[0, body.num_hand_vertices :].view_as(outward)
    assert ((outward * normals).sum(-1)[1:-1] > 0).float().mean() > 0.98


def test_things_that_are_off_lie_behind_the_camera(model, body):
    config = replace(SceneConfig.bare(), blob_rate=1.0)
    draws = occluders.draw_things(streams(3, torch.arange(2), 6), config, model.v_template)
    shift = torch.tensor([0.0, 0.0, 0.5])
    things = occluders.build_things(
        body, (body.rest + shift).expand(2, -1, -1), (model.joint_template + shift).expand(2, -1, -1), draws
    )
    ahead = (things.vertices[..., 2] > 0)[:, things.faces].all(-1)
    assert (ahead == (things.slot == occluders.BLOB)).all()


def test_a_grip_leaves_the_fingers_room(model, body):
    config = replace(SceneConfig.bare(), grip_rate=1.0)
    draws = occluders.draw_things(streams(3, torch.arange(8), 6), config, model.v_template)
    shift = torch.tensor([0.0, 0.0, 0.5])
    joints = (model.joint_template + shift).expand(8, -1, -1)
    things = occluders.build_things(body, (body.rest + shift).expand(8, -1, -1), joints, draws)
    grip = things.vertices[:, things.faces[things.slot == occluders.GRIP].unique()]
    fingertips = joints[:, [8, 12, 16, 20]]
    assert torch.cdist(fingertips, grip).min() > 0.002


@pytest.mark.parametrize("faces", [[[0, 1, 2], [3, 4, 5]], [[0, 1, 2], [2, 3, 4]]])
def test_a_mesh_with_several_open_borders_grows_no_arm(faces):
    with pytest.raises(ModelFileError, match="open elsewhere"):
        _border(torch.tensor(faces))
