"""ONNX networks of square pictures as plain functions of arrays, run by onnxruntime."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from amvur.errors import DetectorError
from amvur.reading import read_bytes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_OF_THIS_SIZE = 50_000_000
"""Bytes; the networks have 2 to 6 million, so anything much larger is not one of them."""


class Network:
    """One ONNX network of square RGB pictures, on the CPU.

    `network(pictures)` takes `(B, S, S, 3)` uint8 and returns the raw outputs, each `(B, numbers)` float32,
    in the file's order. A picture's outputs are the same bytes alone, in any batch and on any number of
    cores. Safe to call from several threads, after a fork too, and to pickle.
    """

    def __init__(
        self, model: Path | bytes, size_px: int, output_sizes: Sequence[int], name: str = ""
    ) -> None:
        """Remember a network `size_px` pixels wide with outputs of `output_sizes` numbers; load it when used.

        `model` is a path or the file's bytes, called `name` in messages.
        """
        self.model, self.size_px, self.output_sizes = model, size_px, tuple(output_sizes)
        self.name = name or (str(model) if isinstance(model, Path) else "the network")
        self._lock = threading.Lock()
        self._loaded: InferenceSession | None = None

    def __call__(self, pictures: UInt8[np.ndarray, "B S S 3"]) -> tuple[Float[np.ndarray, "B _"], ...]:
        """Run the network on a batch; raises `DetectorError` when the file cannot be used or run."""
        if pictures.shape[1:] != (self.size_px, self.size_px, 3):
            raise ValueError(
                f"{self.name} wants (B, {self.size_px}, {self.size_px}, 3), found {pictures.shape}"
            )
        outputs = [np.concatenate(column) for column in zip(*self._run(pictures), strict=True)]
        found = tuple(output.shape[1] for output in outputs)
        if found != self.output_sizes:
            raise DetectorError(
                f"{self.name} is another network: wanted outputs {self.output_sizes}, found {found}."
            )
        return tuple(outputs)

    def close(self) -> None:
        """Free what was loaded; a further call loads it again."""
        with self._lock:
            self._loaded = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the loaded network out: it is loaded again where it is used."""
        return {**self.__dict__, "_lock": None, "_loaded": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what `__getstate__` kept."""
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def _session(self) -> InferenceSession:
        """Return the loaded network."""
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self.model, self.name)
            return self._loaded

    def _run(self, pictures: UInt8[np.ndarray, "B S S 3"]) -> list[list[Any]]:
        """Return the outputs of parts of a batch, one part a core.

        A session's own threads would stay, and a fork would not have them: these end with the call.
        """
        run, cores = self._session().run, min(len(pictures), os.cpu_count() or 1)
        parts = [{"pictures": np.ascontiguousarray(part)} for part in np.array_split(pictures, cores)]
        try:
            if cores == 1:
                return [run(None, parts[0])]
            with ThreadPoolExecutor(cores) as pool:
                return list(pool.map(lambda part: run(None, part), parts))
        except Exception as error:  # onnxruntime's own classes derive from Exception alone
            raise DetectorError(f"The network {self.name} could not be run: {error}") from error


def _load(model: Path | bytes, name: str) -> InferenceSession:
    """Load a network; onnxruntime is imported here, for that takes a tenth of a second."""
    # when imported it would keep a number of this machine in the user's cache, and report to its makers
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # where somebody else had imported it
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised
    try:
        data = model if isinstance(model, bytes) else read_bytes(model, _OF_THIS_SIZE)
        if len(data) > _OF_THIS_SIZE:
            raise ValueError(f"it has {len(data):,} bytes")
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes derive from Exception alone
        raise DetectorError(
            f"The network {name} could not be loaded: {error}. Reinstall amvur, or give another file."
        ) from error


def shipped_hashes() -> dict[str, str]:
    """Return the sha256 of the networks that ship, as recorded when they were made."""
    record = json.loads((files("amvur.detect") / "assets" / "networks.json").read_bytes())
    return {name: record[name]["sha256"] for name in ("palm_detection", "hand_landmarks")}


def shipped_network(name: str) -> Path:
    """Return the file of "palm_detection" or "hand_landmarks", which ship with the package."""
    return Path(str(files("amvur.detect") / "assets" / f"{name}.onnx"))
