"""Reads pickles of plain data and arrays without running anything that the pickle names.

A pickle is a program: it names functions and calls them. Here a name is never imported but looked up in
an allow-list of our own harmless classes, which only record what they are given (`pickle_records.py`);
what is not in the list is refused. The opcodes are scanned first, so that a damaged or hostile file
cannot make the unpickler reserve memory that the file does not hold.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from amvur.errors import AmvurError, ModelFileError
from amvur.hand.pickle_records import (
    ArrayRecord,
    ChumpyRecord,
    ChumpySelectRecord,
    CscRecord,
    DtypeRecord,
    EmptyBytes,
    EncodeLatin1,
    MakeArray,
    MakeArrayFromBuffer,
    MakeObject,
    MakeScalar,
    MakeSet,
    ObjectMarker,
    RecordError,
    Resolver,
)

Global = tuple[str, str]
AllowList = Mapping[Global, object]
"""(module, name) as written in the pickle → our stand-in for it."""

PLAIN_ALLOWED: AllowList = {
    ("numpy", "ndarray"): ArrayRecord,
    ("numpy", "dtype"): DtypeRecord,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")  # numpy 2 renamed numpy.core
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", MakeArray()),
            ("multiarray", "scalar", MakeScalar()),
            ("numeric", "_frombuffer", MakeArrayFromBuffer()),
        )
    },
    ("_codecs", "encode"): EncodeLatin1(),
    ("__builtin__", "bytes"): EmptyBytes(),
    ("builtins", "bytes"): EmptyBytes(),
    ("__builtin__", "set"): MakeSet(),
    ("builtins", "set"): MakeSet(),
    ("__builtin__", "object"): ObjectMarker,
    ("builtins", "object"): ObjectMarker,
    ("copy_reg", "_reconstructor"): MakeObject(),
    ("copyreg", "_reconstructor"): MakeObject(),
}
"""Dictionaries, lists, strings, numbers and numpy arrays: data sets' metadata."""

MANO_ALLOWED: AllowList = {
    **PLAIN_ALLOWED,
    ("chumpy.ch", "Ch"): ChumpyRecord,
    ("chumpy.reordering", "Select"): ChumpySelectRecord,
    ("scipy.sparse.csc", "csc_matrix"): CscRecord,
    ("scipy.sparse._csc", "csc_matrix"): CscRecord,
    ("scipy.sparse", "csc_matrix"): CscRecord,
}
"""`PLAIN_ALLOWED` and the classes found in MANO's files (`formats.md` §3)."""

DEFAULT_REMEDY = "Use the file as its authors distribute it; if it is that one, report this message."


@dataclass(frozen=True)
class PickleLimits:
    """How large a pickle may be: bytes of the file, opcodes, and bytes of the arrays made from it.

    The opcode limit also bounds how deep values nest.
    """

    file_bytes: int = 64 * 2**20
    opcodes: int = 20_000
    array_bytes: int = 256 * 2**20


DEFAULT_LIMITS = PickleLimits()


def load_pickle(
    path: str | Path,
    allowed: AllowList = PLAIN_ALLOWED,
    *,
    remedy: str = DEFAULT_REMEDY,
    limits: PickleLimits = DEFAULT_LIMITS,
    error: type[AmvurError] = ModelFileError,
) -> object:
    """Return the value pickled in `path`; arrays are numpy's, text of Python 2 is read as latin-1.

    Raises `error`, naming the file and ending with `remedy`, if the file is missing, too large,
    damaged or cut short, or if it names anything outside `allowed`; nothing in it is ever run.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > limits.file_bytes:
            raise RecordError(f"it has {size} bytes, more than the {limits.file_bytes} allowed")
        data = path.read_bytes()
    except OSError as cause:
        raise error(f"Cannot read {path}: {cause.strerror or cause}. Check the path.") from cause
    except RecordError as cause:
        raise error(f"{path} is not used: {cause}. {remedy}") from cause
    return loads(data, str(path), allowed, remedy=remedy, limits=limits, error=error)


def loads(
    data: bytes,
    source: str,
    allowed: AllowList = PLAIN_ALLOWED,
    *,
    remedy: str = DEFAULT_REMEDY,
    limits: PickleLimits = DEFAULT_LIMITS,
    error: type[AmvurError] = ModelFileError,
) -> object:
    """Return the value pickled in `data`, called `source` in messages: see `load_pickle`."""
    try:
        _check_opcodes(data, limits)
        recorded = _RestrictedUnpickler(data, allowed).load()
        return Resolver(limits.array_bytes).resolve(recorded)
    except RefusedGlobalError as cause:
        raise error(
            f"{source} is refused: it names {cause}, which is not on the list of harmless data types. "
            f"Nothing in it was run. {remedy}"
        ) from cause
    except RecordError as cause:
        raise error(f"{source} is refused: {cause}. {remedy}") from cause
    except Exception as cause:  # the unpickler lets nearly every built-in error through
        detail = f"{type(cause).__name__}: {cause}"
        raise error(
            f"{source} is no readable pickle; it may be damaged or cut short ({detail}). {remedy}"
        ) from cause


class RefusedGlobalError(Exception):
    """A pickle names a function or class that is not in the allow-list."""


class _RestrictedUnpickler(pickle.Unpickler):
    """Looks every name up in an allow-list; imports nothing."""

    def __init__(self, data: bytes, allowed: AllowList) -> None:
        """Read `data` with Python 2's byte strings as latin-1."""
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> object:
        """Return our stand-in for `module.name`; a dotted name is one string and so never a path."""
        if (module, name) not in self._allowed:
            raise RefusedGlobalError(f"'{module}.{name}'")
        return self._allowed[module, name]

    def persistent_load(self, pid: object) -> NoReturn:
        """Refuse references to data outside the file."""
        raise RecordError("it refers to data outside itself (a persistent id)")


@dataclass(frozen=True)
class _Opcode:
    name: str
    number: int | None
    """The fixed-width or decimal argument, where that is what the opcode has."""


def _check_opcodes(data: bytes, limits: PickleLimits) -> None:
    """Refuse what would make the C unpickler reserve or do far more than the file's size warrants.

    Its memo grows to twice the largest index named, so indices must be possible for so many opcodes;
    extension codes are refused because they bypass `find_class` once some module has cached them.
    """
    for count, opcode in enumerate(_scan(data), start=1):
        if count > limits.opcodes:
            raise RecordError(f"it has more than {limits.opcodes} opcodes")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= (opcode.number or 0) <= len(data):
            raise RecordError(f"it stores a value at the impossible place {opcode.number}")
        if opcode.name in ("EXT1", "EXT2", "EXT4"):
            raise RecordError("it uses a registered extension code")


def _scan(data: bytes) -> Iterator[_Opcode]:
    """Yield the opcodes up to STOP; `ValueError` if one is unknown or reaches beyond the data.

    `pickletools.genops` would do, but decodes texts as ASCII and so fails on arrays of Python 2.
    """
    position = 0
    while True:
        info = _OPCODES.get(data[position : position + 1].decode("latin1"))
        if info is None:
            what = "ends before its end mark" if position >= len(data) else "holds an unknown opcode"
            raise ValueError(f"the pickle {what} at byte {position} of {len(data)}")
        start, position = position + 1, _end_of_argument(data, info, position + 1)
        yield _Opcode(info.name, _number(data[start:position], info))
        if info.name == "STOP":
            return


def _end_of_argument(data: bytes, info: pickletools.OpcodeInfo, start: int) -> int:
    """Return where the argument of an opcode ends that begins at `start`."""
    if info.arg is None:
        return start
    length = info.arg.n
    if length == pickletools.UP_TO_NEWLINE:
        end = start
        for _ in range(2 if info.name in ("GLOBAL", "INST") else 1):
            end = data.index(b"\n", end) + 1
        return end
    if length < 0:
        width = _LENGTH_WIDTH[length]
        length = width + int.from_bytes(data[start : start + width], "little")
    if start + length > len(data):
        raise ValueError(f"the pickle wants {length} bytes at byte {start} of {len(data)}")
    return start + length


_OPCODES = {info.code: info for info in pickletools.opcodes}
_LENGTH_WIDTH = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


def _number(argument: bytes, info: pickletools.OpcodeInfo) -> int | None:
    """Return the index that a memo opcode names, None for any other."""
    if info.name == "PUT":
        return int(argument)
    return int.from_bytes(argument, "little") if info.name in ("BINPUT", "LONG_BINPUT") else None
