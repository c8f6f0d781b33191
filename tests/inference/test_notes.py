"""What is told of a network that hardly learned, and that shipped settings are all recorded."""

import json
from dataclasses import asdict, fields

import pytest
import torch

from amvur.checkpoint import save_checkpoint
from amvur.inference.network_view import FusionSettings
from amvur.inference.trained import load_trained
from amvur.models.network import NetworkConfig, make_network
from amvur.checkpoint_folder import default_checkpoint


@pytest.mark.parametrize(("card", "told"), [({"step": 3}, 1), ({"step": 100_000}, 0), ({}, 0)])
def test_a_network_of_few_steps_is_told(tmp_path, card, told):
    config = NetworkConfig(backbone="test_resnet.r160_in1k", image_px=64, feature_width=16, setting="prior")
    network = make_network(config)
    save_checkpoint(
        tmp_path / "ck",
        asdict(config),
        network.state_dict(),
        hand_model="open",
        hand_model_sha256=network.hand.arrays.sha256,
        card=card,
    )
    notes = load_trained(str(tmp_path / "ck"), torch.device("cpu")).notes
    assert len(notes) == told
    assert all("3 steps" in note for note in notes)


def test_defaults_in_code_cannot_change_the_shipped_weights():
    config = json.loads((default_checkpoint() / "config.json").read_text())
    assert set(config["fusion"]) == {field.name for field in fields(FusionSettings)}
