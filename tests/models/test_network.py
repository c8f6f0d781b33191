"""The whole network on a tiny backbone: shapes, settings, frames, and what the weights may hold."""

import pytest
import torch

from amvur.errors import InputError
from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.models.backbone import Backbone
from amvur.models.features import Features
from amvur.models.network import HandNetwork, NetworkConfig
from amvur.models.prior_net import PriorNet, PriorNetConfig, apply_camera, matrix_from_6d

TINY = {"backbone": "mobilenetv3_small_050", "feature_width": 16, "amvur_hidden": 8, "image_px": 64}


@pytest.fixture(scope="module")
def hand():
    return HandModel(load_hand_model("open"))


def make(hand, **options):
    torch.manual_seed(0)
    return HandNetwork(NetworkConfig(**TINY, prior_net=PriorNetConfig(hidden=16), **options), hand).eval()


@pytest.mark.parametrize("setting", ["prior", "amvur", "final"])
@pytest.mark.parametrize("design", ["connected", "self", "cross", "template"])
def test_prediction_is_root_relative_and_finite(hand, setting, design):
    network = make(hand, setting=setting, amvur_design=design)
    prediction = network(torch.rand(2, 3, 64, 64))
    assert prediction.vertices.loc.shape == (2, len(hand.v_template), 3)
    assert torch.isfinite(prediction.joints_2d.scale).all()
    assert (prediction.joints.loc[:, 0].abs() < 1e-6).all()
    assert (prediction.vertices is prediction.prior_vertices) == (setting == "prior")


def test_2d_joints_are_the_weak_camera_of_3d_joints(hand):
    prediction = make(hand)(torch.rand(2, 3, 64, 64))
    flat = apply_camera(prediction.joints.loc, prediction.hand.camera.loc)
    assert (flat - prediction.joints_2d.loc).abs().max() < 1e-5


def test_prior_base_starts_at_the_prior_nets_hand(hand):
    prediction = make(hand, amvur_base="prior")(torch.rand(1, 3, 64, 64))
    assert (prediction.vertices.loc - prediction.prior_vertices.loc).abs().max() < 1e-6


def test_weights_hold_no_hand_model(hand):
    names = make(hand).state_dict()
    assert not any(name.startswith("hand.") or name.endswith("template") for name in names)


@pytest.mark.parametrize("space", ["6d", "pca"])
def test_untrained_prior_net_gives_the_anatomical_mean(hand, space):
    net = PriorNet(8, hand, PriorNetConfig(hidden=8, pose_space=space))
    torch.nn.init.zeros_(net.head.weight)
    estimate = net(torch.rand(1, 8), hand)
    mesh = hand(torch.zeros(1, 3), net.pose_mean[None] - hand.pose_mean, torch.zeros(1, 10))
    assert (estimate.joints - (mesh.joints - mesh.joints[:, :1])).abs().max() < 1e-5


def test_6d_vectors_become_rotations():
    matrices = matrix_from_6d(torch.randn(20, 6, dtype=torch.float64))
    eye = torch.eye(3, dtype=torch.float64)
    assert (matrices @ matrices.mT - eye).abs().max() < 1e-9
    assert (torch.linalg.det(matrices) - 1).abs().max() < 1e-9


def test_unknown_backbone_is_named():
    with pytest.raises(InputError, match="resnet5000"):
        Backbone("resnet5000")


def test_configuration_survives_json():
    import json
    from dataclasses import asdict

    config = NetworkConfig(prior_net=PriorNetConfig(pose_space="pca", components=20))
    assert NetworkConfig.from_json(json.loads(json.dumps(asdict(config)))) == config


def test_training_on_some_vertices_is_the_whole_function_at_these(hand):
    network = make(hand, setting="final", amvur_base="prior", amvur_training_vertices=30)
    features = torch.randn(2, network.backbone.width, generator=torch.Generator().manual_seed(0))
    torch.nn.init.normal_(network.amvur.mean.last.weight, std=0.1)
    with torch.no_grad():
        part = network.train().estimate(Features(features, features[:, :8, None, None]))
        whole = network.eval().estimate(Features(features, features[:, :8, None, None]))
    assert whole.rows is None
    assert len(part.rows) == part.vertices.loc.shape[1] < whole.vertices.loc.shape[1]
    for name in ("vertices", "prior_vertices"):
        for value in ("loc", "scale"):
            ours, all_of_them = (getattr(getattr(p, name), value) for p in (part, whole))
            assert torch.allclose(ours, all_of_them[:, part.rows], atol=1e-6)
    for name in ("joints", "joints_2d", "prior_joints"):
        for value in ("loc", "scale"):
            ours, reference = (getattr(getattr(p, name), value) for p in (part, whole))
            assert torch.allclose(ours, reference, atol=1e-5)


def test_a_folded_network_says_the_same(hand):
    network = make(hand, setting="final")
    torch.nn.init.normal_(network.amvur.mean.last.weight, std=0.1)
    features = torch.randn(2, network.backbone.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network.estimate(Features(features, features[:, :8, None, None]))
        after = network.fold().estimate(Features(features, features[:, :8, None, None]))
    assert torch.allclose(before.vertices.loc, after.vertices.loc, atol=1e-6)
    assert torch.allclose(before.joints.scale, after.joints.scale, rtol=1e-4)
