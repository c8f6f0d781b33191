import numpy as np
import pytest
import torch

from amvur.data.synthetic import skin
from amvur.data.synthetic.scene import SceneConfig, make_body, streams
from amvur.hand.joints import TIP_JOINTS
from amvur.hand.model import HandModel
from amvur.hand.open_hand import load_open_hand


@pytest.fixture(scope="module")
def baked():
    model = HandModel(load_open_hand("right"))
    body = make_body(model)
    return model, body, skin.bake_skin(model, body)


def painted(baked, count):
    _, body, atlas = baked
    draws = skin.draw_skins(streams(2, torch.arange(count), 2), SceneConfig(glove_rate=0.0), body.rest)
    corner = body.corner[: body.num_hand_vertices]
    image = torch.arange(count).repeat_interleave(len(corner))
    bary = torch.nn.functional.one_hot(corner[:, 1], 3).float().repeat(count, 1)
    surface = skin.paint(atlas, draws, image, corner[:, 0].repeat(count), bary)
    return draws, surface.albedo.view(count, -1, 3)


def test_texels_number_every_place_of_a_face():
    generator = np.random.default_rng(0)
    bary = torch.as_tensor(generator.dirichlet(np.ones(3), 20000)).float()
    number = skin.texel_of(bary)
    assert number.unique().tolist() == list(range(skin._TEXELS**2))
    centers = skin._texel_centers()
    assert torch.equal(skin.texel_of(centers), torch.arange(skin._TEXELS**2))
    assert (bary - centers[number]).abs().max() < 1 / skin._TEXELS


def test_tones_span_the_whole_range_and_darken_with_melanin(baked):
    draws, albedo = painted(baked, 60)
    level = albedo.median(1).values.mean(-1)
    assert np.corrcoef(draws.melanin, level.log())[0, 1] < -0.9
    assert level.min() < 0.09
    assert level.max() > 0.35


def test_palms_of_dark_hands_are_lighter(baked):
    _, body, atlas = baked
    draws, albedo = painted(baked, 40)
    palm = atlas.at(body.corner[:1610, 0], torch.full((1610, 3), 1 / 3))[:, 0]
    dark = draws.melanin > 0.6
    ratio = albedo[dark][:, palm > 0.9].mean((1, 2)) / albedo[dark][:, palm < 0.1].mean((1, 2))
    assert (ratio > 1.1).float().mean() > 0.9


def test_nails_lie_on_the_backs_of_the_tips(baked):
    model, body, atlas = baked
    place = torch.einsum("k,fkc->fc", torch.full((3,), 1 / 3), body.rest[body.faces])
    nail = atlas.texels[:, 5].view(len(body.faces), -1).mean(-1)
    tips = model.joint_template[list(TIP_JOINTS)]
    distance = torch.cdist(place[nail > 0.5], tips)
    assert distance.min(-1).values.max() < 0.02
    assert (distance < 0.02).any(0).all()


def test_every_vertex_names_a_corner_of_a_face(baked):
    _, body, _ = baked
    found = body.faces[body.corner[:, 0], body.corner[:, 1]]
    assert (found == torch.arange(len(body.rest))).sum() >= len(body.rest) - 1
