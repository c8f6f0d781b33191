"""Harmless stand-ins for the classes and functions in pickles of arrays, and what they stand for.

While a pickle is read a stand-in only records its arguments and state. Afterwards `Resolver` turns the
records into numpy arrays, checking every length and index: numpy's own `__setstate__` methods trust
their input, so they are never called.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np
from scipy import sparse

from amvur.reading import brief, check_letters

_NODE_BYTES = 64
"""What a value takes at least."""
_DTYPE = re.compile(r"[<>=|]?([biufc]\d{1,2}|[SU]\d{1,6}|\?)")


class RecordError(Exception):
    """A pickle asks for something that no file of plain arrays asks for."""


class Record:
    """Holds the state that a pickle gives an object; having slots, it can take no attribute.

    It has no arguments: a pickle that gives any meets a `TypeError`.
    """

    __slots__ = ("_state",)

    @property
    def state(self) -> object:
        """The state that the pickle gave, None if it gave none."""
        return getattr(self, "_state", None)

    def __setstate__(self, state: object) -> None:
        """Keep the state for later; the unpickler calls this in place of setting attributes."""
        self._state = state

    def value(self, resolver: Resolver) -> object:
        """Return what the record stands for, charging `resolver` for what is made before it is made."""
        raise RecordError(f"it holds a bare {type(self).__name__}")

    def fields(self, *names: str) -> tuple[object, ...]:
        """Return the named entries of a state that is a dictionary."""
        if not isinstance(self.state, dict) or not all(name in self.state for name in names):
            raise RecordError(f"its {type(self).__name__} lacks {' or '.join(names)}")
        return tuple(self.state[name] for name in names)


class ObjectMarker(Record):
    """`object` itself: only ever an argument."""

    __slots__ = ()


class DtypeRecord(Record):
    """`numpy.dtype` of a number, a truth value or a fixed-width text."""

    __slots__ = ("_spec",)

    def __init__(self, spec: object = None, align: object = False, copy: object = True) -> None:
        """Record the code, such as `f8`; alignment and copying do not matter."""
        self._spec = spec

    def dtype(self) -> np.dtype[np.generic]:
        """Return the checked dtype, in the byte order that the state names."""
        spec = getattr(self, "_spec", None)
        if not isinstance(spec, str) or not _DTYPE.fullmatch(spec):
            raise RecordError(f"it holds an array of type {brief(spec)}, not of numbers or text")
        dtype = np.dtype(spec)
        if not dtype.itemsize:  # numpy would make it 1
            raise RecordError("it holds an array of items without a size")
        if self.state is None:
            return dtype
        if not isinstance(self.state, tuple) or self.state[1:2] not in (("<",), (">",), ("=",), ("|",)):
            raise RecordError("it holds an array of a malformed type")
        if any(part is not None for part in self.state[2:5]):
            raise RecordError("it holds an array of records")
        return dtype.newbyteorder(self.state[1])


class ArrayRecord(Record):
    """`numpy.ndarray`: state (version, shape, dtype, is Fortran-ordered, bytes)."""

    __slots__ = ()

    def value(self, resolver: Resolver) -> object:
        """Return the array, after checking that the bytes are as many as shape and type need."""
        if not isinstance(self.state, tuple) or len(self.state) not in (4, 5):
            raise RecordError("it holds an array without contents")
        shape, dtype, fortran, data = self.state[-4:]
        if isinstance(data, str | bytes | bytearray):
            resolver.charge(2 * len(data))
        return make_array(data, dtype, shape, "F" if fortran else "C")


class CscRecord(Record):
    """`scipy.sparse.csc_matrix`."""

    __slots__ = ()

    def value(self, resolver: Resolver) -> object:
        """Return the matrix, after checking its structure."""
        parts = self.fields("_shape", "data", "indices", "indptr")
        shape, data, indices, indptr = (resolver.resolve(part) for part in parts)
        for array in (data, indices, indptr):
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
                raise RecordError("its sparse matrix is not made of arrays of numbers")
            resolver.charge(2 * array.nbytes)
        matrix = sparse.csc_matrix((data, indices, indptr), shape=_check_shape(shape))
        matrix.check_format(full_check=True)
        return matrix


class ChumpyRecord(Record):
    """`chumpy.ch.Ch`: an array `x`."""

    __slots__ = ()

    def value(self, resolver: Resolver) -> object:
        """Return the array."""
        (x,) = (resolver.resolve(v) for v in self.fields("x"))
        if not isinstance(x, np.ndarray):
            raise RecordError("its chumpy.Ch holds no array")
        return x


class ChumpySelectRecord(Record):
    """`chumpy.reordering.Select`: elements `idxs` of the flattened `a`, in `preferred_shape`."""

    __slots__ = ()

    def value(self, resolver: Resolver) -> object:
        """Return the selected array; an index beyond `a` raises `IndexError`."""
        a, indices, shape = (resolver.resolve(v) for v in self.fields("a", "idxs", "preferred_shape"))
        if not isinstance(a, np.ndarray) or not isinstance(indices, np.ndarray):
            raise RecordError("its chumpy Select is not over arrays")
        resolver.charge(a.nbytes + 2 * indices.size * a.itemsize)
        return a.ravel()[indices.ravel()].reshape(_check_shape(shape))


def make_array(data: object, dtype: object, shape: object, order: str) -> np.ndarray:
    """Return the writable array of `shape` whose raw contents are `data`."""
    if not isinstance(dtype, DtypeRecord):
        raise RecordError("it holds an array without a type")
    kind, shape = dtype.dtype(), _check_shape(shape)
    if isinstance(data, str):  # Python 2's byte string
        data = data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise RecordError(f"it holds an array whose contents are a {type(data).__name__}")
    if len(data) != math.prod(shape) * kind.itemsize:
        raise RecordError(f"it holds an array {shape} of {kind} in {len(data)} bytes")
    check_letters(data, kind)
    if not data:
        return np.zeros(shape, kind.newbyteorder("="))
    array = np.frombuffer(data, kind).reshape(shape, order="F" if order == "F" else "C")
    return array.astype(kind.newbyteorder("="), order="K")


def _check_shape(shape: object) -> tuple[int, ...]:
    """Return `shape` if it is a tuple of a few sizes; `RecordError` otherwise."""
    if isinstance(shape, tuple) and len(shape) <= 16 and all(isinstance(n, int | np.integer) for n in shape):
        sizes = tuple(int(n) for n in shape)
        if all(0 <= n < 2**31 for n in sizes):
            return sizes
    raise RecordError(f"it holds an array of shape {brief(shape)}")


def check_keys(keys: Iterable[object]) -> Iterable[object]:
    """Return keys or items of a set if all are plain: to hash, compare or print others may take for ever."""
    for key in keys:
        if not isinstance(key, str | bytes | int | float | complex | np.generic | None):
            raise RecordError(f"it has a {type(key).__name__} as a key or in a set")
    return keys


_Container = (
    Record | dict[object, object] | list[object] | tuple[object, ...] | set[object] | frozenset[object]
)


class Resolver:
    """Replaces records inside containers by their values; a value referred to twice is made once."""

    def __init__(self, budget_bytes: int) -> None:
        """Allow values of `budget_bytes` together, against small files that multiply what they hold.

        That is what arrays take while they are made, and also what all would take written out in full, every
        value referred to as often as it is: no printing, comparing or stacking of the result takes more.
        """
        self._budget = self._allowed = budget_bytes
        self._done: dict[int, tuple[object, int]] = {}
        self._open: set[int] = set()

    def resolve(self, item: object) -> object:
        """Return `item` with all records replaced; `RecordError` for one that contains itself."""
        return self._sized(item)[0]

    def charge(self, nbytes: int) -> None:
        """Take from the budget what is about to be made; `RecordError` where it is too much."""
        self._budget -= nbytes
        if self._budget < 0:
            raise RecordError("its arrays are larger than allowed")

    def _sized(self, item: object) -> tuple[object, int]:
        """Return a value, and its bytes when written out."""
        if isinstance(item, str | bytes | bytearray):  # numpy's too
            return item, _NODE_BYTES + len(item)
        if item is None or isinstance(item, int | float | complex | np.generic):
            return item, _NODE_BYTES
        if not isinstance(item, Record | dict | list | tuple | set | frozenset):
            raise RecordError(f"it holds a {type(item).__name__}")  # named but not called
        key = id(item)  # the recorded pickle outlives this object, so ids are not reused
        if key in self._open:
            raise RecordError("it holds a value that contains itself")
        if key not in self._done:
            self._open.add(key)
            self._done[key] = self._make(item)
            self._open.remove(key)
            if self._done[key][1] > self._allowed:
                raise RecordError("its values are larger than allowed when written out")
        return self._done[key]

    def _make(self, item: _Container) -> tuple[object, int]:
        if isinstance(item, Record):
            value = item.value(self)
            return value, _NODE_BYTES + int(getattr(value, "nbytes", 0))
        if isinstance(item, dict):
            entries = {key: self._sized(value) for key, value in item.items()}
            size = sum(self._sized(key)[1] + size for key, (_, size) in entries.items())
            return {key: value for key, (value, _) in entries.items()}, _NODE_BYTES + size
        parts = [self._sized(value) for value in item]
        return type(item)(value for value, _ in parts), _NODE_BYTES + sum(size for _, size in parts)
