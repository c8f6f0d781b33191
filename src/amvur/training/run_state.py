"""A run on the disk: `state.pt` to go on from, and `last/`, the averaged weights as a checkpoint."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from torch import nn

from amvur.checkpoint import load_weights, save_checkpoint
from amvur.errors import InputError, ModelFileError, OutputError
from amvur.training.optimization import AveragedNetwork

STATE, LAST, POOL, HELD_OUT = "state.pt", "last", "pool.safetensors", "held_out.safetensors"
_SCHEMA = "amvur-training/1"


@dataclass
class Progress:
    """How far a run is; `seconds` over all its parts, preparation included.

    `measuring_s` is how long it takes to measure the held-out pictures.
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0
    held_out_mm: float | None = None
    held_out_2d_percent: float | None = None
    measuring_s: float = 0.0


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
    staged = folder / f".{STATE}.{uuid4().hex[:12]}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with staged.open("xb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(staged, folder / STATE)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"Cannot write {folder / STATE}: {reason}. Free some space.") from error
    finally:
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)


def load_state(
    folder: Path,
    network: nn.Module,
    average: AveragedNetwork,
    optimizer: torch.optim.Optimizer,
    network_config: dict[str, Any],
) -> Progress:
    """Go on from `state.pt`; raises `ModelFileError` if it is damaged, `InputError` if of another network.

    What a killed run had half written is removed.
    """
    path = folder / STATE
    for name in (STATE, POOL, HELD_OUT):
        for leftover in folder.glob(f".{name}.*.tmp"):
            leftover.unlink(missing_ok=True)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, schema = content["network"], content["schema"]
    except Exception as error:  # zip, pickle and key errors of a damaged or foreign file
        raise ModelFileError(
            f"{path} cannot be read as the state of a run ({error}). Start anew in another folder."
        ) from error
    wanted = json.dumps(network_config, sort_keys=True)
    if schema != _SCHEMA or found != wanted:
        raise InputError(
            f"{path} is of another network ({found}) than is asked for ({wanted}). "
            "Resume with the same preset, or start in another folder."
        )
    load_weights(network, content["model"], path)
    load_weights(average.module, content["average"], path)
    optimizer.load_state_dict(content["optimizer"])
    return Progress(**content["progress"])


def save_last(
    folder: Path,
    average: AveragedNetwork,
    network_config: dict[str, Any],
    hand: tuple[str, str],
    card: dict[str, Any],
) -> None:
    """Write the averaged weights as the checkpoint `last/`; `hand` is the hand model's name and sha256."""
    save_checkpoint(
        folder / LAST,
        network_config,
        average.module.state_dict(),
        hand_model=hand[0],
        hand_model_sha256=hand[1],
        card=card,
    )
