"""Harmless stand-ins for the functions that pickles of arrays call, and for `OrderedDict`."""

from __future__ import annotations

from amvur.hand.pickle_records import ArrayRecord, ObjectMarker, Record, RecordError, check_keys, make_array
from amvur.reading import brief


class Stateless:
    """A function's stand-in: callable, without attributes, refusing state."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Refuse: a pickle that gives state to a function means harm."""
        raise RecordError("it gives state to a function")


class MakeArray(Stateless):
    """`numpy.core.multiarray._reconstruct`: makes the empty array that takes the state."""

    __slots__ = ()

    def __call__(self, kind: object, shape: object, code: object) -> ArrayRecord:
        """Return an empty record; any class but ndarray, or a size to reserve, is refused."""
        if kind is not ArrayRecord or type(shape) is not tuple or shape != (0,):
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
        return make_array(data, dtype, (1,), "C")[0]


class EncodeLatin1(Stateless):
    """`_codecs.encode`: how Python 3 writes bytes for Python 2."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object) -> bytes:
        """Return the bytes of a latin-1 text; other codecs are refused."""
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise RecordError(f"it asks for the codec {brief(encoding)}")
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
        return set(check_keys(items))


class OrderedRecord(dict[object, object]):
    """`collections.OrderedDict`, empty at first; attributes that it is given are forgotten."""

    def __init__(self) -> None:
        """Make an empty one; arguments are a `TypeError`."""
        super().__init__()

    def __setstate__(self, state: object) -> None:
        """Forget attributes."""


class MakeNothing(Stateless):
    """A function whose result does not matter, where a pickle is only looked at."""

    __slots__ = ()

    def __call__(self, *arguments: object) -> None:
        """Return nothing."""


class MakeObject(Stateless):
    """`copy_reg._reconstructor`: an empty instance of one of our records."""

    __slots__ = ()

    def __call__(self, kind: object, base: object, state: object) -> Record:
        """Return the record; any other class is refused."""
        if isinstance(kind, type) and issubclass(kind, Record) and base is ObjectMarker and state is None:
            return kind()
        raise RecordError("it makes an object of an unknown kind")
