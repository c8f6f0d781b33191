"""Synthetic hands as a data set to evaluate on: `synth-v1`, rendered on the spot, and stored shards."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from amvur.data.samples import HandBatch
from amvur.data.synthetic.benchmark_set import (
    NAME,
    TOLERANCE_PX,
    BenchmarkSet,
    Membership,
    check_benchmark,
    load_membership,
)
from amvur.data.synthetic.shard_reader import check_shards, read_manifest, read_shards
from amvur.data.synthetic.shards import ShardPlan, write_shards
from amvur.errors import InputError
from amvur.evaluation.pictures import CROP_SCALE, Picture, pictures_of

_CHUNK = 20
_OF_STORAGE = ("shard_size", "image_format")


class BenchmarkSource:
    """`synth-v1`, every picture rendered when it is looked at (some four a second on a core)."""

    name: str = NAME
    protocol: str | None = None
    evaluation_list: Path | None = None

    def __init__(self) -> None:
        """Load which samples belong to it."""
        self._set = BenchmarkSet()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._set)

    def identity(self) -> dict[str, Any]:
        """Return all that the pictures depend on."""
        return self._set.identity()

    def pictures(
        self, start: int, stop: int, size_px: int, crop_scale: float = CROP_SCALE
    ) -> Iterator[Picture]:
        """Render and yield samples start, ..., stop - 1."""
        for first in range(start, stop, _CHUNK):
            batch, _ = self._set.named_samples(range(first, min(first + _CHUNK, stop)))
            yield from pictures_of(batch, size_px)


class ShardSource:
    """A folder that `amvur synthesize` wrote, as PNG the same pictures as rendered ones to the bit.

    Every shard's sha256 is checked, and of `synth-v1` also that the samples are the set's own. Reads from
    front to back: going back or jumping ahead reads what is before once more.
    """

    protocol: str | None = None
    evaluation_list: Path | None = None

    def __init__(self, folder: Path) -> None:
        """Check a finished set; raises `InputError`."""
        manifest = read_manifest(folder)
        check_shards(folder)
        self._folder, self._count = folder, int(manifest["count"])
        self._configuration: dict[str, Any] = manifest["configuration"]
        benchmark = self._configuration.get("benchmark") == NAME
        self._members = load_membership() if benchmark else None
        if self._members is not None:
            _check_labels(folder, self._configuration, self._members, self._count)
        self.name = NAME if benchmark else "synthetic"
        self._waiting: Iterator[HandBatch] = iter(())
        self._next = -1

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._count

    def identity(self) -> dict[str, Any]:
        """Return all that the pictures depend on; lossless storage is not part of it."""
        lossless = self._configuration.get("image_format") == "png"
        left_out = _OF_STORAGE if lossless else ("shard_size",)
        identity = {key: value for key, value in self._configuration.items() if key not in left_out}
        return identity if self._members is not None else {**identity, "count": self._count}

    def pictures(
        self, start: int, stop: int, size_px: int, crop_scale: float = CROP_SCALE
    ) -> Iterator[Picture]:
        """Read and yield samples start, ..., stop - 1; raises `InputError` for a sample of another set."""
        if self._next != start:
            self._waiting, self._next = islice(read_shards(self._folder, 1), start, None), start
        for batch in islice(self._waiting, stop - start):
            if self._members is not None:
                _check_sample(self._folder, self._members, self._next, batch)
            self._next += 1
            yield from pictures_of(batch, size_px)


def open_benchmark(cache: Path | None, workers: int = 0) -> BenchmarkSource | ShardSource:
    """Return `synth-v1`; with a folder `cache` its pictures are rendered once, there, and read afterwards.

    Raises `InputError` or `OutputError` for a cache that holds something else or cannot be written.
    """
    if cache is None:
        return BenchmarkSource()
    members = BenchmarkSet()
    if not (cache / "statistics.json").is_file():  # written last
        write_shards(members, cache, ShardPlan(len(members), 1000, "png", workers))
        check_benchmark(cache)
    return ShardSource(cache)


def _check_labels(folder: Path, found: dict[str, Any], members: Membership, count: int) -> None:
    """Raise `InputError` unless a manifest states the set's hash of labels and its size."""
    wanted = members.sha256()
    if found.get("labels_sha256") != wanted or count != len(members.samples):
        raise InputError(
            f"{folder} is not {NAME}: {count} samples with labels {str(found.get('labels_sha256'))[:12]}, "
            f"wanted {len(members.samples)} with {wanted[:12]}. "
            f"Make it: amvur synthesize --benchmark {NAME} --output DIR."
        )


def _check_sample(folder: Path, members: Membership, place: int, batch: HandBatch) -> None:
    """Raise `InputError` unless a stored sample is the set's at this place."""
    wanted = members.samples[place]
    moved = np.abs(batch.joints_2d[0].double().mean(0).numpy() - members.centers_px[place]).max()
    if int(batch.index[0]) != wanted[1] or int(batch.is_left[0]) != wanted[2] or moved > TOLERANCE_PX:
        raise InputError(
            f"{folder} is not {NAME}: its sample {place} is number {int(batch.index[0])}, its joints "
            f"{moved:.3g} px from their place; wanted number {wanted[1]}. "
            f"Make it again: amvur synthesize --benchmark {NAME} --output DIR."
        )
