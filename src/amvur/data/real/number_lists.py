"""Large JSON lists of arrays (annotations of FreiHAND and HO3D), read row by row where they lie.

FreiHAND's training meshes are 1.5 GB of text: only the places of the rows are kept in memory, found from
brackets, and a row is decoded when it is asked for. At most `ROWS` rows take 16 bytes each (48 while they
are looked for), a row of at most `ROW_BYTES` 30 times its text; time is linear in the file's size.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from amvur.errors import InputError
from amvur.reading import LimitError, open_regular, parse_json, read_bytes, reading

_CHUNK = 1 << 20
_OPEN, _CLOSE = ord("["), ord("]")
_HEAD, _GAP, _TAIL = (re.compile(p) for p in (rb"(?:\xef\xbb\xbf)?\s*\[\s*", rb"\s*,\s*", rb"\s*\]\s*"))
_LONGEST = 4096
"""Bytes that may lie between rows; more is no layout that anybody writes."""
ROWS, ROW_BYTES, NUMBERS_BYTES = 1_000_000, 2**20, 2**24
"""Rows of a list, bytes of a row (one of 778 vertices has 60,000), bytes of a flat list of numbers."""
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
        with reading(path, "a list of lists of numbers", AGAIN), open_regular(path) as file:
            self._places = _find_rows(file, path)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._places)

    def __getitem__(self, index: int) -> Float64[np.ndarray, "..."]:
        """Return row `index`; raises `InputError` that names file and row if it is not finite numbers."""
        start, end = self._places[index]
        with (
            reading(f"{self.path}: entry {index}", "a list of numbers", AGAIN),
            open_regular(self.path) as file,
        ):
            if end - start > ROW_BYTES:
                raise LimitError(f"it has {end - start:,} bytes, allowed are {ROW_BYTES:,}")
            file.seek(start)
            row = numbers_of(file.read(end - start)).squeeze()
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
    with reading(path, "one list of numbers, or is cut off", AGAIN):
        values = numbers_of(read_bytes(path, NUMBERS_BYTES))
    if values.dtype.kind not in "iuf" or values.squeeze().ndim > 1:
        raise InputError(f"{path} should be one list of numbers, found something else. {AGAIN}")
    if not np.isfinite(values).all():
        raise InputError(f"{path} has values that are not finite (NaN or infinite). {AGAIN}")
    return values.reshape(-1).astype(np.float64)


def sha256_of(path: Path) -> str:
    """Return the hash of a file's bytes; raises `InputError`."""
    digest = hashlib.sha256()
    with reading(path, "a file", "Check the path."), open_regular(path) as file:
        for chunk in _chunks(file):
            digest.update(chunk)
    return digest.hexdigest()


def numbers_of(text: bytes) -> np.ndarray:
    """Return nested lists of numbers in JSON as an array, objects where there are texts; raises `ValueError`.

    A text would make all others of its list as long as itself.
    """
    return np.empty(0, object) if b'"' in text else np.asarray(parse_json(text))


def _find_rows(file: io.BufferedIOBase, path: Path) -> Int64[np.ndarray, "N 2"]:
    """Return where rows begin and end: brackets of the second level."""
    starts, ends, depth, offset, rows = [], [], 0, 0, 0
    for chunk in _chunks(file):
        data = np.frombuffer(chunk, np.uint8)
        opening = data == _OPEN
        at = np.flatnonzero(opening | (data == _CLOSE))
        opens = opening[at]
        rows += int(np.count_nonzero(opens))
        if rows > 100 * ROWS:
            raise LimitError(f"it holds more than {100 * ROWS:,} lists")
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
    if len(first) > ROWS:
        raise LimitError(f"it has {len(first):,} entries, allowed are {ROWS:,}")
    places = np.stack([first, last], 1) if len(first) == len(last) else np.zeros((0, 2), np.int64)
    _check_between(file, places, offset, path)
    return places


def _check_between(file: io.BufferedIOBase, places: Int64[np.ndarray, "N 2"], size: int, path: Path) -> None:
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


def _chunks(file: io.BufferedIOBase) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk
