"""What is told of a network that hardly learned, and that shipped settings are all recorded."""

import json
from dataclasses import fields

import pytest
from onnx_file import add_hand_network, write_config

from amvur.checkpoint_folder import default_checkpoint
from amvur.inference.network.trained import load_trained
from amvur.inference.network.view import FusionSettings


@pytest.mark.parametrize(("card", "told"), [({"step": 3}, 1), ({"step": 100_000}, 0), ({}, 0)])
def test_a_network_of_few_steps_is_told(tmp_path, card, told):
    settings = {"image_px": 64, "hand_model": "open"}
    notes = load_trained(str(add_hand_network(write_config(tmp_path, settings, card=card)))).notes
    assert len(notes) == told
    assert all("3 steps" in note for note in notes)


def test_defaults_in_code_cannot_change_the_shipped_weights():
    config = json.loads((default_checkpoint() / "config.json").read_text())
    assert set(config["fusion"]) == {field.name for field in fields(FusionSettings)}
