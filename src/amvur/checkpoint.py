"""Trained weights as a folder: `config.json` and safetensors, written whole or not at all, never unpickled.

`amvur.checkpoint_folder` says what is in `config.json`. A hand model's arrays are never in the weights: they
are non-persistent buffers of the network. Weights take twice their files' size (four times where they are
stored as halves), and files have at most `WEIGHTS_BYTES`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from amvur.checkpoint_folder import CONFIG, REMEDY, SCHEMA, read_config
from amvur.errors import ModelFileError, OutputError
from amvur.reading import brief, check_tensors, read_bytes, reading
from amvur.whole_files import check_place, previous, remove_leftovers, replace_folder, temporary

WEIGHTS = "model.safetensors"
SHARD_BYTES = 15_000_000
"""A shard of this size stays below 16 MB with its header, which many hosts accept as an ordinary file."""

WEIGHTS_BYTES = 4 * 2**30
"""The largest weights that are read, all files together."""

_PIECE = "::piece"


class Checkpoint(NamedTuple):
    """The network's settings, its weights (float32) by name, and all of `config.json`."""

    network: dict[str, Any]
    state: dict[str, Tensor]
    config: dict[str, Any]


def save_checkpoint(
    folder: Path | str,
    network: Mapping[str, Any],
    state: Mapping[str, Tensor],
    *,
    hand_model: str,
    hand_model_sha256: str = "",
    card: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
    dtype: Literal["float16", "float32"] = "float32",
    shard_bytes: int | None = None,
) -> None:
    """Write a checkpoint folder under a temporary name and rename it; one that is there is replaced.

    Other files in it stay; see `check_replaceable`.

    `state` is a network's `state_dict()`. With "float16" only matrices are halved: vectors (norms, biases,
    running variances) and what would overflow stay float32. `shard_bytes` cuts the weights into files of at
    most that size. Raises `OutputError` where the folder cannot be written.
    """
    folder = Path(folder)
    check_replaceable(folder)
    remove_leftovers(folder.parent, folder.name)
    staged = temporary(folder)
    try:
        staged.mkdir(parents=True)
        shards = _shards(_stored(state, dtype), shard_bytes)
        config = {
            "schema": SCHEMA,
            "network": dict(network),
            "hand_model": {"name": hand_model, "sha256": hand_model_sha256},
            "weights": {"dtype": dtype, "files": {n: _write(staged / n, s) for n, s in shards.items()}},
            "card": dict(card or {}),
            "calibration": dict(calibration or {}),
        }
        _write_bytes(staged / CONFIG, (json.dumps(config, indent=2) + "\n").encode())
        replace_folder(staged, folder, _own_files, CONFIG)
    except OSError as error:
        raise OutputError(
            f"Cannot write the checkpoint {folder}: {error.strerror or error}. "
            "Free some space, or choose a folder that you may write to."
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def check_replaceable(folder: Path) -> None:
    """Raise `OutputError` if a place holds files of a checkpoint's names that are not a checkpoint's."""
    check_place(folder)
    for place in (folder, previous(folder)):
        names = [place / CONFIG, *place.glob("model*.safetensors")] if os.path.isdir(place) else [place]
        found = next(filter(os.path.lexists, names), None)
        if found is not None and (place.is_symlink() or not _own_files(place)):
            raise OutputError(f"{found} is no checkpoint of amvur, so it is not overwritten. Move it away.")


def _own_files(folder: Path) -> set[str]:
    """Return the names of the files of the checkpoint in a folder, none where there is no checkpoint."""
    try:
        config = read_config(folder)
        return {CONFIG, *config["weights"]["files"], *config["onnx"]}
    except ModelFileError:
        return set()


def load_checkpoint(folder: Path | str) -> Checkpoint:
    """Read a checkpoint and check every byte against its `config.json`.

    Raises `ModelFileError` for a missing folder or file, another schema, and a damaged file. See the module
    for what it takes in memory.
    """
    folder = Path(folder)
    if not os.path.exists(folder) and os.path.isdir(previous(folder)):  # also of a name too long for one
        folder = previous(folder)  # the writer was killed between its two renames
    config = read_config(folder)
    state: dict[str, Tensor] = {}
    left = WEIGHTS_BYTES
    for name, entry in config["weights"]["files"].items():
        state.update(_read_weights(folder / name, entry, left))
        left -= entry["bytes"]
    with reading(folder, "a checkpoint", REMEDY, ModelFileError):
        floats = {n: t.float() if t.is_floating_point() else t for n, t in _joined(state).items()}
    return Checkpoint(config["network"], floats, config)


def load_weights(network: nn.Module, state: Mapping[str, Tensor], source: Path | str) -> None:
    """Copy weights into a network; raises `ModelFileError` listing every name or shape that differs."""
    wanted = network.state_dict()
    faults = [f"{name} is missing" for name in wanted if name not in state]
    faults += [f"{name} is not wanted" for name in state if name not in wanted]
    for name, tensor in state.items():
        if name in wanted and tensor.shape != wanted[name].shape:
            shapes = f"{tuple(wanted[name].shape)}, found {tuple(tensor.shape)}"
            faults.append(f"{name} wants the shape {shapes}")
    if faults:
        more = f" and {len(faults) - 8} more" if len(faults) > 8 else ""
        raise ModelFileError(
            f"The weights in {source} do not fit the network: {'; '.join(faults[:8])}{more}. "
            "Use the configuration and the hand model they were trained with."
        )
    network.load_state_dict(dict(state))


def _stored(state: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
    """Return weights on the CPU in the type they are stored in."""
    return {name: _converted(tensor.detach().cpu(), dtype).contiguous() for name, tensor in state.items()}


def _converted(tensor: Tensor, dtype: str) -> Tensor:
    """Return one tensor as stored."""
    if not tensor.is_floating_point():
        return tensor
    single = tensor.float()
    if dtype == "float32" or tensor.ndim < 2:
        return single
    half = single.half()
    return half if bool(torch.isfinite(half).all()) else single


def _shards(state: dict[str, Tensor], limit: int | None) -> dict[str, dict[str, Tensor]]:
    """Distribute weights over files of at most `limit` bytes; a larger tensor is cut along its first axis."""
    if limit is None:
        return {WEIGHTS: state}
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in _pieces(state, limit):
        if shards[-1] and size + tensor.nbytes > limit:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return {f"model-{number:05d}.safetensors": shard for number, shard in enumerate(shards, 1)}


def _pieces(state: dict[str, Tensor], limit: int) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors of at most `limit` bytes (or single rows)."""
    for name, tensor in state.items():
        if tensor.nbytes <= limit or tensor.ndim == 0:
            yield name, tensor
        else:
            rows = max(1, limit * len(tensor) // tensor.nbytes)
            for number, piece in enumerate(tensor.split(rows)):
                yield f"{name}{_PIECE}{number:05d}", piece.contiguous()


def _joined(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo `_pieces`."""
    whole: dict[str, list[Tensor]] = {}
    for name in sorted(state):
        whole.setdefault(name.partition(_PIECE)[0], []).append(state[name])
    return {name: parts[0] if len(parts) == 1 else torch.cat(parts) for name, parts in whole.items()}


def _write(path: Path, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Write one file of weights; return its entry in the configuration."""
    data = safetensors.torch.save(tensors)
    _write_bytes(path, data)
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _write_bytes(path: Path, data: bytes) -> None:
    """Write a file and put it on the disk."""
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _read_weights(path: Path, entry: Mapping[str, Any], limit_bytes: int) -> dict[str, Tensor]:
    """Read one file of weights; raises `ModelFileError` unless it is what was written."""
    with reading(path, "a safetensors file", REMEDY, ModelFileError):
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise ModelFileError(
                f"{path} is truncated or of another checkpoint: {size} bytes, wanted {entry['bytes']}. "
                f"{REMEDY}"
            )
        check_tensors(path, limit_bytes)
        data = read_bytes(path, limit_bytes)
        digest = hashlib.sha256(data).hexdigest()
        if digest != entry["sha256"]:
            raise ModelFileError(
                f"{path} is damaged: its sha256 is {digest}, wanted {brief(entry['sha256'])}. {REMEDY}"
            )
        return safetensors.torch.load(data)
