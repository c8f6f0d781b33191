"""Any sample of a set of shards by its place, without reading those before it: what training draws from."""

from __future__ import annotations

import io
import tarfile
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from amvur.data.samples import HandBatch
from amvur.data.synthetic.records import SAMPLE_BYTES, Files, decode_sample
from amvur.data.synthetic.shard_reader import (
    finished_shards,
    headers,
    open_archive,
    read_file,
    read_manifest,
)
from amvur.errors import InputError
from amvur.reading import LimitError, open_regular, reading

_HEADERS_BYTES = 2**16


class IndexedShards:
    """A finished set that `amvur synthesize` wrote; a shard's headers are read when it is first needed.

    Kept are eight bytes a sample. Can be pickled, for workers.
    """

    def __init__(self, folder: Path) -> None:
        """Read the manifest; raises `InputError` for an unfinished or damaged set."""
        self.folder = folder
        self.configuration: dict[str, Any] = read_manifest(folder)["configuration"]
        shards = finished_shards(folder)
        self._names = list(shards)
        self._hashes = [entry["sha256"] for entry in shards.values()]
        self._ends: list[int] = list(accumulate(entry["counts"]["samples"] for entry in shards.values()))
        self._starts: dict[str, Int64[np.ndarray, "N"]] = {}

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._ends[-1]

    def __getitem__(self, place: int) -> HandBatch:
        """Return a sample as a batch of one; raises `InputError` that names the shard if it is damaged."""
        if not 0 <= place < len(self):
            raise IndexError(place)
        number = bisect_right(self._ends, place)
        path = self.folder / self._names[number]
        first = self._ends[number - 1] if number else 0
        with reading(
            path, "a whole shard", "To mend it, delete it and run the command that made the set again."
        ):
            starts = self._index(path, self._ends[number] - first)
            start, end = (int(value) for value in starts[place - first : place - first + 2])
            if end - start > SAMPLE_BYTES + _HEADERS_BYTES:
                raise LimitError(f"a sample of {end - start:,} bytes, allowed are {SAMPLE_BYTES:,}")
            with open_regular(path) as stream:
                stream.seek(start)
                files = _files_of(stream.read(end - start))
        return decode_sample(files, f"{path}:{place:09d}")

    def identity(self) -> dict[str, Any]:
        """Return what the samples depend on, with the hashes that the manifest states."""
        return {**self.configuration, "samples": len(self), "sha256": self._hashes}

    def _index(self, path: Path, count: int) -> Int64[np.ndarray, "N"]:
        """Return where the samples of a shard begin, and where the last one ends."""
        if path.name not in self._starts:
            starts: dict[str, int] = {}
            with open_archive(path) as archive:
                for member in headers(archive):
                    starts.setdefault(member.name.partition(".")[0], member.offset)
                    if len(starts) > count:
                        break
                end = archive.offset
            if len(starts) != count:
                raise InputError(
                    f"{path} has not the {count} samples of the manifest: delete it and run the command that "
                    "made the set again."
                )
            self._starts[path.name] = np.array([*starts.values(), end], dtype=np.int64)
        return self._starts[path.name]


def _files_of(data: bytes) -> Files:
    """Return the files of one sample, a piece of a shard."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        files = Files()
        for member in headers(archive):
            files[member.name.partition(".")[2]] = read_file(archive, member, SAMPLE_BYTES)
    return files
