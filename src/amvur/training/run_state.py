"""A run on the disk: `state.pt` to go on from; `last/` and `best/`, averaged weights as checkpoints."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amvur.checkpoint import check_replaceable, load_weights, save_checkpoint
from amvur.errors import InputError, ModelFileError, OutputError
from amvur.hand.safe_pickle import TENSORS_ALLOWED, check_pickle
from amvur.reading import (
    TENSOR_HEADER_BYTES,
    LimitError,
    brief,
    open_regular,
    open_zip,
    parse_json,
    read_member,
    reading,
)
from amvur.settings import from_json
from amvur.training.logs import LOG, read_log
from amvur.training.optimization import AveragedNetwork
from amvur.whole_files import remove_leftovers, whole_file

STATE, POOL, HELD_OUT = "state.pt", "pool.safetensors", "held_out.safetensors"
LAST, BEST = "last", "best"
_SCHEMA = "amvur-training/1"
_PICKLE_BYTES = 2**24


@dataclass
class Progress:
    """How far a run is; `seconds` over all its parts, preparation included.

    `best` is the least error on the held-out pictures (`HeldOutErrors.figure`), of the weights in `best/`;
    `measuring_s` is how long it takes to measure them.
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0
    held_out_mm: float | None = None
    held_out_2d_percent: float | None = None
    held_out_prior_mm: float | None = None
    best: float | None = None
    measuring_s: float = 0.0


def check_folder(folder: Path, resume: bool) -> None:
    """Raise `OutputError` for a folder with a run not to be resumed, or other files of the names of one."""
    if os.path.lexists(folder / STATE) and not resume:
        raise OutputError(f"{folder} holds a run already. Add --resume to go on, or choose another folder.")
    for name in (LAST, BEST):
        check_replaceable(folder / name)
    read_log(folder / LOG)
    for path in (folder / POOL, folder / HELD_OUT, *folder.glob(f"[0-9]*-{POOL}")):
        if os.path.lexists(path) and not _is_pool(path):
            raise OutputError(
                f"{path} exists and holds no pictures that amvur kept, so it is not overwritten. Move it "
                "away or choose another folder."
            )


def _is_pool(path: Path) -> bool:
    """Whether a file is one that `SamplePool.save` wrote, damaged or not; links are not."""
    if path.is_symlink():
        return False
    try:
        with reading(path, "a pool of pictures", "", OutputError), open_regular(path) as stream:
            size = int.from_bytes(stream.read(8), "little")
            notes = parse_json(stream.read(min(size, TENSOR_HEADER_BYTES)))["__metadata__"]
            return {"start", "image_px"} <= parse_json(notes["identity"]).keys() and "rendered" in notes
    except OutputError:
        return False


def save_state(
    folder: Path,
    network: nn.Module,
    average: AveragedNetwork,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    network_config: dict[str, Any],
) -> None:
    """Write `state.pt` whole or not at all; raises `OutputError`.

    No state of random generators: each step seeds its own from the run's seed and its number.
    """
    content = {
        "schema": _SCHEMA,
        "network": json.dumps(network_config, sort_keys=True),
        "model": network.state_dict(),
        "average": average.module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    with whole_file(folder / STATE) as staged, staged.open("xb") as stream:
        torch.save(content, stream)


def load_state(
    folder: Path,
    network: nn.Module,
    average: AveragedNetwork,
    optimizer: torch.optim.Optimizer,
    network_config: dict[str, Any],
) -> Progress:
    """Go on from `state.pt`; raises `ModelFileError` if it is damaged, `InputError` if of another network.

    What a killed run had half written is removed. It takes as much memory as file and network are large.
    """
    path = folder / STATE
    for name in (STATE, POOL, HELD_OUT):
        remove_leftovers(folder, name)
    with reading(path, "the state of a run", "Start anew in another folder.", ModelFileError):
        content = _read(path)
        found, schema = content["network"], content["schema"]
        wanted = json.dumps(network_config, sort_keys=True)
        if schema != _SCHEMA or found != wanted:
            raise InputError(
                f"{path} is of another network ({brief(found, 2000)}) than is asked for ({wanted}). "
                "Resume with the same preset, or start in another folder."
            )
        progress = from_json(Progress, content["progress"])
        load_weights(network, content["model"], path)
        load_weights(average.module, content["average"], path)
        _check_optimizer(content["optimizer"], optimizer)
        optimizer.load_state_dict(content["optimizer"])
    return progress


def _check_optimizer(content: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Raise `ValueError` or the like for a state that is not of such an optimizer and its parameters."""
    own = optimizer.state_dict()
    shapes = [parameter.shape for group in optimizer.param_groups for parameter in group["params"]]
    for number, values in content["state"].items():
        for name, value in values.items():
            if not isinstance(value, Tensor) or (value.ndim and value.shape != shapes[number]):
                raise ValueError(f"its {brief(name)} of parameter {number} is of another shape")
    for group, wanted in zip(content["param_groups"], own["param_groups"], strict=True):
        if {name: type(value) for name, value in group.items()} != {n: type(v) for n, v in wanted.items()}:
            raise ValueError("its optimizer has other settings")


def _read(path: Path) -> dict[str, Any]:
    """Return what is in a state's file; nothing in it is run.

    It is a zip of tensors and a pickle, which is looked at first: torch's reader would hash any key.
    """
    with open_regular(path) as stream, open_zip(stream) as archive:
        stored = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
        if len(stored) != 1 or any(info.compress_type for info in archive.infolist()):
            raise ValueError("it is no file of torch's")
        check_pickle(read_member(archive, stored[0], _PICKLE_BYTES), TENSORS_ALLOWED)
        size = os.fstat(stream.fileno()).st_size
        if sum(info.file_size for info in archive.infolist()) > size:
            raise LimitError("its parts are larger than the file")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}")
    return content


def save_average(
    folder: Path,
    average: AveragedNetwork,
    network_config: dict[str, Any],
    hand: tuple[str, str],
    card: dict[str, Any],
) -> None:
    """Write the averaged weights as a checkpoint; `hand` is the hand model's name and sha256."""
    save_checkpoint(
        folder,
        network_config,
        average.module.state_dict(),
        hand_model=hand[0],
        hand_model_sha256=hand[1],
        card=card,
    )
