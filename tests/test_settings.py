"""Settings from JSON: what a file may hold there is a value of the stated type or refused."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

import pytest

from amvur.settings import from_json


@dataclass(frozen=True)
class Inner:
    size: int = 1


@dataclass(frozen=True)
class Outer:
    name: str
    scale: float = 1.5
    on: bool = False
    kind: Literal["a", "b"] = "a"
    pair: tuple[int, int] = (1, 2)
    scales: tuple[float, ...] = (1.0,)
    maybe: float | None = None
    inner: Inner = field(default_factory=Inner)


def test_a_dataclass_comes_back():
    made = Outer("x", 2.0, True, "b", (3, 4), (1.0, 2.0, 3.0), 0.5, Inner(7))
    values = asdict(made) | {"pair": [3, 4], "scales": [1, 2, 3]}
    assert from_json(Outer, values) == made
    assert isinstance(from_json(Outer, {"name": "", "scale": 2}).scale, float)
    assert from_json(Outer, {"name": "", "maybe": None}).maybe is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", 1), ("name", None), ("scale", "2"), ("scale", True), ("scale", float("nan")), ("scale", 1e300),
        ("scale", 10**400), ("on", 1), ("on", "false"), ("kind", "c"), ("kind", ["a"]), ("pair", [1]),
        ("pair", [1, 2.0]), ("pair", "12"), ("pair", {"1": 2}), ("scales", 1.0), ("scales", [[1.0]]), ("maybe", "x"),
        ("inner", 3), ("inner", {"size": "1"}), ("inner", {"other": 1}), ("inner", {"size": 2**60}), ("other", 1),
    ],
)  # fmt: skip
def test_what_is_of_another_type_is_refused(name, value):
    with pytest.raises(TypeError, match=r"cannot be|no setting"):
        from_json(Outer, {"name": "x", name: value})


def test_what_is_missing_is_refused():
    with pytest.raises(TypeError, match="name"):
        from_json(Outer, {})
