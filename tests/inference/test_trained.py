"""Checkpoints by name: none, the default, a folder, and what is said of those that cannot be used."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from limits import refused
from test_reconstructor import IMAGE, detect, true_mesh
from truth import INTRINSICS

from amvur.checkpoint import save_checkpoint
from amvur.errors import AmvurError, ModelFileError
from amvur.inference import trained
from amvur.inference.calibration import load_calibrations
from amvur.inference.network_view import FusionSettings
from amvur.inference.reconstructor import Reconstructor
from amvur.inference.trained import load_trained
from amvur.models.network import NetworkConfig, make_network

CPU = torch.device("cpu")
CALIBRATION = {"coefficients": [0.5, 0, 0, 0], "floor_m": [0.001] * 21, "source": "test"}


@pytest.fixture(scope="module")
def untrained():
    """A tiny network's settings, weights and hand model's hash."""
    config = NetworkConfig(backbone="test_resnet.r160_in1k", image_px=64, feature_width=16, setting="prior")
    network = make_network(config)
    return asdict(config), network.state_dict(), network.hand.arrays.sha256


@pytest.fixture
def folder(untrained, tmp_path):
    settings, state, sha256 = untrained
    save_checkpoint(tmp_path / "ck", settings, state, hand_model="open", hand_model_sha256=sha256)
    return tmp_path / "ck"


def change(folder, **sections):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | sections))


def test_a_folder_gives_its_network_with_default_settings(folder):
    loaded = load_trained(str(folder), CPU)
    assert loaded.network.config.image_px == 64
    assert not loaded.network.training
    assert loaded.fusion == FusionSettings()
    assert not loaded.calibrations


def test_settings_and_calibration_come_from_the_folder(folder):
    change(
        folder,
        fusion={"network_scale_3d": 2, "crop_scales": [1.2, 1.5], "later": 1},
        calibration={"network": CALIBRATION, "box": CALIBRATION | {"source": "boxes"}},
    )
    reconstruct = Reconstructor(detector="none", device="cpu", checkpoint=str(folder))
    assert reconstruct.trained.fusion == FusionSettings(2.0, 1.5, (1.2, 1.5))
    assert reconstruct.calibrations.network.source == "test"
    assert reconstruct.calibrations.detector is load_calibrations().detector
    assert reconstruct.calibrations.of(True, True).source == "boxes"
    assert reconstruct.calibrations.of(False, True) is load_calibrations().detector
    hands = reconstruct(IMAGE, intrinsics=INTRINSICS, detections=[detect(true_mesh()[1])])
    assert np.isfinite(hands[0].vertices).all()


def test_none_and_a_default_that_is_not_shipped_are_no_network(monkeypatch):
    monkeypatch.setattr(trained, "default_checkpoint", lambda: None)
    assert load_trained("none", CPU) is None
    assert load_trained("default", CPU) is None


def test_the_shipped_default_is_loaded(folder, monkeypatch):
    monkeypatch.setattr(trained, "default_checkpoint", lambda: folder)
    assert load_trained("default", CPU).source == str(folder)
    assert load_trained("none", CPU) is None


@pytest.mark.parametrize(
    "sections",
    [
        {"schema": "other/1"},
        {"network": {"backbone": "no_such_backbone"}},
        {"network": {"unknown": 1}},
        {"network": {}},
        {"hand_model": {"name": "open", "sha256": "0" * 64}},
        {"fusion": {"network_scale_3d": "much"}},
        {"fusion": {"network_scale_3d": -1}},
        {"calibration": {"network": {"coefficients": [1]}}},
        {"calibration": {"coefficients": [1]}},
    ],
    ids=str,
)
def test_a_checkpoint_that_cannot_be_used_is_named_with_a_remedy(folder, sections):
    change(folder, **sections)
    with pytest.raises(AmvurError, match=str(folder)) as caught:
        load_trained(folder, CPU)
    assert "Use" in str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(AmvurError, match="nowhere"):
        load_trained(tmp_path / "nowhere", CPU)


def test_a_network_of_another_hand_model_is_asked_only_for_boxes(folder, mano):
    """Its joints are those of its own hand: beside a detector of the user's hand they would mislead."""
    own = Reconstructor(detector="none", device="cpu", checkpoint=str(folder))
    other = Reconstructor(detector="none", device="cpu", checkpoint=str(folder), hand_model=str(mano))
    assert own.trained.fusion.beside_detector
    assert not other.trained.fusion.beside_detector


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("fusion", {"network_scale_3d": "2"}), ("fusion", {"network_scale_3d": 10**400}), ("fusion", {"crop_scales": 1.3}),
        ("fusion", {"crop_scales": [1.3] * 1000}), ("fusion", {"crop_scales": [1e9]}), ("fusion", {"beside_detector": 1}),
        ("calibration", {"network": 3}), ("calibration", {"network": []}), ("calibration", {"box": {"coefficients": "x" * 10**5}}),
        ("calibration", {"box": CALIBRATION | {"floor_m": [1e999] * 21}}), ("calibration", {"a" * 10**5: CALIBRATION}),
        ("network", {"image_px": "64"}), ("network", {"image_px": 10**9}), ("network", {"feature_width": 10**9}),
        ("network", {"feature_width": -1}), ("network", {"backbone": ["x"]}), ("network", {"backbone": "no such network"}),
        ("network", {"setting": "other"}), ("network", {"prior_net": 3}), ("network", {"prior_net": {"hidden": 2**40}}),
        ("network", {"prior_std_mm": True}), ("network", {"hand_model": "nowhere.pkl"}), ("network", {"what": 1}),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_value_of_another_kind_is_told_when_it_is_loaded(folder, section, value):
    if section == "network":
        value = json.loads((folder / "config.json").read_text())["network"] | value
    change(folder, **{section: value})
    with refused(ModelFileError, str(folder), seconds=5.0, megabytes=150):
        load_trained(folder, CPU)
