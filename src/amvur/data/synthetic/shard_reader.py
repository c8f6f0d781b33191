"""Reading shards that `amvur synthesize` wrote: batches, a check of every byte, a contact sheet."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from amvur.data.samples import HandBatch, concatenate
from amvur.data.synthetic.records import Files, decode_sample, picture_of
from amvur.errors import InputError

MANIFEST = "manifest.json"
SCHEMA = "amvur-shards/1"
SHEET_SIDE = 8
"""Pictures along each side of a contact sheet."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a folder's manifest; raises `InputError` if there is none or it is damaged."""
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} has no {MANIFEST}, so it is no set that `amvur synthesize` wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}). Make the set again in another folder.") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise InputError(f"{path} is no manifest of {SCHEMA}. Make the set again with this version.")
    return manifest


def read_shards(folder: str | Path, batch_size: int = 64) -> Iterator[HandBatch]:
    """Yield all samples of a finished set in their order; batches may reach over shards.

    Pictures are the stored ones (JPEG or PNG); labels are exact to float32, colors to 0.00025. Raises
    `InputError` if the set is unfinished, or a shard is missing or damaged.
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
        with open_shard(root / name) as stream:
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
    with open_shard(shard) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        members = {member.name: member for member in archive}
        pictures = []
        for key in keys:
            name = next(name for name in (f"{key}.jpg", f"{key}.png") if name in members)
            file = archive.extractfile(members[name])
            assert file is not None
            pictures.append(picture_of(file.read()))
    return pictures


def _read_samples(folder: Path) -> Iterator[tuple[str, Files]]:
    """Yield every sample's name (for messages) and files."""
    for shard in finished_shards(folder):
        path = folder / shard
        try:
            with open_shard(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
                yield from _group(path, archive)
        except (tarfile.TarError, EOFError) as error:
            raise InputError(
                f"{path} is damaged ({error}): delete it and run the command that made the set again."
            ) from error


def _group(path: Path, archive: tarfile.TarFile) -> Iterator[tuple[str, Files]]:
    """Group neighbouring members of one key."""
    key, files = "", Files()
    for member in archive:
        stem, _, suffix = member.name.partition(".")
        if stem != key and files:
            yield f"{path}:{key}", files
            files = Files()
        stream = archive.extractfile(member)
        key = stem
        files[suffix] = b"" if stream is None else stream.read()
    if files:
        yield f"{path}:{key}", files


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


def open_shard(path: Path) -> Any:
    """Open a shard; raises `InputError` with its path."""
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Check the disk.") from error
