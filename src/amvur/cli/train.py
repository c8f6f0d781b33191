"""`amvur train`: a network from synthetic hands, data sets or own photographs, resumable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from amvur.cli.checks import check_output
from amvur.cli.export_network import try_to_add_networks
from amvur.cli.options import Train
from amvur.cli.terminal import say, tell
from amvur.errors import InputError, ModelFileError

if TYPE_CHECKING:
    from torch import nn

    from amvur.models.network import NetworkConfig
    from amvur.training.preparation import Preparation
    from amvur.training.presets import Preset
    from amvur.training.run_options import Parts, Result, RunOptions
    from amvur.training.sources import Source

_GO_ON = "Go on with the same command and --resume."
HELD_OUT_SEED_STEP = 1_000_003
"""The held-out pictures' seed lies this far from that of training."""


def run_train(options: Train) -> int:
    """Train, or go on, and say where the weights are; returns 0, or 130 after Ctrl-C.

    Raises `InputError` for options that cannot work, `OutputError` if the folder cannot be written to or
    holds another run, and what making pictures or steps raises.
    """
    try:
        result = _train(options)
    except KeyboardInterrupt:  # before the first step, or a second time
        saved = (options.output / "state.pt").exists()
        held = f"{options.output} holds what was saved before" if saved else "no step was saved"
        say(f"stopped; {held}. {_GO_ON}")
        return 130
    for lines in result.skipped_samples:
        say(*lines)
    if result.interrupted:
        say(f"stopped and saved after step {result.step}. {_GO_ON}")
        return 130
    end = "finished" if result.finished else "paused; the same command with --resume goes on"
    if result.finished:
        for name in ("last", "best"):
            if (options.output / name).is_dir():
                try_to_add_networks(options.output / name)
    error = str(result.held_out) and f", {result.held_out}"
    skipped = f", {result.skipped} steps skipped (not finite)" if result.skipped else ""
    tell(
        f"{result.step} steps in {result.seconds:.0f} s{error}{skipped}: {end}. "
        f"Weights: {options.output / 'last'}"
    )
    return 0


def _train(options: Train) -> Result:
    """Check the options, load all that a run needs, and run."""
    check_train(options)
    check_output(options.output)
    # the run's time begins here: loading takes its part of it
    from amvur.training.preparation import Preparation

    preparation = Preparation(say)
    say("preparing: loading the network")
    preset = find_preset(options)
    from amvur.training.run_state import check_folder

    check_folder(options.output, options.resume)
    if options.workers and options.devices * options.nodes == 1:
        say(f"{options.workers} processes make pictures; the first steps wait for them")
    import torch

    from amvur.data.synthetic.generator import MAX_SEED, SyntheticHands
    from amvur.training.augment import STILL
    from amvur.training.data_choice import make_sources
    from amvur.training.loop import train

    torch.manual_seed(preset.training.seed)
    if options.start is not None:
        preset = replace(preset, network=start_network(options.start))
    parts = make_parts(preset, options.pretrained)
    if options.start is not None:
        load_start(parts.network, options.start)
    seeds = (preset.training.seed, (preset.training.seed + HELD_OUT_SEED_STEP) % MAX_SEED)
    source, held_out = (
        SyntheticHands(
            seed, preset.network.hand_model, preset.network.image_px, backgrounds=options.backgrounds
        )
        for seed in seeds
    )
    run = _run_options(options, preparation)
    preparation.limit_s, preparation.option = run.limit_s(0.0)
    pictures: Source = source
    chosen: Source | None = held_out if preset.training.held_out else None
    if options.data:
        weak = preset.objective.weak
        pictures, chosen = make_sources(
            options.data, (source, held_out), preset.network, weak, preset.training, preparation
        )
        if pictures.count is not None:  # more would be the same ones again
            size = min(preset.training.pool_size, pictures.count)
            preset = replace(preset, training=replace(preset.training, pool_size=size))
    card: dict[str, object] = {
        "preset": options.preset,
        "start": options.start,
        "pretrained": options.pretrained,
        "objective": asdict(preset.objective),
        "training": asdict(preset.training),
        "data": pictures.identity(),
    }
    run = replace(run, card=card, upright=preset.network.crop == "upright")
    if not preset.training.augment:
        run = replace(run, augment=STILL if run.upright else None)
    return train(parts, preset.training, options.output, pictures, chosen, run)


def check_train(options: Train) -> None:
    """Raise `InputError` for options that cannot work."""
    for name in ("pretrained", "backbone", "prior_std_mm"):
        if options.start is not None and getattr(options, name) is not None:
            raise InputError(f"--start brings network and weights. Leave --{name.replace('_', '-')} out.")
    for name in ("learning_rate", "prior_std_mm"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name.replace('_', '-')} wants a number above 0, found {value:g}.")
    lows = {
        "steps": 1,
        "batch_size": 1,
        "devices": 1,
        "nodes": 1,
        "workers": 0,
        "pool_size": 1,
        "held_out": 0,
        "seed": 0,
    }
    for name, low in lows.items():
        value = getattr(options, name)
        if value is not None and value < low:
            raise InputError(f"--{name.replace('_', '-')} wants at least {low}, found {value}.")
    for name in ("max_seconds", "stop_after"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise InputError(f"--{name.replace('_', '-')} wants seconds above 0, found {value:g}.")


def find_preset(options: Train) -> Preset:
    """Return the preset with the options' changes; raises `InputError` for a name that is none."""
    from amvur.training.presets import PRESETS

    if options.preset not in PRESETS:
        raise InputError(f"--preset wants one of {', '.join(sorted(PRESETS))}, found {options.preset!r}.")
    preset = PRESETS[options.preset]
    names = ("steps", "batch_size", "pool_size", "held_out", "seed", "learning_rate", "optimizer")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    given |= {"augment": False} if options.no_augment else {}
    own = ("hand_model", "backbone", "prior_std_mm")
    network = {name: getattr(options, name) for name in own if getattr(options, name) is not None}
    weights = replace(preset.objective.weights, **_weights(options.weights))
    return replace(
        preset,
        network=replace(preset.network, **network),
        objective=replace(preset.objective, weights=weights),
        training=replace(preset.training, **given),
    )


def _weights(given: Sequence[str]) -> dict[str, float]:
    """Read TERM=W; raises `InputError` for a term that is none, which lists them, and for no number."""
    from amvur.training.objective import Weights

    terms, found = [field.name for field in fields(Weights)], {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in terms:
            raise InputError(f"--weights wants TERM=W, a TERM of {', '.join(terms)}; found {text!r}.")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = math.nan
        if not 0 <= found[name] < math.inf:
            raise InputError(f"--weights {name} wants a number of at least 0, found {value!r}.")
    return found


def make_parts(preset: Preset, pretrained: str | None = None) -> Parts:
    """Build network and objective of a preset; `pretrained` is "download" or a file of weights."""
    from amvur.models.network import make_network
    from amvur.training.backbone_weights import load_backbone
    from amvur.training.objective import Objective
    from amvur.training.run_options import Parts

    network = make_network(preset.network, pretrained == "download")
    if pretrained not in (None, "download"):
        load_backbone(network.backbone, Path(str(pretrained)))
    objective = Objective(preset.objective, network)
    return Parts(network, asdict(preset.network), preset.network.image_px, network.hand, objective)


def start_folder(choice: str) -> Path:
    """Return the checkpoint folder behind "default" or a path; raises `InputError` where none ships."""
    from amvur.checkpoint_folder import default_checkpoint

    folder = default_checkpoint() if choice == "default" else Path(choice)
    if folder is None:
        raise InputError("--start default: no weights ship with this installation. Name a folder.")
    return folder


def start_network(choice: str) -> NetworkConfig:
    """Return the network of a checkpoint; raises `ModelFileError` for a folder that is none."""
    from amvur.checkpoint_folder import read_config
    from amvur.models.network import NetworkConfig

    folder = start_folder(choice)
    try:
        return NetworkConfig.from_json(read_config(folder)["network"])
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{folder} describes no network of this version of amvur: {error}.") from error


def load_start(network: nn.Module, choice: str) -> None:
    """Copy a checkpoint's weights; raises `ModelFileError` that lists what differs."""
    from amvur.checkpoint import load_checkpoint, load_weights

    folder = start_folder(choice)
    load_weights(network, load_checkpoint(folder).state, folder)


def _run_options(options: Train, preparation: Preparation) -> RunOptions:
    """Translate the options."""
    from amvur.training.run_options import RunOptions

    return RunOptions(
        device=options.device,
        devices=options.devices,
        nodes=options.nodes,
        workers=options.workers,
        resume=options.resume,
        max_seconds=options.max_seconds,
        stop_after_s=options.stop_after,
        keep_pool=options.keep_pool,
        preparation=preparation,
    )
