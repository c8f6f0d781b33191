"""The frozen hand features against onnxruntime, and looking at hands of any roll."""

import math
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch.distributions import Normal

from amvur.crop import CropTransform
from amvur.detect.landmarks import LANDMARK_OUTPUTS
from amvur.detect.networks import Network, shipped_network
from amvur.detect.palms import crop_of_landmarks
from amvur.detect.roll import box_overlap, likeliest_turn
from amvur.errors import InputError, ModelFileError
from amvur.inference.network.view import upright_crop
from amvur.models.landmark_backbone import LandmarkBackbone
from amvur.models.landmark_trunk import LandmarkTrunk
from amvur.models.network import NetworkConfig, make_network
from amvur.models.prior_net import PriorNetConfig
from amvur.models.upright import predict_upright, turned_back, upright_frames

SMALL = NetworkConfig(
    backbone="mediapipe_hand",
    setting="prior",
    feature_width=16,
    prior_net=PriorNetConfig(hidden=16),
    crop="upright",
)


@pytest.fixture(scope="module")
def backbone():
    return LandmarkBackbone().eval()


def heads():
    """The matrices and biases of the network's own outputs of 63 numbers, in the file's order."""
    graph = onnx.load(shipped_network("hand_landmarks")).graph
    arrays = {w.name.removesuffix("_half"): onnx.numpy_helper.to_array(w) for w in graph.initializer}
    pairs = [(arrays[n.input[1]], arrays[n.input[2]]) for n in graph.node if n.op_type == "Gemm"]
    return [pair for pair in pairs if len(pair[1]) == 63]


def test_pooled_feature_gives_the_landmarks_of_onnxruntime(backbone):
    picture = np.random.default_rng(0).integers(0, 255, (7, 7, 3), np.uint8).repeat(32, 0).repeat(32, 1)
    screen, _, _, world = Network(shipped_network("hand_landmarks"), 224, LANDMARK_OUTPUTS)(picture[None])
    pixels = torch.tensor(picture.copy()).permute(2, 0, 1)[None].float() / 255
    pooled = backbone.trunk(pixels)[0].numpy()[0]
    for (weight, bias), (expected,) in zip(heads(), (screen, world), strict=True):
        ours = weight.astype(np.float32) @ pooled + bias
        assert np.abs(ours - expected).max() < 1e-4 * np.abs(expected).max()


def test_checkpoints_hold_the_reader_alone(backbone):
    assert not any(name.startswith("trunk") for name in backbone.state_dict())
    assert not any(p.requires_grad for p in backbone.trunk.parameters())


def test_other_sizes_and_missing_files_are_refused(backbone, tmp_path):
    with pytest.raises(InputError, match="224"):
        backbone(torch.zeros(1, 3, 128, 128))
    with pytest.raises(ModelFileError, match=r"absent\.onnx"):
        LandmarkTrunk(tmp_path / "absent.onnx")


def test_upright_frame_is_the_trackers_crop():
    joints = np.random.default_rng(1).random((21, 2)) * 200
    expected = crop_of_landmarks(joints)
    assert np.allclose(upright_crop(joints, 224).matrix, expected.matrix)
    units = upright_frames(torch.tensor(joints)[None])[0].numpy()
    moved = joints @ units[:, :2].T + units[:, 2]
    assert np.allclose((moved + 1) * 112, expected.apply_points(joints))


def test_turned_back_undoes_the_crop():
    """Weak projections of the turned-back hand are those of the crop, taken back to the picture."""
    network = make_network(SMALL).eval()
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    joints = torch.rand(2, 21, 2, generator=torch.Generator().manual_seed(1)) - 0.5
    frames = upright_frames(joints)
    with torch.no_grad():
        seen = network(images)
        back = turned_back(seen, frames)
    flat = back.joints_2d.loc @ frames[:, :, :2].transpose(-1, -2) + frames[:, None, :, 2]
    assert torch.allclose(flat, seen.joints_2d.loc, atol=1e-5)
    scale = 8 * back.hand.camera.loc[:, 0].exp()
    projected = scale[:, None, None] * back.joints.loc[..., :2] + back.hand.camera.loc[:, None, 1:]
    assert torch.allclose(projected, back.joints_2d.loc, atol=1e-4)
    posed = network.hand.from_matrices(back.hand.rotations, back.hand.betas)
    relative = posed.vertices - posed.joints[:, :1]
    assert torch.allclose(relative, back.prior_vertices.loc, atol=1e-5)


@pytest.mark.parametrize(("turn", "surer"), [(0, False), (2, True), (3, False)])
def test_of_four_turns_the_one_that_finds_the_hand_is_followed(turn, surer):
    """A fake network finds the hand where it was in one turn, in the others each time somewhere else."""
    network = make_network(SMALL).eval()
    hand = torch.rand(1, 21, 2, generator=torch.Generator().manual_seed(0)) * 0.4
    hand[:, 0] = torch.tensor([0.2, 1.0])
    looks = []

    def fake(crops):
        looks.append(len(crops))
        astray = torch.arange(len(crops)) != (turn if len(crops) == 4 else 0)
        astray = astray[:, None, None].float()
        loc = hand * (1 - 2 * astray) * (1 + 0.3 * len(looks) * astray)
        scale = (0.01 - 0.002 * astray * surer).expand(-1, 21, 3)
        seen = network(crops)
        # what is said of places in the picture, which does not choose, is the contrary
        return replace(
            seen,
            joints=Normal(seen.joints.loc, scale),
            joints_2d=Normal(loc, 1e-3 / scale[..., :2]),
            prior_joints_2d=Normal(loc, 1e-3 / scale[..., :2]),
        )

    with torch.no_grad():
        joints = predict_upright(fake, torch.zeros(1, 3, 224, 224)).joints_2d.loc[0]
    up = (joints[9] - joints[0]).numpy()
    angle = turn * math.pi / 2
    direction = [-math.sin(angle), -math.cos(angle)]  # of "up" in that turn of the picture
    assert looks == [4, 4, 4, 1]
    assert up @ direction > 0.7 * np.linalg.norm(up)


def test_the_likeliest_turn_is_the_surest_unless_it_strays():
    moved = np.array([[0.3, 0.01, 0.3, 0.3], [0.1, 0.1, 0.1, 0.1], [0.01, 0.3, 0.3, 0.3]])
    stated = np.array([[0.1, 0.12, 0.1, 0.1], [0.3, 0.2, 0.1, 0.2], [0.3, 0.1, 0.3, 0.3]])
    assert likeliest_turn(stated, moved).tolist() == [1, 2, 1]
    assert likeliest_turn(stated, moved, np.full((3, 4), 0.5)).tolist() == [1, 2, 1]
    overlap = np.array([[0.8, 0.1, 0.1, 0.1], [0.5, 0.5, 0.4, 0.5], [0.0, 0.5, 0.5, 0.5]])
    assert likeliest_turn(stated, moved, overlap).tolist() == [0, 2, 1]


def test_overlap_of_joints_and_a_box():
    joints = np.random.default_rng(0).random((3, 21, 2))
    joints[:, 0], joints[:, 1] = 0, 1
    boxes = np.array([[0.0, 0, 1, 1], [0.5, 0, 1.5, 1], [2, 2, 3, 3]])
    assert np.allclose(box_overlap(joints, boxes), [1, 1 / 3, 0.0])


def test_crop_of_a_turned_square_has_the_angle_of_its_frame():
    joints = np.random.default_rng(2).random((21, 2))
    turn = CropTransform(0.0, 0.0, 1.0, 224, math.radians(30)).axes
    before, after = (upright_crop(points, 224).rotation_rad for points in (joints, joints @ turn))
    assert math.isclose((after - before) % (2 * math.pi), math.radians(30), abs_tol=1e-6)


def test_a_tuned_backbone_begins_as_the_frozen_one_and_only_its_later_part_learns(backbone):
    tuned = LandmarkBackbone(tuned=True)
    pictures = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    expected, found = backbone.trunk(pictures), tuned.trunk(pictures)
    for ours, reference in zip(found, expected, strict=True):
        assert torch.allclose(ours, reference, atol=1e-5)
    found[0].square().sum().backward()
    learned = {name for name, value in tuned.trunk.named_parameters() if value.grad is not None}
    assert learned == set(tuned.trunk.state_dict())
    # most weights are learned, the first convolutions are not
    sizes = [sum(p.numel() for p in t) for t in (tuned.trunk.parameters(), tuned.trunk.buffers())]
    assert sizes[0] > 2 * sizes[1] > 0


def test_stored_maps_give_the_same_features(backbone):
    pictures = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    middle, shallow = backbone.trunk.early(pictures)
    expected = backbone.trunk(pictures)
    for ours, reference in zip((*backbone.trunk.late(middle), shallow), expected, strict=True):
        assert torch.equal(ours, reference)
