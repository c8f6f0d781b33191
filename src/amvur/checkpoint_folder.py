"""What a checkpoint's folder holds, read without torch.

`config.json`: `{"schema": "amvur-checkpoint/1", "network": {...}, "hand_model": {"name", "sha256"},
"weights": {"dtype", "files": {NAME: {"bytes", "sha256"}}}, "onnx": {NAME: {"bytes", "sha256"}},
"card": {...}, "fusion": {...}, "calibration": {...}}`. Training reads the weights (safetensors,
`amvur.checkpoint`), inference the network in `ONNX`, which is made of them at the end of a training or by
`amvur export-network`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from amvur.errors import ModelFileError, OutputError
from amvur.onnx_network import Arrays, OnnxNetwork
from amvur.reading import brief, read_json
from amvur.whole_files import write_files

SCHEMA = "amvur-checkpoint/1"
CONFIG = "config.json"
ONNX = "network.onnx"
TRUNK = "maps.onnx"
"""The frozen network whose maps a segmentation reads, beside the segmentation's own file."""
ONNX_BYTES = 2**31 - 1
"""The largest network that an ONNX file can hold without others beside it (protobuf's limit)."""
OTHER_CHECKPOINT = "Use another checkpoint, or 'none' to fit hands to the detector's joints alone."
REMEDY = "Copy the whole checkpoint folder again, or train it anew with `amvur train`."

_SECTIONS = ("hand_model", "card", "calibration", "fusion", "estimator", "onnx")
"""Sections of the configuration that may be left out."""


def shipped(name: str) -> Path | None:
    """Return the folder of weights that ship with the package under a name, None if there are none."""
    folder = Path(str(resources.files("amvur"))) / "assets" / name
    return folder if (folder / CONFIG).is_file() else None


def default_checkpoint() -> Path | None:
    """Return the folder of the checkpoint that ships with the package, None if there is none."""
    return shipped("default")


def read_config(folder: Path | str) -> dict[str, Any]:
    """Return the checkpoint's `config.json`; raises `ModelFileError` if it is missing or of another kind.

    Every section is there and of its type; what is in `network`, `fusion`, `estimator` and `calibration` is
    for those who build them.
    """
    folder = Path(folder)
    path = folder / CONFIG
    if not os.path.isdir(folder):
        raise ModelFileError(f"Wanted a checkpoint folder, found none at {folder}. Check the path.")
    if not os.path.isfile(path):
        raise ModelFileError(f"Wanted a checkpoint, found no {CONFIG} in {folder}. {REMEDY}")
    config = read_json(path, "a checkpoint's configuration", REMEDY, ModelFileError)
    found = config.get("schema")
    if found != SCHEMA:
        raise ModelFileError(
            f"{path} has the schema {brief(found)}, wanted {SCHEMA!r}. "
            "Use the version of amvur that wrote it."
        )
    if not _is_complete(config):
        raise ModelFileError(f"{path} lacks the network's settings or its list of weight files. {REMEDY}")
    return {**config, **{name: {} for name in _SECTIONS if name not in config}}


def open_onnx(
    folder: Path,
    config: dict[str, Any],
    outputs: Sequence[str],
    *,
    name: str = ONNX,
    device: str = "cpu",
    constants: Arrays | None = None,
) -> OnnxNetwork:
    """Return a network that inference runs, loaded, of a checkpoint whose configuration is `config`.

    Raises `ModelFileError` where there is none, with the way to make it, and where it is damaged or has other
    outputs than `outputs`.
    """
    path, again = folder / name, f"Make it anew: amvur export-network {folder}"
    if name not in config["onnx"]:
        raise ModelFileError(
            f"The checkpoint {folder} has weights for training only, no {name}, which reconstructing needs. "
            f"Make it once, where training is installed (pip install 'amvur[train]'): amvur export-network "
            f"{folder}"
        )
    network = OnnxNetwork(
        path,
        device=device,
        constants=constants,
        sha256=config["onnx"][name]["sha256"],
        limit_bytes=ONNX_BYTES,
        error=ModelFileError,
        remedy=again,
    )
    found = [output.name for output in network.session().get_outputs()]
    if found != list(outputs):
        raise ModelFileError(f"{path} is another network: its outputs are {brief(found)}. {again}")
    return network


def add_onnx(folder: Path, networks: Mapping[str, bytes]) -> None:
    """Put networks that inference runs into a checkpoint's folder, by their files' names.

    Raises `OutputError` where they cannot be written or where a file of such a name is another's.
    """
    config = read_config(folder)
    for name in networks:
        if os.path.lexists(folder / name) and name not in config["onnx"]:
            raise OutputError(
                f"{folder / name} is no file of this checkpoint, so it is not overwritten. Move it away."
            )
    entries = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in networks.items()
    }
    text = json.dumps({**config, "onnx": entries}, indent=2) + "\n"
    files = {folder / name: data for name, data in networks.items()}
    write_files({**files, folder / CONFIG: text.encode()})


def _is_complete(config: dict[str, Any]) -> bool:
    """Say whether all that loading needs is there, and only plain file names are named."""
    sections = (config.get(name, {}) for name in _SECTIONS)
    weights = config.get("weights")
    stored = weights.get("files") if isinstance(weights, dict) else None
    if not all(isinstance(section, dict) for section in (*sections, config.get("network"), stored)):
        return False
    if not all(isinstance(text, str) for text in config.get("hand_model", {}).values()):
        return False
    return bool(stored) and _are_files(stored, ".safetensors") and _are_files(config.get("onnx", {}), ".onnx")


def _are_files(entries: Any, suffix: str) -> bool:
    """Say whether a section lists files by plain names, with size and hash."""
    return all(
        Path(name).name == name
        and name.endswith(suffix)
        and isinstance(entry, dict)
        and type(entry.get("bytes")) is int
        and isinstance(entry.get("sha256"), str)
        for name, entry in entries.items()
    )
