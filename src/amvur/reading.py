"""Reading files that may hold anything: bounded before anything is read or built, with errors of our own.

Every reader goes through here. `reading` turns whatever a library raises into an error that names the
file; `read_bytes`, `read_json` and `read_npz` look at sizes first. A bound is in bytes of what is *made*:
bytes and arrays take their own size, JSON as Python's values up to 30 times the file's.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import reprlib
import stat
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from amvur.errors import AmvurError, InputError

JSON_BYTES = 64 * 2**20
"""The largest JSON file that is read whole; ours have less than a hundredth of it."""
ARRAY_BYTES = 256 * 2**20
"""The largest arrays, all of a file together, that are made from an .npz."""

npy: Any = npy_format  # has no types in numpy 1.26

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
    """Say in a bounded time and length what an exception says, in one line."""
    if all(isinstance(arg, str | int | bytes) for arg in cause.args):
        text = " ".join(str(cause)[:200].split())
    else:  # str() of a KeyError is the repr of its key, whatever that is
        text = ", ".join(brief(arg) for arg in cause.args[:2])
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
        return stream.read(limit_bytes)


def parse_json(data: bytes | str) -> Any:
    """Return the value of a JSON text; raises `ValueError`, or `RecursionError` where it nests too deep."""
    return json.loads(data)


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


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit_bytes: int) -> bytes:
    """Return a zip's member unpacked; `LimitError` where it states or turns out to have more bytes."""
    if info.file_size > limit_bytes:
        raise LimitError(
            f"its {brief(info.filename)} has {info.file_size:,} bytes, allowed are {limit_bytes:,}"
        )
    with archive.open(info) as stream:
        data = stream.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise LimitError(f"its {brief(info.filename)} has more than the {limit_bytes:,} bytes allowed")
    return data


def _arrays(stream: IO[bytes], limit_bytes: int, names: Collection[str] | None) -> dict[str, np.ndarray]:
    """Read the members of an open .npz, each charged to one budget."""
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(stream) as archive:
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
    if dtype.hasobject or not dtype.itemsize or math.prod(shape) * dtype.itemsize != rest:
        raise ValueError(f"an array {brief(shape)} of {brief(str(dtype))} does not fit its {rest:,} bytes")
    stream.seek(0)
    return np.asarray(npy.read_array(stream, allow_pickle=False))
