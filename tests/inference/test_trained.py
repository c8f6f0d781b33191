"""Checkpoints by name: none, the default, a folder, and what is said of those that cannot be used."""

import json

import numpy as np
import pytest
from limits import refused
from onnx_file import add_hand_network, constant_network, write_config
from test_reconstructor import IMAGE, detect, true_mesh
from truth import INTRINSICS

from amvur.checkpoint_folder import ONNX, add_onnx
from amvur.errors import AmvurError, ModelFileError, OutputError
from amvur.hand.open_hand import load_open_hand
from amvur.inference.calibration import load_calibrations
from amvur.inference.estimator.config import EstimatorConfig
from amvur.inference.network import trained
from amvur.inference.network.trained import load_trained
from amvur.inference.network.view import FusionSettings
from amvur.inference.reconstructor import Reconstructor

SETTINGS = {"image_px": 64, "hand_model": "open", "crop": "square"}
CALIBRATION = {"coefficients": [0.5, 0, 0, 0], "floor_m": [0.001] * 21, "source": "test"}


@pytest.fixture
def folder(tmp_path):
    """A checkpoint whose network says the same of every picture."""
    return add_hand_network(write_config(tmp_path / "ck", SETTINGS))


def change(folder, **sections):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | sections))


def test_a_folder_gives_its_network_with_default_settings(folder):
    loaded = load_trained(str(folder))
    assert loaded.network.image_px == 64
    assert not loaded.network.upright
    assert loaded.network.hand.sha256 == load_open_hand().sha256
    said = loaded.network(np.zeros((3, 64, 64, 3), np.uint8))
    assert said.joints.shape == said.joints_std.shape == (3, 21, 3)
    assert said.joints_2d.shape == said.joints_2d_std.shape == (3, 21, 2)
    assert loaded.fusion == FusionSettings()
    assert not loaded.calibrations


def test_settings_and_calibration_come_from_the_folder(folder):
    change(
        folder,
        fusion={"network_scale_3d": 2, "crop_scales": [1.2, 1.5], "later": 1},
        calibration={"network": CALIBRATION, "box": CALIBRATION | {"source": "boxes"}},
        estimator={
            "contour_rounds": 1,
            "contours": {"search_px": 5},
            "parting": {"max_steps": 3},
            "later": 1,
        },
    )
    reconstruct = Reconstructor(detector="none", device="cpu", checkpoint=str(folder))
    assert reconstruct.trained.fusion == FusionSettings(2.0, 1.5, (1.2, 1.5))
    told, usual = reconstruct.estimator.config, EstimatorConfig()
    assert (told.contour_rounds, told.contours.search_px, told.parting.max_steps) == (1, 5.0, 3)
    assert told.contours.temper == usual.contours.temper
    assert told.plausible == usual.plausible
    assert reconstruct.calibrations.network.source == "test"
    assert reconstruct.calibrations.detector is load_calibrations().detector
    assert reconstruct.calibrations.of(True, True).source == "boxes"
    assert reconstruct.calibrations.of(False, True) is load_calibrations().detector
    hands = reconstruct(IMAGE, intrinsics=INTRINSICS, detections=[detect(true_mesh()[1])])
    assert np.isfinite(hands[0].vertices).all()


def test_none_and_a_default_that_is_not_shipped_are_no_network(monkeypatch):
    monkeypatch.setattr(trained, "default_checkpoint", lambda: None)
    assert load_trained("none") is None
    assert load_trained("default") is None


def test_the_shipped_default_is_loaded(folder, monkeypatch):
    monkeypatch.setattr(trained, "default_checkpoint", lambda: folder)
    assert load_trained("default").source == str(folder)
    assert load_trained("none") is None


@pytest.mark.parametrize(
    "sections",
    [
        {"schema": "other/1"},
        {"network": SETTINGS | {"crop": "round"}},
        {"network": SETTINGS | {"image_px": 128}},
        {"network": {}},
        {"hand_model": {"name": "open", "sha256": "0" * 64}},
        {"fusion": {"network_scale_3d": "much"}},
        {"fusion": {"network_scale_3d": -1}},
        {"estimator": {"contour_rounds": 10**6}},
        {"estimator": {"first": {"max_steps": 10**9}}},
        {"estimator": {"contours": {"crop_px": 0}}},
        {"estimator": {"plausible": {"distance_ratio": [0.5, -1]}}},
        {"estimator": {"parting": 3}},
        {"calibration": {"network": {"coefficients": [1]}}},
        {"calibration": {"coefficients": [1]}},
    ],
    ids=str,
)
def test_a_checkpoint_that_cannot_be_used_is_named_with_a_remedy(folder, sections):
    change(folder, **sections)
    with pytest.raises(AmvurError, match=str(folder)) as caught:
        load_trained(folder)
    assert "Use" in str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(AmvurError, match="nowhere"):
        load_trained(tmp_path / "nowhere")


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
        ("network", {"image_px": "64"}), ("network", {"image_px": 10**9}), ("network", {"image_px": True}),
        ("network", {"crop": ["x"]}), ("network", {"hand_model": "nowhere.pkl"}), ("network", {"hand_model": 3}),
        ("onnx", {}), ("onnx", {"network.onnx": {"bytes": 3, "sha256": "0" * 64}}), ("onnx", {"network.onnx": 3}),
        ("onnx", {"../network.onnx": {"bytes": 3, "sha256": "0" * 64}}),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_value_of_another_kind_is_told_when_it_is_loaded(folder, section, value):
    if section == "network":
        value = json.loads((folder / "config.json").read_text())["network"] | value
    change(folder, **{section: value})
    with refused(ModelFileError, str(folder), seconds=5.0, megabytes=150):
        load_trained(folder)


def test_a_folder_of_weights_alone_says_how_to_get_its_network(folder):
    change(folder, onnx={})
    with pytest.raises(ModelFileError, match="amvur export-network"):
        load_trained(folder)


@pytest.mark.parametrize("damage", [b"", b"no network", None])
def test_a_damaged_network_is_named(folder, damage):
    path = folder / ONNX
    data = path.read_bytes()
    path.write_bytes(data[:-3] if damage is None else damage)
    with pytest.raises(ModelFileError, match=str(path)):
        load_trained(folder)


def test_another_network_is_refused(folder):
    add_onnx(
        folder, {ONNX: constant_network({"joints": np.zeros((21, 3))}, {"pictures": ((64, 64, 3), np.uint8)})}
    )
    with pytest.raises(ModelFileError, match="another network"):
        load_trained(folder)


def test_a_file_of_the_networks_name_that_is_the_users_is_kept(folder):
    change(folder, onnx={})
    (folder / ONNX).write_bytes(b"mine")
    with pytest.raises(OutputError, match="Move it away"):
        add_hand_network(folder)
    assert (folder / ONNX).read_bytes() == b"mine"


def test_new_weights_replace_the_network_of_the_old_ones(folder):
    torch = pytest.importorskip("torch")
    from amvur.checkpoint import save_checkpoint

    save_checkpoint(folder, SETTINGS, {"a": torch.ones(2)}, hand_model="open")
    assert not (folder / ONNX).exists()
    with pytest.raises(ModelFileError, match="amvur export-network"):
        load_trained(folder)
