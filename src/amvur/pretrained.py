"""From a checkpoint's folder to its network: built, filled, checked against its hand model, on its device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amvur.building import described
from amvur.checkpoint import load_checkpoint, load_weights
from amvur.checkpoint_folder import ONNX, OTHER_CHECKPOINT, TRUNK, read_config
from amvur.errors import AmvurError, InputError, ModelFileError
from amvur.models.landmark_trunk import LandmarkTrunk
from amvur.models.network import HandNetwork, NetworkConfig, make_network
from amvur.models.segmentation import HandSegmenter, SegmentationConfig
from amvur.models.texture import TextureConfig, TextureHead
from amvur.settings import from_json


def load_network(
    folder: Path, device: torch.device, hand_model: str | None = None
) -> tuple[HandNetwork, dict[str, Any]]:
    """Return the network of a checkpoint, ready for inference only, and all of its `config.json`.

    `hand_model` says where the hand model lies if not where it did in training. Raises `ModelFileError` for
    a checkpoint or a hand model that is missing, damaged or not the one it was trained with.
    """
    settings, state, config = load_checkpoint(folder)
    if hand_model is not None:
        settings = {**settings, "hand_model": hand_model}
    network = _make(folder, settings, state)
    load_weights(network, state, folder)
    _check_hand_model(folder, config, network)
    return network.to(device).eval().requires_grad_(False).fold(), config


def _make(folder: Path, settings: Mapping[str, Any], state: Mapping[str, Tensor]) -> HandNetwork:
    """Build the network that a checkpoint's settings describe."""
    try:
        with described(folder, "network", f"Use the version that wrote it, or: {OTHER_CHECKPOINT}", state):
            return make_network(NetworkConfig.from_json(settings))
    except AmvurError as error:
        if str(folder) in str(error):
            raise
        raise ModelFileError(
            f"The checkpoint {folder} cannot be used: {error} If the hand model's file was moved, say "
            f"where it is: --hand-model FILE. {OTHER_CHECKPOINT}"
        ) from error


def _check_hand_model(folder: Path, config: Mapping[str, Any], network: HandNetwork) -> None:
    """Raise `ModelFileError` if the network was trained with another hand model."""
    wanted, found = config["hand_model"].get("sha256"), network.hand.arrays.sha256
    if wanted and wanted != found:
        raise ModelFileError(
            f"The checkpoint {folder} was trained with the hand model of sha256 {wanted}, found {found} "
            f"({network.config.hand_model}). Give it the same hand model: --hand-model FILE. "
            f"{OTHER_CHECKPOINT}"
        )


def choose_torch_device(choice: str) -> torch.device:
    """Return the torch device for "auto", "cpu" or "cuda"; raises `InputError` for one that is not there."""
    if choice == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if choice == "cuda" and not torch.cuda.is_available():
        raise InputError("No CUDA device was found. Use --device cpu, or install a CUDA build of torch.")
    if choice not in ("cpu", "cuda"):
        raise InputError(f"The device must be auto, cpu or cuda, found {choice!r}.")
    return torch.device(choice)


def networks_of(folder: Path, hand_model: str | None = None) -> dict[str, bytes]:
    """Return the ONNX networks of a checkpoint's weights, by their files' names (`amvur.models.onnx_export`).

    It may be of a hand network, a segmentation or a texture head. Raises what loading them raises, and
    `AmvurError` where an ONNX network does not answer as torch does.
    """
    from amvur.models.onnx_export import hand_network_onnx, maps_onnx, segmentation_onnx, texture_onnx

    settings = read_config(folder)["network"]
    if "levels" in settings:
        trunk = LandmarkTrunk()
        return {ONNX: segmentation_onnx(load_segmenter(folder, trunk)), TRUNK: maps_onnx(trunk)}
    if "pooled" in settings:
        return {ONNX: texture_onnx(load_texture_head(folder))}
    network, _ = load_network(folder, torch.device("cpu"), hand_model)
    return {ONNX: hand_network_onnx(network)}


def load_segmenter(folder: Path, trunk: LandmarkTrunk) -> HandSegmenter:
    """Return the segmentation in a checkpoint that reads the maps of a trunk; raises `ModelFileError`."""
    settings, state, _ = load_checkpoint(folder)
    with described(folder, "segmentation", "Use the version that wrote it.", state):
        config = SegmentationConfig.from_json(settings)
        if config.levels != trunk.level_widths:
            raise ValueError(f"it reads maps of {config.levels} channels, not {trunk.level_widths}")
        network = HandSegmenter(config)
    load_weights(network, state, folder)
    return network.eval().requires_grad_(False)


def load_texture_head(folder: Path) -> TextureHead:
    """Return the texture head in a checkpoint; raises `ModelFileError`."""
    settings, state, _ = load_checkpoint(folder)
    with described(folder, "texture head", "Use the version that wrote it, or sampled texture.", state):
        head = TextureHead(from_json(TextureConfig, settings))
    load_weights(head, state, folder)
    return head.eval().requires_grad_(False)
