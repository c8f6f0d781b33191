"""`amvur train`: a network from synthetic hands, resumable."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from amvur.cli.checks import check_output
from amvur.cli.options import Train
from amvur.errors import InputError

if TYPE_CHECKING:
    from amvur.training.presets import Preset
    from amvur.training.run_options import Parts, RunOptions

HELD_OUT_SEED_STEP = 1_000_003
"""The held-out pictures' seed lies this far from that of training."""


def run_train(options: Train) -> int:
    """Train, or go on, and say where the weights are; returns 0.

    Raises `InputError` for options that cannot work, `OutputError` if the folder cannot be written to or
    holds another run, and what making pictures or steps raises.
    """
    check_train(options)
    check_output(options.output)
    preset = find_preset(options)
    if options.workers and options.devices * options.nodes == 1:
        print(f"amvur: {options.workers} processes make pictures; the first steps wait for them", flush=True)
    import torch

    from amvur.data.synthetic.generator import MAX_SEED, SyntheticHands
    from amvur.training.loop import train

    torch.manual_seed(preset.training.seed)
    parts = make_parts(preset, options.pretrained)
    seeds = (preset.training.seed, (preset.training.seed + HELD_OUT_SEED_STEP) % MAX_SEED)
    source, held_out = (
        SyntheticHands(
            seed, preset.network.hand_model, preset.network.image_px, backgrounds=options.backgrounds
        )
        for seed in seeds
    )
    run = _run_options(options, {"preset": options.preset, "data": source.identity()})
    result = train(parts, preset.training, options.output, source, held_out, run)
    end = "finished" if result.finished else "paused; the same command with --resume goes on"
    error = (
        "" if result.held_out_mm is None else f", PA-MPJPE of held-out pictures {result.held_out_mm:.2f} mm"
    )
    skipped = f", {result.skipped} steps skipped (not finite)" if result.skipped else ""
    print(
        f"{result.step} steps in {result.seconds:.0f} s{error}{skipped}: {end}. "
        f"Weights: {options.output / 'last'}"
    )
    return 0


def check_train(options: Train) -> None:
    """Raise `InputError` for options that cannot work."""
    if options.data:
        raise InputError(
            f"--data {options.data}: training on folders of real pictures is not there yet. "
            "Leave --data out to train on synthetic hands."
        )
    lows = {
        "steps": 1,
        "batch_size": 1,
        "devices": 1,
        "nodes": 1,
        "workers": 0,
        "pool_size": 1,
        "held_out": 1,
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
    names = ("steps", "batch_size", "pool_size", "held_out", "seed")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    network = preset.network
    if options.hand_model is not None:
        network = replace(network, hand_model=options.hand_model)
    return replace(preset, network=network, training=replace(preset.training, **given))


def make_parts(preset: Preset, pretrained: bool = False) -> Parts:
    """Build network and objective of a preset."""
    from amvur.models.network import make_network
    from amvur.training.objective import Objective
    from amvur.training.run_options import Parts

    network = make_network(preset.network, pretrained)
    objective = Objective(preset.objective, network)
    return Parts(network, asdict(preset.network), preset.network.image_px, network.hand, objective)


def _run_options(options: Train, card: dict[str, object]) -> RunOptions:
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
        card=card,
    )
