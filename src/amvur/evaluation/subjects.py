"""A checkpoint as what is evaluated: its network, its device and its identity."""

from __future__ import annotations

from pathlib import Path

import torch

from amvur.evaluation.export import Subject
from amvur.models.upright import UprightNetwork
from amvur.pretrained import load_network


def load_subject(folder: Path, device: torch.device, hand_model: str | None = None) -> Subject:
    """Load a checkpoint; `hand_model` says where the hand model lies if not where it did in training.

    Its identity is the weights' hashes, not its place. Raises `ModelFileError` for a checkpoint or a hand
    model that is missing, damaged or not the one it was trained with.
    """
    network, config = load_network(folder, device, hand_model)
    arrays = network.hand.arrays
    weights = {name: entry["sha256"] for name, entry in config["weights"]["files"].items()}
    shape = {k: v for k, v in config["network"].items() if k != "hand_model"}
    identity = {"weights": weights, "network": shape, "hand_model_sha256": arrays.sha256}
    shown = UprightNetwork(network) if network.config.crop == "upright" else network
    return Subject(shown, device, identity, len(arrays.v_template))
