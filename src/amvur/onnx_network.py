"""ONNX networks as plain functions of named arrays, run by onnxruntime."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amvur.cores import on_all_cores
from amvur.errors import AmvurError, InputError
from amvur.reading import read_bytes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Arrays = Mapping[str, np.ndarray]
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ENDLESS = (b'"\x04Loop', b'"\x04Scan')
"""Kinds of nodes that may run for ever, as a file names them: field 4, `op_type`, of `NodeProto`
(onnx.proto). None of the networks that are exported has any."""


class OnnxNetwork:
    """One ONNX network: `network({name: (B, …)})` returns `{name: (B, …)}`, all with a first axis of items.

    An item's outputs are the same bytes alone, in any batch and on any number of cores, for items are run one
    by one. Safe to call from several threads, after a fork too, and to pickle.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        name: str = "",
        device: str = "cpu",
        constants: Arrays | None = None,
        sha256: str = "",
        limit_bytes: int = 50_000_000,
        error: type[AmvurError] = AmvurError,
        remedy: str = "",
    ) -> None:
        """Remember a network; it is loaded when it is first used.

        `model` is a path or the file's bytes (at most `limit_bytes`, of the hash `sha256` if that is known),
        called `name` in messages. `constants` are inputs that all items share, without an axis of items;
        those that the file does not ask for are left out. What cannot be loaded or run raises `error`, whose
        message ends with `remedy`.
        """
        self.model, self.device = model, device
        self.name = name or (str(model) if isinstance(model, Path) else "the network")
        self._constants = {} if constants is None else dict(constants)
        self._sha256, self._limit_bytes = sha256, limit_bytes
        self._error, self._remedy = error, remedy
        self._lock = threading.Lock()
        self._loaded: InferenceSession | None = None

    def __call__(self, items: Arrays) -> dict[str, np.ndarray]:
        """Run the network on a batch of items."""
        session = self.session()
        names = [output.name for output in session.get_outputs()]
        count = len(next(iter(items.values())))
        asked = {entry.name for entry in session.get_inputs()}
        constants = {name: values for name, values in self._constants.items() if name in asked}

        def run(index: int) -> list[Any]:
            own = {name: np.ascontiguousarray(values[index : index + 1]) for name, values in items.items()}
            found: list[Any] = session.run(names, own | constants)
            return found

        try:
            rows = on_all_cores(run, range(count))
        except Exception as error:  # onnxruntime's own classes derive from Exception alone
            raise self._error(f"The network {self.name} could not be run: {error}. {self._remedy}") from error
        columns = (np.concatenate(column) for column in zip(*rows, strict=True))
        return dict(zip(names, columns, strict=True))

    def session(self) -> InferenceSession:
        """Return the loaded network."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

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

    def _load(self) -> InferenceSession:
        """Load the file."""
        onnxruntime = load_onnxruntime()
        options = onnxruntime.SessionOptions()
        # a session's own threads would stay after the call, and a fork would not have them
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # what fails is raised
        try:
            limit = self._limit_bytes
            data = self.model if isinstance(self.model, bytes) else read_bytes(self.model, limit)
            if len(data) > limit:
                raise ValueError(f"it has {len(data):,} bytes")
            if self._sha256 and hashlib.sha256(data).hexdigest() != self._sha256:
                raise ValueError("it is damaged, or another than was written")
            if any(field in data for field in _ENDLESS):
                raise ValueError("it has a loop, which may never end")
            return onnxruntime.InferenceSession(data, options, providers=[_PROVIDERS[self.device]])
        except Exception as error:  # onnxruntime's own classes derive from Exception alone
            message = f"The network {self.name} could not be loaded: {error}. {self._remedy}"
            raise self._error(message) from error


def load_onnxruntime() -> Any:
    """Return the library, imported when it is needed, for that takes a tenth of a second."""
    # when imported it would keep a number of this machine in the user's cache, and report to its makers
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # where somebody else had imported it
    return onnxruntime


def choose_device(choice: str) -> str:
    """Return "cpu" or "cuda" for "auto", "cpu" or "cuda"; raises `InputError` for one that is not there."""
    if choice == "cpu":
        return choice
    if choice not in ("auto", "cuda"):
        raise InputError(f"The device must be auto, cpu or cuda, found {choice!r}.")
    onnxruntime = load_onnxruntime()
    if _PROVIDERS["cuda"] in onnxruntime.get_available_providers():
        return "cuda"
    if choice == "auto":
        return "cpu"
    raise InputError(
        "This onnxruntime has no CUDA. Use --device cpu, or exchange it: pip uninstall onnxruntime; "
        "pip install onnxruntime-gpu."
    )
