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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from amvur.errors import AmvurError, ModelFileError
from amvur.hand.pickle_calls import (
    EmptyBytes,
    EncodeLatin1,
    MakeArray,
    MakeArrayFromBuffer,
    MakeNothing,
    MakeObject,
    MakeScalar,
    MakeSet,
    OrderedRecord,
    Stateless,
)
from amvur.hand.pickle_opcodes import PickleLimits, check_opcodes
from amvur.hand.pickle_records import (
    ArrayRecord,
    ChumpyRecord,
    ChumpySelectRecord,
    CscRecord,
    DtypeRecord,
    ObjectMarker,
    Record,
    RecordError,
    Resolver,
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


DEFAULT_LIMITS = PickleLimits()
_ITEM_BYTES = 64


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
            check_opcodes(data, limits)
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
    check_opcodes(data, limits)
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
