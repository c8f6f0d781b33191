"""Reading files that may hold anything: bounded before anything is read or built, with errors of our own.

Every reader goes through here. `reading` turns whatever a library raises into an error that names the
file; `read_bytes`, `read_json`, `read_npz` and `read_tensors` look at sizes first. Memory: bytes take their
own size, arrays and tensors up to three times the stated bytes while they are made, JSON the file's size
and at most 250 bytes for each of its values. Time is linear in these.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import reprlib
import stat
import sys
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy_format

from amvur.errors import AmvurError, InputError

JSON_BYTES = 64 * 2**20
"""The largest JSON file that is read whole; ours have less than a hundredth of it."""
JSON_VALUES, JSON_DEPTH = 2_000_000, 100
"""How many values a JSON file may hold, and how deep they may nest; no writer or printer recurses deeper."""
ARRAY_BYTES = 256 * 2**20
"""The largest arrays, all of a file together, that are made from an .npz."""

TENSOR_HEADER_BYTES, ZIP_DIRECTORY_BYTES = 2**22, 2**20
"""The largest list of tensors (of a safetensors file) and of members (of a zip) that is read."""

npy: Any = npy_format  # has no types in numpy 1.26

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)

_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxstring, _BRIEF.maxother = 3, 60, 60


class LimitError(ValueError):
    """A file asks for more than its reader allows."""


def brief(value: object, longest: int = 100) -> str:
    """Describe any value in a bounded time and length; `repr` of a few bytes of pickle can take for ever."""
    try:
        text = _BRIEF.repr(value)
    except Exception:  # a number of more digits than Python prints, a class without a usable repr
        text = f"a {type(value).__name__}"
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


@contextmanager
def reading(source: object, what: str, remedy: str, error: type[AmvurError] = InputError) -> Iterator[None]:
    """Raise `error`, which names `source` and ends with `remedy`, for whatever goes wrong meanwhile.

    `what` says what was wanted, such as "a report of amvur". Errors of our own pass unchanged, and so do
    Ctrl-C and the end of a generator.
    """
    try:
        yield
    except (AmvurError, GeneratorExit, KeyboardInterrupt, SystemExit):
        raise
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as cause:
        remedy = remedy if remedy.startswith("Check") else f"Check the path. {remedy}"
        raise error(f"Cannot read {source}: {cause.strerror or reason(cause)}. {remedy}") from cause
    except OSError as cause:
        if cause.errno is None:  # a library's, about what the file holds
            raise error(f"{source} is damaged or not {what} ({reason(cause)}). {remedy}") from cause
        raise error(f"Cannot read {source}: {cause.strerror or cause}. {remedy}") from cause
    except MemoryError as cause:
        raise error(f"{source} asks for more memory than there is. {remedy}") from cause
    except RecursionError:
        raise error(f"{source} is damaged or not {what} (its values nest too deep). {remedy}") from None
    except LimitError as cause:
        raise error(f"{source} is not read: {cause}. {remedy}") from cause
    except Exception as cause:
        raise error(f"{source} is damaged or not {what} ({reason(cause)}). {remedy}") from cause


def reason(cause: BaseException) -> str:
    """Say in a bounded time and length what an exception says, in one printable line."""
    args = cause.args
    if isinstance(cause, UnicodeError) or all(isinstance(arg, str) and len(arg) < 10_000 for arg in args):
        text = " ".join(str(cause)[:200].split())
    else:  # str() of a KeyError is the repr of its key, whatever that is
        text = ", ".join(brief(arg) for arg in args[:2])
    text = "".join(letter if letter.isprintable() else "�" for letter in text)
    name = type(cause).__name__
    return (
        f"{name}: {text}" if isinstance(cause, LookupError | TypeError | AttributeError) or not text else text
    )


@contextmanager
def open_regular(path: Path) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading; a pipe, socket or device is an `OSError` at once, and never waits."""
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "the path holds a NUL character")
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as stream:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):  # what opening raises on Windows is another error
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe, socket or device and no regular file")
        yield stream


def read_bytes(path: Path, limit_bytes: int) -> bytes:
    """Return a file's bytes; `LimitError` if it has more than `limit_bytes`, `OSError` if unreadable."""
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit_bytes:
            raise LimitError(f"it has {size:,} bytes, more than the {limit_bytes:,} allowed")
        return stream.read(size)  # as much room is made as is asked for


def parse_json(data: bytes | str) -> Any:
    """Return the value of a JSON text; raises `ValueError`, `LimitError` for too many or too deep values."""
    data = data.encode() if isinstance(data, str) else data
    if sum(map(data.count, (b",", b"[", b"{"))) > JSON_VALUES:
        raise LimitError(f"it holds more than {JSON_VALUES:,} values")
    # strings may hold brackets: they are only looked for where all brackets together nest too deep
    if _depth(data) > JSON_DEPTH and _depth(_STRING.sub(b"", data)) > JSON_DEPTH:
        raise LimitError(f"its values nest more than {JSON_DEPTH} deep")
    return json.loads(data)


def _depth(data: bytes) -> int:
    """Return how deep brackets nest."""
    deepest = depth = 0
    for start in range(0, len(data), 2**20):
        letters = np.frombuffer(data, np.uint8, min(2**20, len(data) - start), start) | 0x20  # [ and { alike
        steps = np.cumsum((letters == ord("{")).astype(np.int32) - (letters == ord("}")))
        deepest, depth = max(deepest, depth + int(steps.max())), depth + int(steps[-1])
    return deepest


def read_json(
    path: Path,
    what: str,
    remedy: str,
    error: type[AmvurError] = InputError,
    limit_bytes: int = JSON_BYTES,
) -> dict[str, Any]:
    """Return the object in a JSON file of at most `limit_bytes`; raises `error` as `reading` does."""
    with reading(path, what, remedy, error):
        value = parse_json(read_bytes(path, limit_bytes))
        if not isinstance(value, dict):
            raise ValueError(f"it holds a {type(value).__name__} where an object was wanted")
        return value


def read_npz(
    source: Path | bytes, limit_bytes: int = ARRAY_BYTES, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz (all, or those of `names` that it has) of at most `limit_bytes` together.

    Nothing is unpickled. Every member's stated size is compared with its own header before it is read, so
    that a few bytes cannot ask for gigabytes. Raises what `zipfile` and numpy raise, and `LimitError`.
    """
    if isinstance(source, bytes):
        return _arrays(io.BytesIO(source), limit_bytes, names)
    with open_regular(source) as stream:
        return _arrays(stream, limit_bytes, names)


def read_tensors(
    path: Path, framework: Literal["np", "pt"], limit_bytes: int, names: Collection[str] | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the tensors of a safetensors file (all, or those of `names`) and its notes.

    Raises `LimitError` for a file of more than `limit_bytes` or with too long a list of tensors, `OSError`,
    and what safetensors raises.
    """
    from safetensors import safe_open

    check_tensors(path, limit_bytes)
    with safe_open(path, framework) as file:
        tensors = {name: file.get_tensor(name) for name in (file.keys() if names is None else names)}
        return tensors, dict(file.metadata() or {})


def check_tensors(path: Path, limit_bytes: int) -> None:
    """Raise `LimitError` for a safetensors file of more than `limit_bytes` or with too long a header."""
    with open_regular(path) as stream:
        size, header = os.fstat(stream.fileno()).st_size, int.from_bytes(stream.read(8), "little")
    if size > limit_bytes:
        raise LimitError(f"it has {size:,} bytes, more than the {limit_bytes:,} allowed")
    if header > TENSOR_HEADER_BYTES:
        raise LimitError(f"its header would have {header:,} bytes, allowed are {TENSOR_HEADER_BYTES:,}")


class _ZipStream:
    """A file whose single reads are bounded, so that a zip's directory is before it is read."""

    def __init__(self, stream: io.BufferedIOBase, limit_bytes: int) -> None:
        self._stream, self.limit_bytes = stream, limit_bytes

    def read(self, size: int = -1) -> bytes:
        if size > self.limit_bytes:
            raise LimitError(f"its directory would have {size:,} bytes, allowed are {self.limit_bytes:,}")
        return self._stream.read(self.limit_bytes if size < 0 else size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def open_zip(source: io.BufferedIOBase) -> Iterator[zipfile.ZipFile]:
    """Open a zip for reading; raises `LimitError` for a directory of more than `ZIP_DIRECTORY_BYTES`."""
    stream = _ZipStream(source, ZIP_DIRECTORY_BYTES)
    with zipfile.ZipFile(stream) as archive:
        stream.limit_bytes = 2**62
        yield archive


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit_bytes: int) -> bytes:
    """Return a zip's member unpacked; `LimitError` where it states or turns out to have more bytes.

    Stored and deflated ones only: `zipfile` unpacks others without a bound, 4 KB to gigabytes.
    """
    if info.file_size > limit_bytes:
        raise LimitError(
            f"its {brief(info.filename)} has {info.file_size:,} bytes, allowed are {limit_bytes:,}"
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise LimitError(f"its {brief(info.filename)} is packed in a way that is not read (wanted: deflate)")
    with archive.open(info) as stream:
        data = stream.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise ValueError(f"its {brief(info.filename)} has {len(data):,} of {info.file_size:,} bytes")
    return data


def _arrays(
    stream: io.BufferedIOBase, limit_bytes: int, names: Collection[str] | None
) -> dict[str, np.ndarray]:
    """Read the members of an open .npz, each charged to one budget."""
    arrays: dict[str, np.ndarray] = {}
    with open_zip(stream) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if names is None or name in names:
                data = read_member(archive, info, limit_bytes)
                limit_bytes -= len(data)
                arrays[name] = _array(data)
    return arrays


def _array(data: bytes) -> np.ndarray:
    """Return the array in the bytes of a .npy file, whose header must ask for just what follows it."""
    stream = io.BytesIO(data)
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    rest = len(data) - stream.tell()
    if dtype.kind not in "biufSU" or not dtype.itemsize or math.prod(shape) * dtype.itemsize != rest:
        raise ValueError(f"an array {brief(shape)} of {brief(str(dtype))} does not fit its {rest:,} bytes")
    check_letters(data[stream.tell() :], dtype)
    stream.seek(0)
    return np.asarray(npy.read_array(stream, allow_pickle=False))


def check_letters(data: bytes | bytearray, dtype: np.dtype[np.generic]) -> None:
    """Raise `ValueError` for an array of texts whose raw bytes are no letters: numpy could not print it."""
    if dtype.kind == "U":
        codes = np.frombuffer(data, f"{dtype.byteorder}u4")
        if codes.size and int(codes.max()) > sys.maxunicode:
            raise ValueError("it holds a text of no letters")
