"""Reads pickles of plain data and arrays without running anything that the pickle names.

A pickle is a program: it names functions and calls them. Here a name is never imported but looked up in
an allow-list of our own harmless classes, which only record what they are given (`pickle_records.py`);
what is not in the list is refused. The opcodes are scanned first, so that a damaged or hostile file
cannot make the unpickler reserve memory that the file does not hold. Only plain values become keys or
items of sets: a few bytes can describe a tuple whose hash takes for ever.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

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
    MakeNothing,
    MakeObject,
    MakeScalar,
    MakeSet,
    ObjectMarker,
    OrderedRecord,
    Record,
    RecordError,
    Resolver,
    Stateless,
    check_keys,
)
from amvur.reading import brief, read_bytes, reading

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

TENSORS_ALLOWED: AllowList = {
    ("torch._utils", "_rebuild_tensor_v2"): MakeNothing(),
    ("torch._utils", "_rebuild_parameter"): MakeNothing(),
    ("collections", "OrderedDict"): OrderedRecord,
    **{
        ("torch", f"{kind}Storage"): ObjectMarker
        for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
    },
}
"""What the pickle in a file of torch's names, for `check_pickle`."""

DEFAULT_REMEDY = "Use the file as its authors distribute it; if it is that one, report this message."


@dataclass(frozen=True)
class PickleLimits:
    """How large a pickle may be: bytes of the file, opcodes, and bytes of what is made from it.

    The opcode limit also bounds how deep values nest. Reading takes at most eight times the file's bytes
    (texts are decoded) beside three times `array_bytes`, and time in proportion.
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
    with reading(path, "a pickle of plain data", remedy, error):
        data = read_bytes(Path(path), limits.file_bytes)
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
    with reading(source, "a readable pickle, perhaps cut short", remedy, error):
        try:
            _check_opcodes(data, limits)
            recorded = _RestrictedUnpickler(data, allowed, limits.array_bytes).load()
            return Resolver(limits.array_bytes).resolve(recorded)
        except RefusedGlobalError as cause:
            raise error(
                f"{source} is refused: it names {cause}, which is not on the list of harmless data types. "
                f"Nothing in it was run. {remedy}"
            ) from cause
        except RecordError as cause:
            raise error(f"{source} is refused: {cause}. {remedy}") from cause


def check_pickle(data: bytes, allowed: AllowList, limits: PickleLimits | None = None) -> None:
    """Raise an error of this module unless another reader can be trusted with the pickle `data`.

    It names nothing but `allowed`, its keys are plain, and it is small when written out. References to data
    outside of it are let through.
    """
    limits = limits or PickleLimits(opcodes=200_000)
    _check_opcodes(data, limits)
    recorded = _RestrictedUnpickler(data, allowed, limits.array_bytes, refers_outside=True).load()
    Resolver(limits.array_bytes).resolve(recorded)


class RefusedGlobalError(Exception):
    """A pickle names a function or class that is not in the allow-list."""


def _with_plain_keys(load: Callable[[Any], None], step: int) -> Callable[[Any], None]:
    """Return an opcode's action with a check of the keys first, every `step`-th value since the mark."""

    def checked(unpickler: Any) -> None:
        check_keys(unpickler.stack[::step])
        load(unpickler)

    return checked


_PythonUnpickler: Any = pickle._Unpickler
"""Python's own unpickler in Python: that in C hashes keys where nobody can look at them before."""


class _RestrictedUnpickler(_PythonUnpickler):  # type: ignore[misc]
    """Looks every name up in an allow-list and imports nothing; keys are plain; calls are paid for."""

    dispatch: ClassVar = dict(_PythonUnpickler.dispatch)

    def __init__(
        self, data: bytes, allowed: AllowList, budget_bytes: int, *, refers_outside: bool = False
    ) -> None:
        """Read `data` with Python 2's byte strings as latin-1; calls may copy `budget_bytes` together."""
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._allowed, self._budget, self._refers_outside = allowed, budget_bytes, refers_outside

    def find_class(self, module: str, name: str) -> object:
        """Return our stand-in for `module.name`; a dotted name is one string and so never a path."""
        if (module, name) not in self._allowed:
            raise RefusedGlobalError(brief(f"{module}.{name}"))
        return self._allowed[module, name]

    def persistent_load(self, pid: object) -> None:
        """Refuse references to data outside the file, or take None for them."""
        if not self._refers_outside:
            raise RecordError("it refers to data outside itself (a persistent id)")

    def _call(self) -> None:
        """Charge for what a call is given, which it may copy, and let it happen."""
        for value in self.stack[-1][:4]:
            if isinstance(value, str | bytes | bytearray | list):
                self._budget -= len(value) * (_ITEM_BYTES if isinstance(value, list) else 1)
        if self._budget < 0:
            raise RecordError("its calls make more than is allowed")
        _PythonUnpickler.dispatch[pickle.REDUCE[0]](self)

    def _build(self) -> None:
        """Give state to records; classes and functions refuse it themselves."""
        if not isinstance(self.stack[-2], Record | OrderedRecord | Stateless | type):
            raise RecordError(f"it gives state to a {type(self.stack[-2]).__name__}")
        _PythonUnpickler.dispatch[pickle.BUILD[0]](self)

    def _set_item(self) -> None:
        check_keys(self.stack[-2:-1])
        _PythonUnpickler.dispatch[pickle.SETITEM[0]](self)

    dispatch |= {
        pickle.REDUCE[0]: _call,
        pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _set_item,
        **{
            code[0]: _with_plain_keys(_PythonUnpickler.dispatch[code[0]], step)
            for code, step in (
                (pickle.DICT, 2),
                (pickle.SETITEMS, 2),
                (pickle.ADDITEMS, 1),
                (pickle.FROZENSET, 1),
            )
        },
    }

    def _instantiate(self, klass: object, args: object) -> NoReturn:
        """Refuse instances of Python 2's old classes, which are made by a call."""
        raise RecordError("it holds an instance of an old class")


@dataclass(frozen=True)
class _Opcode:
    name: str
    number: int | None
    """The place that a memo opcode names."""
    length: int
    """Bytes of the argument."""


def _check_opcodes(data: bytes, limits: PickleLimits) -> None:
    """Refuse what would make an unpickler reserve or do far more than the file's size warrants.

    Extension codes are refused because they bypass `find_class` once some module has cached them.
    """
    for count, opcode in enumerate(_scan(data), start=1):
        if count > limits.opcodes:
            raise RecordError(f"it has more than {limits.opcodes} opcodes")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= (opcode.number or 0) <= len(data):
            raise RecordError(f"it stores a value at the impossible place {opcode.number}")
        if opcode.name in ("EXT1", "EXT2", "EXT4"):
            raise RecordError("it uses a registered extension code")
        if opcode.name in _NUMBERS and opcode.length > _LONGEST_NUMBER:
            raise RecordError(f"it holds a number of {opcode.length:,} bytes")


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
        yield _Opcode(info.name, _number(data, start, position, info), position - start)
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


_NUMBERS, _LONGEST_NUMBER = ("INT", "LONG", "LONG1", "LONG4", "FLOAT", "GET", "PUT"), 400
_ITEM_BYTES = 64


def _number(data: bytes, start: int, end: int, info: pickletools.OpcodeInfo) -> int | None:
    """Return the index that a memo opcode names, None for any other."""
    if info.name == "PUT" and end - start <= _LONGEST_NUMBER:
        return int(data[start:end])
    if info.name in ("BINPUT", "LONG_BINPUT"):
        return int.from_bytes(data[start:end], "little")
    return None
