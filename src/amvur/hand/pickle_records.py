"""Harmless stand-ins for the classes and functions in pickles of arrays, and what they stand for.

While a pickle is read a stand-in only records its arguments and state. Afterwards `Resolver` turns the
records into numpy arrays, checking every length and index: numpy's own `__setstate__` methods trust
their input, so they are never called.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
from scipy import sparse

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

    def value(self, resolve: Callable[[object], object]) -> object:
        """Return what the record stands for."""
        raise RecordError(f"it holds a bare {type(self).__name__}")

    def fields(self, *names: str) -> tuple[object, ...]:
        """Return the named entries of a state that is a dictionary."""
        if not isinstance(self.state, dict) or not all(name in self.state for name in names):
            raise RecordError(f"its {type(self).__name__} lacks {' or '.join(names)}")
        return tuple(self.state[name] for name in names)


class Stateless:
    """A function's stand-in: callable, without attributes, refusing state."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Refuse: a pickle that gives state to a function means harm."""
        raise RecordError("it gives state to a function")


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
            raise RecordError(f"it holds an array of type {spec!r}, not of numbers or text")
        dtype = np.dtype(spec)
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

    def value(self, resolve: Callable[[object], object]) -> object:
        """Return the array, after checking that the bytes are as many as shape and type need."""
        if not isinstance(self.state, tuple) or len(self.state) not in (4, 5):
            raise RecordError("it holds an array without contents")
        shape, dtype, fortran, data = self.state[-4:]
        return _array(data, dtype, shape, "F" if fortran else "C")


class CscRecord(Record):
    """`scipy.sparse.csc_matrix`."""

    __slots__ = ()

    def value(self, resolve: Callable[[object], object]) -> object:
        """Return the matrix, after checking its structure."""
        parts = self.fields("_shape", "data", "indices", "indptr")
        shape, data, indices, indptr = (resolve(part) for part in parts)
        if not all(isinstance(array, np.ndarray) for array in (data, indices, indptr)):
            raise RecordError("its sparse matrix is not made of arrays")
        matrix = sparse.csc_matrix((data, indices, indptr), shape=_check_shape(shape))
        matrix.check_format(full_check=True)
        return matrix


class ChumpyRecord(Record):
    """`chumpy.ch.Ch`: an array `x`."""

    __slots__ = ()

    def value(self, resolve: Callable[[object], object]) -> object:
        """Return the array."""
        (x,) = (resolve(v) for v in self.fields("x"))
        if not isinstance(x, np.ndarray):
            raise RecordError("its chumpy.Ch holds no array")
        return x


class ChumpySelectRecord(Record):
    """`chumpy.reordering.Select`: elements `idxs` of the flattened `a`, in `preferred_shape`."""

    __slots__ = ()

    def value(self, resolve: Callable[[object], object]) -> object:
        """Return the selected array; an index beyond `a` raises `IndexError`."""
        a, indices, shape = (resolve(v) for v in self.fields("a", "idxs", "preferred_shape"))
        if not isinstance(a, np.ndarray) or not isinstance(indices, np.ndarray):
            raise RecordError("its chumpy Select is not over arrays")
        return a.ravel()[indices.ravel()].reshape(_check_shape(shape))


class MakeArray(Stateless):
    """`numpy.core.multiarray._reconstruct`: makes the empty array that takes the state."""

    __slots__ = ()

    def __call__(self, kind: object, shape: object, code: object) -> ArrayRecord:
        """Return an empty record; any class but ndarray, or a size to reserve, is refused."""
        if kind is not ArrayRecord or shape != (0,):
            raise RecordError("it makes an array of an unknown kind")
        return ArrayRecord()


class MakeArrayFromBuffer(Stateless):
    """`numpy.core.numeric._frombuffer`: an array from bytes (pickle protocol 5)."""

    __slots__ = ()

    def __call__(self, data: object, dtype: object, shape: object, order: object) -> ArrayRecord:
        """Return a record of the array."""
        record = ArrayRecord()
        record.__setstate__((shape, dtype, order == "F", data))
        return record


class MakeScalar(Stateless):
    """`numpy.core.multiarray.scalar`: a number of numpy's."""

    __slots__ = ()

    def __call__(self, dtype: object, data: object) -> object:
        """Return the number itself, so that it can be a dictionary's key."""
        return _array(data, dtype, (1,), "C")[0]


class EncodeLatin1(Stateless):
    """`_codecs.encode`: how Python 3 writes bytes for Python 2."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object) -> bytes:
        """Return the bytes of a latin-1 text; other codecs are refused."""
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise RecordError(f"it asks for the codec {encoding!r}")
        return text.encode("latin1")


class EmptyBytes(Stateless):
    """`bytes`: how Python 3 writes empty bytes for Python 2."""

    __slots__ = ()

    def __call__(self) -> bytes:
        """Return no bytes; `bytes(n)` would reserve n and is a `TypeError`."""
        return b""


class MakeSet(Stateless):
    """`set`: how Python 2 wrote one; chumpy's objects hold an empty one."""

    __slots__ = ()

    def __call__(self, items: object) -> set[object]:
        """Return the set of a list; other arguments are refused."""
        if not isinstance(items, list):
            raise RecordError("it makes a set of no list")
        return set(items)


class MakeObject(Stateless):
    """`copy_reg._reconstructor`: an empty instance of one of our records."""

    __slots__ = ()

    def __call__(self, kind: object, base: object, state: object) -> Record:
        """Return the record; any other class is refused."""
        if isinstance(kind, type) and issubclass(kind, Record) and base is ObjectMarker and state is None:
            return kind()
        raise RecordError("it makes an object of an unknown kind")


def _array(data: object, dtype: object, shape: object, order: str) -> np.ndarray:
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
    raise RecordError(f"it holds an array of shape {shape!r}"[:200])


_Container = (
    Record | dict[object, object] | list[object] | tuple[object, ...] | set[object] | frozenset[object]
)


class Resolver:
    """Replaces records inside containers by their values; a value referred to twice is made once."""

    def __init__(self, budget_bytes: int) -> None:
        """Allow arrays of `budget_bytes` together, against small files that multiply what they hold."""
        self._budget = budget_bytes
        self._done: dict[int, object] = {}
        self._open: set[int] = set()

    def resolve(self, item: object) -> object:
        """Return `item` with all records replaced; `RecordError` for one that contains itself."""
        if item is None or isinstance(item, int | float | complex | str | bytes | bytearray | np.generic):
            return item
        if not isinstance(item, Record | dict | list | tuple | set | frozenset):
            raise RecordError(f"it holds a {type(item).__name__}")  # named but not called
        key = id(item)  # the recorded pickle outlives this object, so ids are not reused
        if key in self._open:
            raise RecordError("it holds a value that contains itself")
        if key not in self._done:
            self._open.add(key)
            self._done[key] = self._make(item)
            self._open.remove(key)
        return self._done[key]

    def _make(self, item: _Container) -> object:
        if isinstance(item, dict):
            return {self.resolve(k): self.resolve(v) for k, v in item.items()}
        if not isinstance(item, Record):
            return type(item)(self.resolve(v) for v in item)
        value = item.value(self.resolve)
        self._budget -= value.nbytes if isinstance(value, np.ndarray) else 0
        if self._budget < 0:
            raise RecordError("its arrays are larger than allowed")
        return value
