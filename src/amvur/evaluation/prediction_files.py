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

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from amvur.errors import InputError, OutputError
from amvur.evaluation.estimates import Estimates
from amvur.reading import check_tensors, parse_json, read_json, read_tensors, reading
from amvur.whole_files import remove_leftovers, whole_file

SCHEMA = "amvur-predictions/2"
RECORD = "record.json"
PART = 256
"""Samples in a file."""

MOST_SAMPLES, PART_BYTES = 10_000_000, 2**28
"""The largest number of samples, and the largest file of a part; reading one takes twice its bytes."""

_NAMES = tuple(field.name for field in fields(Estimates))
_SCALARS = ("placed", "is_left", "occlusion", "skin_tone")
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
            remedy = "Remove it and run the command again: it predicts what is missing."
            with reading(path, f"predictions of {len(part)} samples", remedy):
                arrays, notes = read_tensors(path, "np", PART_BYTES, _NAMES)
                keys = parse_json(notes["keys"])
                if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
                    raise ValueError("its keys are no list of names")
                if len(keys) != len(part):
                    raise ValueError(f"it has {len(keys)} keys")
                _check(arrays, len(part))
            yield keys, Estimates(**arrays)

    def _path(self, samples: range) -> Path:
        return self.folder / f"part-{samples.start // PART:05d}.safetensors"

    def _is_there(self, samples: range) -> bool:
        """Say whether a part can be opened and has the right number of samples."""
        path = self._path(samples)
        if not path.exists():
            return False
        try:
            with reading(path, "predictions", ""):
                check_tensors(path, PART_BYTES)
                with safe_open(path, "np") as file:  # which checks the file's length
                    return all(file.get_slice(name).get_shape()[0] == len(samples) for name in _NAMES)
        except InputError:
            return False

    def _check_same(self, record: Mapping[str, Any]) -> None:
        """Raise `OutputError` that says what differs."""
        there = _flat({"count": record["count"], **record["configuration"]})
        now = _flat({"count": self.count, **self.configuration})
        differences = [
            f"{key[:100]}: there {_short(there.get(key))}, now {_short(now.get(key))}"
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
    record = read_json(path, "a record of predictions", f"Remove {folder} to predict anew.")
    good = record.get("schema") == SCHEMA and isinstance(record.get("configuration"), dict)
    if not good or type(record.get("count")) is not int or not 0 <= record["count"] <= MOST_SAMPLES:
        raise InputError(f"{path} is no record of {SCHEMA}. Remove {folder} to predict anew.")
    return record


def _check(arrays: Mapping[str, np.ndarray], count: int) -> None:
    """Raise `ValueError` for arrays of other shapes or types than `Estimates` has."""
    vertices, truth = (len(arrays[name][0]) if count else 0 for name in ("vertices", "true_vertices"))
    wanted: dict[str, tuple[int, ...]] = {**dict.fromkeys(_NAMES, (21, 3)), **dict.fromkeys(_SCALARS, ())}
    wanted |= {"vertices": (vertices, 3), "true_vertices": (truth, 3)}
    wanted |= {"vertices_std": (vertices,), "R_view_camera": (3, 3)}
    wanted |= {"joints_2d": (21, 2), "true_joints_2d": (21, 2), "joints_2d_std": (21,)}
    for name, array in arrays.items():
        dtype = np.bool_ if name in ("placed", "is_left") else np.float32
        if array.shape != (count, *wanted[name]) or array.dtype != dtype:
            raise ValueError(f"its {name} is {array.shape} of {array.dtype}")


def _short(value: object) -> str:
    text = str(value)  # of JSON's types, whose depth is bounded
    return text if len(text) <= 300 else f"{text[:300]}…"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
