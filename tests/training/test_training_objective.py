"""The objective on a tiny network: what each scheme may see, and what its gradients are."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal

from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.models.network import HandNetwork, NetworkConfig
from amvur.models.prior_net import PriorNetConfig, apply_camera
from amvur.training.objective import Objective, drawn, weighted_mean
from amvur.training.presets import PRESETS
from amvur.training.targets import LabelledImages, Targets, fit_camera, targets_of


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    config = NetworkConfig(
        backbone="mobilenetv3_small_050",
        feature_width=16,
        amvur_hidden=8,
        image_px=64,
        prior_net=PriorNetConfig(hidden=16),
    )
    return HandNetwork(config, HandModel(load_hand_model("open"))).eval()


def labelled(n=2, size=64):
    torch.manual_seed(1)
    hand = HandModel(load_hand_model("open"))
    orient, pose, betas = 0.5 * torch.randn(n, 3), 0.1 * torch.randn(n, 45), torch.randn(n, 10)
    transl = torch.tensor([[0.05, -0.02, 0.6]]).repeat(n, 1)
    intrinsics = torch.tensor([[200.0, 0, 10], [0, 200.0, 40], [0, 0, 1]]).repeat(n, 1, 1)
    joints = hand(orient, pose, betas, transl).joints
    pixels = joints @ intrinsics.mT
    flat = pixels[..., :2] / pixels[..., 2:]
    images = torch.zeros(n, size, size, 3, dtype=torch.uint8)
    return LabelledImages(images, intrinsics, orient, pose, betas, transl, flat, torch.ones(n, 21)), hand


def test_targets_fit_a_weak_camera_in_view_axes():
    images, hand = labelled()
    targets = targets_of(images, hand)
    error = (apply_camera(targets.joints, targets.camera) - targets.joints_2d).abs().max()
    spread = (targets.joints_2d - targets.joints_2d.mean(1, keepdim=True)).abs().max()
    # What is left is perspective within the hand, 0.1 m deep at 0.6 m.
    assert error < 0.2 * spread


def test_fit_camera_recovers_an_exact_one():
    joints = torch.randn(3, 21, 3)
    camera = torch.tensor([[0.2, 0.1, -0.3]]).repeat(3, 1)
    assert (fit_camera(joints, apply_camera(joints, camera)) - camera).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["weak", "weak-prior", "weak-amvur"])
def test_weak_scheme_sees_only_2d(network, name):
    """3D truth poisoned with NaN changes neither loss nor gradients."""
    images, hand = labelled()
    full = targets_of(images, hand)
    objective = Objective(PRESETS[name].objective, network)
    found = []
    for targets in (full, full.only_2d()):
        network.zero_grad()
        prediction = network(torch.full((2, 3, 64, 64), 0.5))
        loss, _ = objective(prediction, targets, 0, torch.Generator().manual_seed(3))
        loss.backward()
        grads = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        found.append((loss.detach(), grads))
    assert torch.isfinite(found[1][0])
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))


def test_supervised_scheme_needs_3d(network):
    images, hand = labelled()
    prediction = network(torch.full((2, 3, 64, 64), 0.5))
    objective = Objective(PRESETS["supervised"].objective, network)
    poisoned = replace(targets_of(images, hand).only_2d(), has_3d=torch.ones(2, dtype=torch.bool))
    assert torch.isnan(objective(prediction, poisoned)[0])


def test_reparameterised_gradient_matches_finite_differences():
    loc, scale = torch.zeros(4, dtype=torch.float64), torch.full((4,), 0.3, dtype=torch.float64)

    def loss(mean, spread):
        draw = drawn(Normal(mean, spread, validate_args=False), torch.Generator().manual_seed(0))
        return (draw**3).sum()

    inputs = (loc.requires_grad_(), scale.requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs)


def test_unseen_joints_weigh_nothing():
    values = torch.tensor([1.0, float("nan")])
    assert weighted_mean(values, torch.tensor([1.0, 0.0])) == 1


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_switch_terms(network, name):
    """Every preset's loss is finite and the sum of its weighted terms."""
    images, hand = labelled()
    preset = PRESETS[name]
    prediction = network(torch.full((2, 3, 64, 64), 0.5))
    targets: Targets = targets_of(images, hand)
    loss, terms = Objective(preset.objective, network)(
        prediction, targets, 0, torch.Generator().manual_seed(0)
    )
    weights = vars(preset.objective.weights)
    expected = sum(weights[key] * value for key, value in terms.items() if weights[key])
    assert torch.isfinite(loss)
    assert torch.allclose(loss, expected)
