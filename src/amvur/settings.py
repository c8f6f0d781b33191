"""Settings as frozen dataclasses, and back from JSON with every type checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from amvur.reading import brief

_Settings = TypeVar("_Settings")


def from_json(kind: type[_Settings], values: Mapping[str, Any]) -> _Settings:
    """Return a dataclass of plain fields from a JSON object; raises `TypeError` where names or types differ.

    Fields are numbers (within ±2^53), texts, truth values, literals, None, tuples and dataclasses of them.
    """
    hints = get_type_hints(kind)
    unknown = [name for name in values if name not in hints]
    if unknown:
        raise TypeError(f"there is no setting {brief(unknown[0])}")
    return kind(**{name: _typed(hints[name], value, name) for name, value in values.items()})


def _typed(hint: Any, value: Any, name: str) -> Any:
    """Return a value of JSON as what a field's annotation says."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType and value is None and NoneType in inner:
        return None
    if origin is UnionType:
        hint = next(kind for kind in inner if kind is not NoneType)
    if is_dataclass(hint) and isinstance(value, dict):
        return from_json(cast(type[Any], hint), value)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        if len(kinds) == len(value):
            return tuple(_typed(kind, item, name) for kind, item in zip(kinds, value, strict=True))
    if origin is Literal and isinstance(value, str) and value in inner:
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) <= 2**53:  # false for NaN
            return float(value)
    elif hint in (int, bool, str) and type(value) is hint and (hint is not int or abs(value) <= 2**53):
        return value
    raise TypeError(f"{name} cannot be {brief(value)}")
