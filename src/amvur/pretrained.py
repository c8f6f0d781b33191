"""From a checkpoint's folder to its network: built, filled, checked against its hand model, on its device."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amvur.errors import AmvurError, ModelFileError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from amvur.models.network import HandNetwork

REMEDY = "Use another checkpoint, or 'none' to fit hands to the detector's joints alone."


def shipped(name: str) -> Path | None:
    """Return the folder of weights that ship with the package under a name, None if there are none."""
    folder = Path(str(files("amvur"))) / "assets" / name
    return folder if (folder / "config.json").is_file() else None


def default_checkpoint() -> Path | None:
    """Return the folder of the checkpoint that ships with the package, None if there is none."""
    return shipped("default")


def load_network(
    folder: Path, device: torch.device, hand_model: str | None = None
) -> tuple[HandNetwork, dict[str, Any]]:
    """Return the network of a checkpoint, ready for inference only, and all of its `config.json`.

    `hand_model` says where the hand model lies if not where it did in training. Raises `ModelFileError` for
    a checkpoint or a hand model that is missing, damaged or not the one it was trained with.
    """
    from amvur.checkpoint import load_checkpoint, load_weights

    settings, state, config = load_checkpoint(folder)
    if hand_model is not None:
        settings = {**settings, "hand_model": hand_model}
    network = _make(folder, settings, state)
    load_weights(network, state, folder)
    _check_hand_model(folder, config, network)
    return network.to(device).eval().requires_grad_(False).fold(), config


def _make(folder: Path, settings: Mapping[str, Any], state: Mapping[str, Tensor]) -> HandNetwork:
    """Build the network that a checkpoint's settings describe."""
    from amvur.building import described
    from amvur.models.network import NetworkConfig, make_network

    try:
        with described(folder, "network", f"Use the version that wrote it, or: {REMEDY}", state):
            return make_network(NetworkConfig.from_json(settings))
    except AmvurError as error:
        if str(folder) in str(error):
            raise
        raise ModelFileError(
            f"The checkpoint {folder} cannot be used: {error} If the hand model's file was moved, say "
            f"where it is: --hand-model FILE. {REMEDY}"
        ) from error


def _check_hand_model(folder: Path, config: Mapping[str, Any], network: HandNetwork) -> None:
    """Raise `ModelFileError` if the network was trained with another hand model."""
    wanted, found = config["hand_model"].get("sha256"), network.hand.arrays.sha256
    if wanted and wanted != found:
        raise ModelFileError(
            f"The checkpoint {folder} was trained with the hand model of sha256 {wanted}, found {found} "
            f"({network.config.hand_model}). Give it the same hand model: --hand-model FILE. {REMEDY}"
        )
