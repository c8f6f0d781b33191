"""What a checkpoint's folder holds, read without torch.

`config.json`: `{"schema": "amvur-checkpoint/1", "network": {...}, "hand_model": {"name", "sha256"},
"weights": {"dtype", "files": {NAME: {"bytes", "sha256"}}}, "onnx": {NAME: {"bytes", "sha256"}}, "card": {...},
"fusion": {...}, "calibration": {...}}`. Training reads the weights (safetensors, `amvur.checkpoint`), inference
the network in `ONNX`, which is made of them at the end of a training or by `amvur export-network`.
"""

from __future__ import annotations

import hashlib
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

from amvur.errors import ModelFileError, OutputError
from amvur.reading import brief, read_bytes, read_json, reading
from amvur.whole_files import write_files

SCHEMA = "amvur-checkpoint/1"
CONFIG = "config.json"
ONNX = "network.onnx"
ONNX_BYTES = 2**31 - 1
"""The largest network that an ONNX file can hold without others beside it (protobuf's limit)."""
REMEDY = "Copy the whole checkpoint folder again, or train it anew with `amvur train`."

_SECTIONS = ("hand_model", "card", "calibration", "fusion", "onnx")
"""Sections of the configuration that may be left out."""


def shipped(name: str) -> Path | None:
    """Return the folder of weights that ship with the package under a name, None if there are none."""
    folder = Path(str(files("amvur"))) / "assets" / name
    return folder if (folder / CONFIG).is_file() else None


def default_checkpoint() -> Path | None:
    """Return the folder of the checkpoint that ships with the package, None if there is none."""
    return shipped("default")


def read_config(folder: Path | str) -> dict[str, Any]:
    """Return the checkpoint's `config.json`; raises `ModelFileError` if it is missing or of another kind.

    Every section is there and of its type; what is in `network`, `fusion` and `calibration` is for those who
    build them.
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
    return {**{name: {} for name in _SECTIONS}, **config}


def read_onnx(folder: Path, config: dict[str, Any]) -> bytes:
    """Return the network that inference runs, whose configuration is `config`.

    Raises `ModelFileError` where there is none, with the way to make it, or where it is damaged.
    """
    again = f"Make it anew: amvur export-network {folder}"
    if ONNX not in config["onnx"]:
        raise ModelFileError(
            f"The checkpoint {folder} has weights for training only, no {ONNX}, which reconstructing needs. "
            f"Make it once, where training is installed: amvur export-network {folder}"
        )
    path, entry = folder / ONNX, config["onnx"][ONNX]
    with reading(path, "a network", again, ModelFileError):
        data = read_bytes(path, ONNX_BYTES)
        if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise ModelFileError(f"{path} is damaged, or of other weights than {CONFIG} says. {again}")
        return data


def add_onnx(folder: Path, data: bytes) -> None:
    """Put a network that inference runs into a checkpoint's folder.

    Raises `OutputError` where it cannot be written or where a file of its name is another's.
    """
    config = read_config(folder)
    path = folder / ONNX
    if os.path.lexists(path) and ONNX not in config["onnx"]:
        raise OutputError(f"{path} is no file of this checkpoint, so it is not overwritten. Move it away.")
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    text = json.dumps({**config, "onnx": {ONNX: entry}}, indent=2) + "\n"
    write_files({path: data, folder / CONFIG: text.encode()})


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
