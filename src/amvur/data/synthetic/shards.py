"""Synthetic hands as WebDataset shards: atomic, resumable, never mixed with another configuration.

A folder holds `manifest.json` (what was asked for; sha256 and counts of every finished shard),
`shard-000000.tar`, ... and, when all are there, `statistics.json` and `contact_sheet.png`. The same
configuration gives the same bytes with any number of workers and after any number of interruptions.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Any, Protocol

from torch.utils.data import DataLoader, Dataset

from amvur.data.samples import HandBatch
from amvur.data.synthetic.records import Files, ImageFormat, encode_sample
from amvur.data.synthetic.shard_reader import MANIFEST, SCHEMA, contact_sheet_bytes, read_manifest
from amvur.data.synthetic.statistics import Counts, add_counts, count_batch, statistics
from amvur.errors import InputError, OutputError
from amvur.whole_files import remove_leftovers, temporary

STATISTICS, CONTACT_SHEET = "statistics.json", "contact_sheet.png"


class SampleSource(Protocol):
    """Where samples come from: `SyntheticHands` and the benchmark set, through `named_samples`."""

    def named_samples(self, positions: Sequence[int]) -> tuple[HandBatch, tuple[str, ...]]:
        """Return the samples at these places of the set and the names of their kinds of pose."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return all that the samples depend on, in JSON's types."""
        ...


@dataclass(frozen=True)
class ShardPlan:
    """How a set is cut: `shard_size` samples in every shard but the last, `chunk` rendered at once."""

    count: int
    shard_size: int = 1000
    image_format: ImageFormat = "jpg"
    workers: int = 0
    chunk: int = 20

    def __post_init__(self) -> None:
        """Raise `InputError` for numbers that make no sense."""
        if self.count < 1 or self.shard_size < 1 or self.workers < 0 or self.chunk < 1:
            raise InputError(
                "Wanted a count, a shard size and a chunk of at least 1 and no negative number of workers, "
                f"found {self}."
            )

    def shards(self) -> dict[str, range]:
        """Return the places of the samples of every shard by its file name."""
        starts = range(0, self.count, self.shard_size)
        return {
            f"shard-{number:06d}.tar": range(start, min(start + self.shard_size, self.count))
            for number, start in enumerate(starts)
        }


@dataclass(frozen=True)
class EncodedChunk:
    """Some samples as files, what they hold, and the shard that they belong to."""

    shard: str
    samples: tuple[tuple[str, Files], ...]
    counts: Counts


def write_shards(
    source: SampleSource, folder: Path, plan: ShardPlan, progress: Callable[[int], object] = lambda _: None
) -> dict[str, Any]:
    """Write the shards that are missing in `folder`, then statistics and contact sheet; return the manifest.

    `progress` is told how many samples were added. A set that was begun with the same configuration is
    continued, and may be continued to a larger count. Raises `OutputError` if the folder holds another
    set or something cannot be written; finished shards stay.
    """
    manifest = _begin(source, folder, plan)
    ranges = plan.shards()
    missing = {
        name: ranges[name] for name in ranges if not _is_finished(folder, name, ranges[name], manifest)
    }
    progress(plan.count - sum(map(len, missing.values())))
    for name, chunks in _by_shard(_encode(source, missing, plan)):
        manifest["shards"][name] = _write_shard(folder, name, chunks, progress)
        manifest["shards"] = dict(sorted(manifest["shards"].items()))
        _write_atomically(folder / MANIFEST, _json_bytes(manifest))
    counts = add_counts(entry["counts"] for entry in manifest["shards"].values())
    content = {"schema": SCHEMA, **manifest["configuration"], **statistics(counts)}
    _write_atomically(folder / STATISTICS, _json_bytes(content))
    _write_atomically(folder / CONTACT_SHEET, contact_sheet_bytes(folder))
    return manifest


class _Chunks(Dataset[EncodedChunk]):
    """Renders and encodes chunks, in the workers of a `DataLoader`."""

    def __init__(self, source: SampleSource, shards: dict[str, range], plan: ShardPlan) -> None:
        """Cut every shard into chunks; none reaches over a shard's end."""
        self.source, self.image_format = source, plan.image_format
        self.chunks = [
            (name, places[first : first + plan.chunk])
            for name, places in shards.items()
            for first in range(0, len(places), plan.chunk)
        ]

    def __len__(self) -> int:
        """Return the number of chunks."""
        return len(self.chunks)

    def __getitem__(self, number: int) -> EncodedChunk:
        """Render and encode one chunk."""
        shard, places = self.chunks[number]
        batch, kinds = self.source.named_samples(places)
        samples = tuple(
            (f"{place:09d}", encode_sample(batch, i, kinds[i], self.image_format))
            for i, place in enumerate(places)
        )
        return EncodedChunk(shard, samples, count_batch(batch, kinds))


def _encode(source: SampleSource, shards: dict[str, range], plan: ShardPlan) -> Iterator[EncodedChunk]:
    """Yield the encoded chunks of shards in their order."""
    chunks = _Chunks(source, shards, plan)
    if not plan.workers:
        return map(chunks.__getitem__, range(len(chunks)))
    loader = DataLoader(chunks, batch_size=None, num_workers=plan.workers, worker_init_fn=_end_with_parent)
    return iter(loader)


def _end_with_parent(_: int) -> None:
    """Let a worker end when the process that started it was killed.

    torch notices that too, but the worker would then wait for ever for somebody to read its results.
    """
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _by_shard(chunks: Iterator[EncodedChunk]) -> Iterator[tuple[str, Iterator[EncodedChunk]]]:
    """Group chunks by shard, without keeping a shard in memory."""
    return groupby(chunks, key=lambda chunk: chunk.shard)


def _begin(source: SampleSource, folder: Path, plan: ShardPlan) -> dict[str, Any]:
    """Return the folder's manifest, made if there is none; raises `OutputError` for another set's."""
    configuration = {
        **source.identity(),
        "shard_size": plan.shard_size,
        "image_format": plan.image_format,
    }
    path = folder / MANIFEST
    if path.exists():
        manifest = read_manifest(folder)
        _check_same(folder, manifest, configuration, plan.count)
        remove_leftovers(folder)
    else:
        ours = [*folder.glob("shard-*.tar"), folder / STATISTICS, folder / CONTACT_SHEET]
        for file in ours:
            if file.exists():
                raise OutputError(
                    f"{file} exists without a {MANIFEST} that says what it is, so nothing is overwritten. "
                    "Choose another folder, or remove it."
                )
        manifest = {"schema": SCHEMA, "configuration": configuration, "shards": {}}
    manifest["count"] = plan.count
    _write_atomically(path, _json_bytes(manifest))
    return manifest


def _check_same(folder: Path, manifest: dict[str, Any], configuration: dict[str, Any], count: int) -> None:
    """Raise `OutputError` unless a folder's set can be continued with a configuration and a count."""
    found = manifest["configuration"]
    different = [key for key in {**configuration, **found} if configuration.get(key) != found.get(key)]
    if different:
        text = "; ".join(f"{key}: there {found.get(key)}, now {configuration.get(key)}" for key in different)
        raise OutputError(
            f"{folder} holds a set of another configuration ({text}), which is not overwritten. "
            "Choose another folder, or remove that one."
        )
    if count < manifest["count"]:
        raise OutputError(
            f"{folder} holds or was begun as a set of {manifest['count']} samples, found a count of {count}. "
            "Give the same count or a larger one, or choose another folder."
        )


def _is_finished(folder: Path, name: str, places: range, manifest: dict[str, Any]) -> bool:
    """Say whether a shard is listed with the wanted samples and is there in full size."""
    entry = manifest["shards"].get(name)
    if entry is None or entry["counts"]["samples"] != len(places):
        return False
    with contextlib.suppress(OSError):
        return bool((folder / name).stat().st_size == entry["bytes"])
    return False


def _write_shard(
    folder: Path, name: str, chunks: Iterator[EncodedChunk], progress: Callable[[int], object]
) -> dict[str, Any]:
    """Write a shard under a temporary name, then rename it; return its entry in the manifest."""
    counts: list[Counts] = []

    def write(stream: IO[bytes]) -> None:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for chunk in chunks:
                for key, files in chunk.samples:
                    for suffix, data in files.items():
                        member = tarfile.TarInfo(f"{key}.{suffix}")  # no time, no owner: the same bytes again
                        member.size = len(data)
                        archive.addfile(member, io.BytesIO(data))
                counts.append(chunk.counts)
                progress(len(chunk.samples))

    digest = _stage(folder / name, write)
    return {"sha256": digest, "bytes": (folder / name).stat().st_size, "counts": add_counts(counts)}


def _write_atomically(path: Path, data: bytes) -> None:
    """Write one file as a whole or not at all."""
    _stage(path, lambda stream: stream.write(data))


def _stage(path: Path, write: Callable[[IO[bytes]], object]) -> str:
    """Let `write` fill a temporary file, put it on the disk, rename it to `path`; return its sha256."""
    place = temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        with place.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.replace(place, path)
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {error.strerror or error}. Shards that are finished stay. Free some space "
            "or change the permissions and run the same command again: it continues there."
        ) from error
    finally:  # after an interrupt (Ctrl-C) too
        with contextlib.suppress(OSError):
            place.unlink(missing_ok=True)
    return digest


def _json_bytes(content: dict[str, Any]) -> bytes:
    """Return JSON as it is written to disk."""
    return (json.dumps(content, indent=1) + "\n").encode()
