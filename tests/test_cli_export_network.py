"""`amvur export-network`: into a checkpoint's folder or a file; what is in the way, what is missing."""

import sys

import pytest
import torch
from onnx_file import hand_network

from amvur import pretrained
from amvur.checkpoint import save_checkpoint
from amvur.checkpoint_folder import ONNX, read_config
from amvur.cli import main
from amvur.cli.export_network import try_to_add_networks
from amvur.inference.network.trained import load_trained


def amvur(*arguments):
    with pytest.raises(SystemExit) as caught:
        main([*map(str, arguments)])
    return caught.value.code


@pytest.fixture
def folder(tmp_path):
    settings = {"image_px": 64, "hand_model": "open", "crop": "square"}
    save_checkpoint(tmp_path / "last", settings, {"a": torch.zeros(2)}, hand_model="open")
    return tmp_path / "last"


@pytest.fixture(autouse=True)
def made(monkeypatch):
    """Stands for the export itself, which `models/test_onnx_export.py` tests."""
    asked = []

    def networks_of(folder, hand_model=None):
        asked.append((folder, hand_model))
        return {ONNX: hand_network()}

    monkeypatch.setattr(pretrained, "networks_of", networks_of)
    return asked


def test_the_network_becomes_part_of_the_checkpoint(folder, capsys, made):
    assert amvur("export-network", folder, "--hand-model", "m.pkl") == 0
    assert capsys.readouterr().out == f"{folder / ONNX}\n"
    assert made == [(folder, "m.pkl")]
    assert load_trained(folder).network.image_px == 64
    assert amvur("export-network", folder) == 0, "again, in its own place"


def test_a_file_of_its_own(folder, tmp_path, capsys):
    output = tmp_path / "new" / "hand.onnx"
    assert amvur("export-network", folder, "--output", output) == 0
    assert output.read_bytes() == hand_network()
    assert not read_config(folder)["onnx"]
    assert capsys.readouterr().out == f"{output}\n"


def test_what_is_in_the_way_stays(folder, tmp_path, capsys):
    output = tmp_path / "hand.onnx"
    output.write_bytes(b"mine")
    assert amvur("export-network", folder, "--output", output) == 2
    assert "is no network of amvur" in capsys.readouterr().err
    assert output.read_bytes() == b"mine"
    assert amvur("export-network", folder, "--output", tmp_path / "hand.bin") == 2
    assert ".onnx" in capsys.readouterr().err


def test_a_folder_that_is_none_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.undo()
    assert amvur("export-network", tmp_path / "nowhere") == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_training_does_not_fail_with_its_network(folder, capsys):
    (folder / ONNX).write_bytes(b"mine")
    try_to_add_networks(folder)
    told = capsys.readouterr().err
    assert "Move it away" in told
    assert f"Try again: amvur export-network {folder}" in told


@pytest.mark.parametrize(
    "command", [["train", "--output", "run"], ["synthesize", "--count", "1", "--output", "out"]]
)
def test_without_torch_the_extra_is_named(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.startswith(("amvur.data", "amvur.training"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert amvur(*command) == 2
    assert "pip install 'amvur[train]'" in capsys.readouterr().err
