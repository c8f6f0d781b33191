"""A folder of predictions: `record.json` (from what they follow) and parts of 256 samples, safetensors.

Parts are written whole or not at all, so that an interrupted export goes on behind the last one. A folder
of another configuration is refused, never mixed or overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from amvur.errors import InputError, OutputError
from amvur.evaluation.estimates import Estimates
from amvur.evaluation.whole_files import remove_leftovers, whole_file

SCHEMA = "amvur-predictions/1"
RECORD = "record.json"
PART = 256
"""Samples in a file."""

_NAMES = tuple(field.name for field in fields(Estimates))
_REMEDY = "Choose another --output, or remove {folder} to predict anew."


@dataclass(frozen=True)
class PredictionFolder:
    """Predictions of `count` samples; `configuration` is all that they follow from, in JSON's types."""

    folder: Path
    count: int
    configuration: Mapping[str, Any]

    def begin(self) -> None:
        """Make the folder, or check that it holds predictions of the same configuration.

        Raises `OutputError` that lists what differs, or where the folder cannot be written.
        """
        path = self.folder / RECORD
        if path.exists():
            self._check_same(read_record(self.folder))
            remove_leftovers(self.folder)
            return
        if self.folder.is_dir() and any(self.folder.glob("part-*.safetensors")):
            raise OutputError(
                f"{self.folder} holds predictions without a {RECORD} that says of what. "
                + _REMEDY.format(folder=self.folder)
            )
        record = {"schema": SCHEMA, "count": self.count, "configuration": dict(self.configuration)}
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    def parts(self) -> list[range]:
        """Return the samples of every part."""
        return [range(first, min(first + PART, self.count)) for first in range(0, self.count, PART)]

    def missing(self) -> list[range]:
        """Return the parts that are not there in whole."""
        return [part for part in self.parts() if not self._is_there(part)]

    def write(self, samples: range, keys: list[str], estimates: Estimates) -> None:
        """Write one part; raises `OutputError`."""
        arrays = {name: getattr(estimates, name) for name in _NAMES}
        with whole_file(self._path(samples)) as temporary:
            try:
                save_file(arrays, temporary, {"keys": json.dumps(keys)})
            except SafetensorError as error:  # also where the disk is full
                raise OutputError(f"Cannot write {self._path(samples)}: {error}. Free some space.") from error

    def read(self) -> Iterator[tuple[list[str], Estimates]]:
        """Yield keys and estimates part by part; raises `InputError` for a part that is missing or broken."""
        for part in self.parts():
            path = self._path(part)
            try:
                with safe_open(path, "np") as file:
                    keys = json.loads(file.metadata()["keys"])
                    estimates = Estimates(**{name: file.get_tensor(name) for name in _NAMES})
            except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{path} cannot be read ({error}). Remove it and run the command again: it predicts "
                    "what is missing."
                ) from error
            yield keys, estimates

    def _path(self, samples: range) -> Path:
        return self.folder / f"part-{samples.start // PART:05d}.safetensors"

    def _is_there(self, samples: range) -> bool:
        """Say whether a part can be opened and has the right number of samples."""
        try:
            with safe_open(self._path(samples), "np") as file:
                return all(
                    file.get_slice(name).get_shape()[0] == len(samples) for name in _NAMES
                )  # safetensors checks the file's length
        except (OSError, SafetensorError):
            return False

    def _check_same(self, record: Mapping[str, Any]) -> None:
        """Raise `OutputError` that says what differs."""
        there = _flat({"count": record["count"], **record["configuration"]})
        now = _flat({"count": self.count, **self.configuration})
        differences = [
            f"{key}: there {there.get(key)}, now {now.get(key)}"
            for key in dict.fromkeys([*there, *now])
            if there.get(key) != now.get(key)
        ]
        if differences:
            raise OutputError(
                f"{self.folder} holds predictions of another configuration ({'; '.join(differences)}). "
                + _REMEDY.format(folder=self.folder)
            )


def read_record(folder: Path) -> dict[str, Any]:
    """Return a folder's record; raises `InputError` if it is missing or damaged."""
    path = folder / RECORD
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}). Remove {folder} to predict anew.") from error
    good = isinstance(record, dict) and record.get("schema") == SCHEMA
    if (
        not good
        or not isinstance(record.get("count"), int)
        or not isinstance(record.get("configuration"), dict)
    ):
        raise InputError(f"{path} is no record of {SCHEMA}. Remove {folder} to predict anew.")
    return dict(record)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
