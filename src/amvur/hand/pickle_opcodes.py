"""A look at a pickle's opcodes, and at how much they ask for, before any of them is obeyed."""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass

from amvur.hand.pickle_records import RecordError


@dataclass(frozen=True)
class PickleLimits:
    """How large a pickle may be: bytes of the file, opcodes, and bytes of what is made from it.

    The opcode limit also bounds how deep values nest. Reading takes at most eight times the file's bytes
    (texts are decoded) beside three times `array_bytes`, and time in proportion.
    """

    file_bytes: int = 64 * 2**20
    opcodes: int = 20_000
    array_bytes: int = 256 * 2**20


@dataclass(frozen=True)
class _Opcode:
    name: str
    number: int | None
    """The place that a memo opcode names."""
    length: int
    """Bytes of the argument."""


def check_opcodes(data: bytes, limits: PickleLimits) -> None:
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


def _number(data: bytes, start: int, end: int, info: pickletools.OpcodeInfo) -> int | None:
    """Return the index that a memo opcode names, None for any other."""
    if info.name == "PUT" and end - start <= _LONGEST_NUMBER:
        return int(data[start:end])
    if info.name in ("BINPUT", "LONG_BINPUT"):
        return int.from_bytes(data[start:end], "little")
    return None
