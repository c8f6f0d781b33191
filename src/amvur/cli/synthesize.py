"""`amvur synthesize`: synthetic hands with exact labels as shards."""

from __future__ import annotations

import time
import warnings
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from amvur.cli.checks import check_output
from amvur.cli.options import Synthesize
from amvur.cli.terminal import progress, say, tell
from amvur.errors import InputError

if TYPE_CHECKING:
    from amvur.data.synthetic.shards import SampleSource, ShardPlan

_OF_BENCHMARK = ("count", "seed", "size", "backgrounds", "hand_model", "image_format")


def run_synthesize(options: Synthesize) -> int:
    """Write or continue a set and say what it is; returns 0.

    Raises `InputError` for options that cannot work, and `OutputError` if the folder holds another set
    or cannot be written to.
    """
    check_synthesize(options)
    check_output(options.output)
    from amvur.data.synthetic.shards import write_shards

    started = time.monotonic()
    source, plan = _make_source(options)
    with progress(total=plan.count, unit="picture") as bar:
        manifest = write_shards(source, options.output, plan, bar.update)
    if options.benchmark is not None:
        _check_benchmark(options.output)
    tell(
        f"{manifest['count']} pictures in {len(manifest['shards'])} shards in {options.output} "
        f"({time.monotonic() - started:.1f} s); look at {options.output / 'contact_sheet.png'}"
    )
    return 0


def check_synthesize(options: Synthesize) -> None:
    """Raise `InputError` for options that cannot work."""
    if options.benchmark is not None:
        default = {field.name: field.default for field in fields(Synthesize)}
        given = [name for name in _OF_BENCHMARK if getattr(options, name) != default[name]]
        if given:
            names = ", ".join("--" + name.replace("_", "-") for name in given)
            raise InputError(f"--benchmark {options.benchmark} has its own {names}. Leave that out.")
    elif options.count is None:
        raise InputError("Say how many pictures: --count N (or --benchmark synth-v1).")
    for name, low in (("count", 1), ("seed", 0), ("size", 32), ("shard_size", 1), ("workers", 0)):
        value = getattr(options, name)
        if value is not None and value < low:
            raise InputError(f"--{name.replace('_', '-')} wants at least {low}, found {value}.")
    if options.hand_model != "open" and not Path(options.hand_model).is_file():
        raise InputError(
            f"--hand-model wants open or the path of a MANO file (.pkl), found {options.hand_model!r}, "
            "which is neither. Check the spelling and the path."
        )


def _make_source(options: Synthesize) -> tuple[SampleSource, ShardPlan]:
    """Load what renders (seconds: torch, the hand model, the backgrounds)."""
    from amvur.data.synthetic.benchmark_set import BenchmarkSet
    from amvur.data.synthetic.generator import SyntheticHands, load_backgrounds
    from amvur.data.synthetic.shards import ShardPlan

    if options.benchmark is not None:
        benchmark = BenchmarkSet(options.benchmark)
        return benchmark, ShardPlan(len(benchmark), options.shard_size, "png", options.workers)
    assert options.count is not None  # checked before
    backgrounds = None
    if options.backgrounds is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # told below, in this program's way
            backgrounds = load_backgrounds(options.backgrounds)
        for reason in backgrounds.skipped:
            say(f"background skipped: {reason}")
        say(
            f"{len(backgrounds.paths)} backgrounds from {options.backgrounds}, "
            f"{len(backgrounds.skipped)} skipped"
        )
    hands = SyntheticHands(options.seed or 0, options.hand_model, options.size, backgrounds=backgrounds)
    plan = ShardPlan(options.count, options.shard_size, options.image_format or "jpg", options.workers)
    return hands, plan


def _check_benchmark(folder: Path) -> None:
    """Compare a finished benchmark set with what is known of it; raises `InputError`."""
    from amvur.data.synthetic.benchmark_set import check_benchmark

    tell(check_benchmark(folder))
