"""Reading shards that `amvur synthesize` wrote: batches, a check of every byte, a contact sheet."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from amvur.data.samples import HandBatch, concatenate
from amvur.data.synthetic.records import SAMPLE_BYTES, Files, decode_sample, picture_of
from amvur.errors import InputError
from amvur.reading import LimitError, brief, open_regular, read_json, reading

MANIFEST = "manifest.json"
SCHEMA = "amvur-shards/1"
_NAME = re.compile(r"shard-\d{6,9}\.tar")
REMEDY = "To mend it, delete it and run the command that made the set again."
SHEET_SIDE = 8
"""Pictures along each side of a contact sheet."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a folder's manifest (as JSON of at most 64 MB, 500 MB in memory).

    Raises `InputError` if there is none, if it is damaged or a part of it is of another kind.
    """
    path = folder / MANIFEST
    if os.path.isdir(folder) and not os.path.exists(path):
        raise InputError(f"{folder} has no {MANIFEST}, so it is no set that `amvur synthesize` wrote.")
    manifest = read_json(path, "a manifest", "Make the set again in another folder.")
    if manifest.get("schema") != SCHEMA:
        raise InputError(f"{path} is no manifest of {SCHEMA}. Make the set again with this version.")
    with reading(path, f"a manifest of {SCHEMA}", "Make the set again in another folder."):
        _check_manifest(manifest)
    return manifest


def _check_manifest(manifest: dict[str, Any]) -> None:
    """Raise `ValueError` or the like for what no manifest is like."""
    if not isinstance(manifest["configuration"], dict) or not isinstance(manifest["shards"], dict):
        raise ValueError("its configuration or its shards are no object")
    for name, entry in manifest["shards"].items():
        if not _NAME.fullmatch(name):  # also keeps it from leading out of the folder
            raise ValueError(f"no shard is called {brief(name)}")
        whole = (entry["bytes"], entry["counts"]["samples"])
        if not all(map(_is_count, whole)) or not isinstance(entry["sha256"], str):
            raise ValueError(f"its entry of {name} is not what was written")
    if not _is_count(manifest["count"]):
        raise ValueError("its count is no number of samples")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


def read_shards(folder: str | Path, batch_size: int = 64) -> Iterator[HandBatch]:
    """Yield all samples of a finished set in their order; batches may reach over shards.

    Pictures are the stored ones (JPEG or PNG); labels are exact to float32, colors to 0.00025. A sample's
    files have at most 64 MB, and take 400 MB when decoded. Raises `InputError` if the set is unfinished, or a
    shard is missing or damaged.
    """
    waiting: list[HandBatch] = []
    for name, files in _read_samples(Path(folder)):
        waiting.append(decode_sample(files, name))
        if len(waiting) == batch_size:
            yield concatenate(waiting)
            waiting = []
    if waiting:
        yield concatenate(waiting)


def check_shards(folder: str | Path) -> int:
    """Compare every shard with its sha256 and return the number of samples; raises `InputError`."""
    root, samples = Path(folder), 0
    for name, entry in finished_shards(root).items():
        with reading(root / name, "a shard", "Check the disk."), open_regular(root / name) as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != entry["sha256"]:
                raise InputError(
                    f"{root / name} was changed since it was written: delete it and run the command that "
                    "made the set again."
                )
        samples += entry["counts"]["samples"]
    return samples


def contact_sheet_bytes(folder: Path) -> bytes:
    """Return a PNG with up to 64 stored pictures, taken at even distances over the set."""
    shards = finished_shards(folder)
    count = sum(entry["counts"]["samples"] for entry in shards.values())
    wanted = np.unique(np.linspace(0, count - 1, min(count, SHEET_SIDE**2)).round().astype(int))
    pictures, first = [], 0
    for name, entry in shards.items():
        last = first + entry["counts"]["samples"]
        keys = [f"{place:09d}" for place in wanted if first <= place < last]
        if keys:
            pictures += _pictures(folder / name, keys)
        first = last
    height, width = pictures[0].shape[:2]
    sheet = np.full((-(-len(pictures) // SHEET_SIDE) * height, SHEET_SIDE * width, 3), 255, np.uint8)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, SHEET_SIDE)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = picture
    stream = io.BytesIO()
    Image.fromarray(sheet).save(stream, "PNG")
    return stream.getvalue()


def _pictures(shard: Path, keys: list[str]) -> list[np.ndarray]:
    """Return the pictures of some samples of a shard."""
    pictures = []
    wanted = {f"{key}.{suffix}" for key in keys for suffix in ("jpg", "png")}
    with open_archive(shard) as archive:
        members = {member.name: member for member in headers(archive) if member.name in wanted}
        for key in keys:
            name = next(name for name in (f"{key}.jpg", f"{key}.png") if name in members)
            pictures.append(picture_of(read_file(archive, members[name], SAMPLE_BYTES)))
    return pictures


def _read_samples(folder: Path) -> Iterator[tuple[str, Files]]:
    """Yield every sample's name (for messages) and files."""
    for shard in finished_shards(folder):
        with open_archive(folder / shard) as archive:
            yield from _group(folder / shard, archive)


def _group(path: Path, archive: tarfile.TarFile) -> Iterator[tuple[str, Files]]:
    """Group neighbouring members of one key."""
    key, files = "", Files()
    for member in headers(archive):
        stem, _, suffix = member.name.partition(".")
        if stem != key and files:
            yield f"{path}:{brief_name(key)}", files
            files = Files()
        key = stem
        files[suffix] = read_file(archive, member, SAMPLE_BYTES - sum(map(len, files.values())))
    if files:
        yield f"{path}:{brief_name(key)}", files


def brief_name(key: str) -> str:
    """Return a sample's key for messages: as it is where it is one of ours."""
    return key if key.isdecimal() and len(key) < 20 else brief(key)


@contextmanager
def open_archive(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a shard; raises `InputError` with its path for whatever goes wrong while it is read."""
    with (
        reading(path, "a whole shard", REMEDY),
        open_regular(path) as stream,
        tarfile.open(fileobj=_Bounded(stream), mode="r:") as archive,
    ):
        yield archive


class _Bounded:
    """A shard's file whose single reads are bounded: headers of a tar may ask for any size."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= SAMPLE_BYTES:
            raise LimitError(f"it asks for {size:,} bytes at once, allowed are {SAMPLE_BYTES:,}")
        return self._stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def headers(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a shard, forgetting them; raises `ValueError` for one that leads backwards."""
    for member in archive:
        if member.size < 0 or archive.offset <= member.offset:  # tarfile would read it for ever
            raise ValueError(f"its {brief(member.name)} has no size")
        yield member
        vars(archive)["members"] = []  # kept by tarfile


def read_file(archive: tarfile.TarFile, member: tarfile.TarInfo, limit_bytes: int) -> bytes:
    """Return a regular file of a shard; raises `LimitError` for a large one, `ValueError` for a link."""
    if member.size > limit_bytes:
        raise LimitError(f"its {brief(member.name)} has {member.size:,} bytes, allowed are {limit_bytes:,}")
    stream = archive.extractfile(member) if member.isreg() and not member.issparse() else None
    if stream is None:
        raise ValueError(f"its {brief(member.name)} is no file")
    return stream.read()


def finished_shards(folder: Path) -> dict[str, Any]:
    """Return the shards' entries in their order; raises `InputError` for an unfinished set."""
    manifest = read_manifest(folder)
    shards: dict[str, Any] = dict(sorted(manifest["shards"].items()))
    samples = sum(entry["counts"]["samples"] for entry in shards.values())
    if samples != manifest["count"]:
        raise InputError(
            f"{folder} is unfinished: {samples} of {manifest['count']} samples. "
            "Run the command that made it again; it continues."
        )
    for name in shards:
        if not (folder / name).is_file():
            raise InputError(f"{folder / name} is missing. Run the command that made the set again.")
    return shards
