"""A checkpoint as what is evaluated: its network, its device and its identity."""

from __future__ import annotations

from pathlib import Path

import torch

from amvur.checkpoint import load_checkpoint, load_weights
from amvur.errors import AmvurError, ModelFileError
from amvur.evaluation.export import Subject
from amvur.models.network import HandNetwork, NetworkConfig, make_network
from amvur.models.upright import UprightNetwork


def load_subject(folder: Path, device: torch.device, hand_model: str | None = None) -> Subject:
    """Load a checkpoint; `hand_model` says where the hand model lies if not where it did in training.

    Its identity is the weights' hashes, not its place. Raises `ModelFileError` for a checkpoint or a hand
    model that is missing, damaged or not the one it was trained with.
    """
    settings, state, config = load_checkpoint(folder)
    if hand_model is not None:
        settings = {**settings, "hand_model": hand_model}
    network = _make(folder, settings)
    load_weights(network, state, folder)
    arrays = network.hand.arrays
    wanted = (config.get("hand_model") or {}).get("sha256")
    if wanted and wanted != arrays.sha256:
        raise ModelFileError(
            f"The checkpoint {folder} was trained with the hand model of sha256 {wanted}, found "
            f"{arrays.sha256} ({settings.get('hand_model')}). Give that one: --hand-model FILE."
        )
    weights = {name: entry["sha256"] for name, entry in config["weights"]["files"].items()}
    shape = {k: v for k, v in config["network"].items() if k != "hand_model"}
    identity = {"weights": weights, "network": shape, "hand_model_sha256": arrays.sha256}
    network = network.to(device).eval().requires_grad_(False)
    shown = UprightNetwork(network) if network.config.crop == "upright" else network
    return Subject(shown, device, identity, len(arrays.v_template))


def _make(folder: Path, settings: dict[str, object]) -> HandNetwork:
    """Build the network that a checkpoint's settings describe."""
    try:
        return make_network(NetworkConfig.from_json(settings))
    except AmvurError as error:
        raise type(error)(
            f"The checkpoint {folder} cannot be used: {error} If the file was moved, say where it is: "
            "--hand-model FILE."
        ) from error
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError) as error:
        line = f"{type(error).__name__}: {error}".split("\n", maxsplit=1)[0]
        raise ModelFileError(
            f"The checkpoint {folder} describes no network that this version of amvur knows ({line}). "
            "Use the version that wrote it."
        ) from error
