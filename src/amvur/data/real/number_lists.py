"""Large JSON lists of arrays (annotations of FreiHAND and HO3D), read row by row where they lie.

FreiHAND's training meshes are 1.5 GB of text: only the places of the rows are kept in memory, found from
brackets, and a row is decoded when it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float64, Int64

from amvur.errors import InputError

_CHUNK = 1 << 20
_OPEN, _CLOSE = ord("["), ord("]")
_HEAD, _GAP, _TAIL = (re.compile(p) for p in (rb"(?:\xef\xbb\xbf)?\s*\[\s*", rb"\s*,\s*", rb"\s*\]\s*"))
_LONGEST = 4096
"""Bytes that may lie between rows; more is no layout that anybody writes."""
AGAIN = "Copy or download it again."


class NumberLists:
    """A JSON file that is one list of arrays of the same shape; kept is one place a row.

    Can be pickled (for workers that load samples); the file is opened anew for every row.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        """Find the rows of `path`; axes of length 1 do not count in `shape`.

        Raises `InputError` if the file cannot be read, is cut off or is no list of lists. What is in the
        rows is not looked at yet.
        """
        self.path, self.shape = path, shape
        try:
            with path.open("rb") as file:
                self._places = _find_rows(file, path)
        except OSError as error:
            raise InputError(f"Cannot read {path}: {error.strerror or error}. Check the path.") from error

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._places)

    def __getitem__(self, index: int) -> Float64[np.ndarray, "..."]:
        """Return row `index`; raises `InputError` that names file and row if it is not finite numbers."""
        start, end = self._places[index]
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                row = np.asarray(json.loads(file.read(end - start))).squeeze()
        except (OSError, ValueError, RecursionError) as error:  # also rows of different lengths
            raise InputError(f"{self.path}: entry {index} cannot be read ({error}). {AGAIN}") from error
        if row.dtype.kind not in "iuf" or row.shape != self.shape:
            found = " × ".join(map(str, row.shape)) if row.dtype.kind in "iuf" else "something else"
            wanted = " × ".join(map(str, self.shape))
            raise InputError(f"{self.path}: entry {index} should be {wanted} numbers, found {found}. {AGAIN}")
        if not np.isfinite(row).all():
            raise InputError(
                f"{self.path}: entry {index} has values that are not finite (NaN or infinite). "
                f"{AGAIN} If it is so in the original, leave this sample out."
            )
        return row.astype(np.float64, copy=False)


def read_numbers(path: Path) -> Float64[np.ndarray, "N"]:
    """Return a JSON file that is one flat list of numbers; raises `InputError`."""
    try:
        values = np.asarray(json.loads(path.read_bytes()))
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}. Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is cut off or is no JSON ({error}). {AGAIN}") from error
    if values.dtype.kind not in "iuf" or values.squeeze().ndim > 1:
        raise InputError(f"{path} should be one list of numbers, found something else. {AGAIN}")
    if not np.isfinite(values).all():
        raise InputError(f"{path} has values that are not finite (NaN or infinite). {AGAIN}")
    return values.reshape(-1).astype(np.float64)


def sha256_of(path: Path) -> str:
    """Return the hash of a file's bytes; raises `InputError`."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for chunk in _chunks(file):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}. Check the path.") from error
    return digest.hexdigest()


def _find_rows(file: BinaryIO, path: Path) -> Int64[np.ndarray, "N 2"]:
    """Return where rows begin and end: brackets of the second level."""
    starts, ends, depth, offset = [], [], 0, 0
    for chunk in _chunks(file):
        data = np.frombuffer(chunk, np.uint8)
        opening = data == _OPEN
        at = np.flatnonzero(opening | (data == _CLOSE))
        opens = opening[at]
        after = depth + np.cumsum(np.where(opens, 1, -1))
        starts.append(at[opens & (after == 2)] + offset)
        ends.append(at[~opens & (after == 1)] + offset + 1)
        depth = int(after[-1]) if len(after) else depth
        offset += len(chunk)
    first, last = (np.concatenate([np.zeros(0, np.int64), *x]) for x in (starts, ends))
    if depth > 0:
        raise InputError(
            f"{path} is cut off after {len(last)} entries ({offset:,} bytes): its list does not end. {AGAIN}"
        )
    places = np.stack([first, last], 1) if len(first) == len(last) else np.zeros((0, 2), np.int64)
    _check_between(file, places, offset, path)
    return places


def _check_between(file: BinaryIO, places: Int64[np.ndarray, "N 2"], size: int, path: Path) -> None:
    """Raise `InputError` if anything but rows is in the list, which would shift all rows behind it."""
    if not len(places):
        raise InputError(f"{path} is no list of lists of numbers. {AGAIN}")
    # a comma and at most one space cannot hide anything; other gaps (indented files) are looked at
    odd = np.flatnonzero(places[1:, 0] - places[:-1, 1] > 2)
    between = [(_GAP, int(places[i, 1]), int(places[i + 1, 0]), i + 1) for i in odd]
    ends = [(_HEAD, 0, int(places[0, 0]), 0), (_TAIL, int(places[-1, 1]), size, len(places))]
    for pattern, start, end, row in ends + between:
        file.seek(start)
        found = file.read(min(end - start, _LONGEST))
        if end - start > _LONGEST or not pattern.fullmatch(found):
            raise InputError(
                f"{path}: before entry {row} (byte {start:,}) stands {found[:40]!r}, which is no list of "
                f"numbers. {AGAIN}"
            )


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk
