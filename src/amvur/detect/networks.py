"""The hand networks that ship as functions of square pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from amvur.errors import DetectorError
from amvur.onnx_network import OnnxNetwork

LANDMARKS_PX = 224
"""Sides of the pictures that the hand-landmark network reads."""


class Network:
    """One ONNX network of square RGB pictures: see `OnnxNetwork`.

    `network(pictures)` takes `(B, S, S, 3)` uint8 and returns the raw outputs, each `(B, numbers)` float32,
    in the file's order.
    """

    def __init__(
        self,
        model: Path | bytes,
        size_px: int,
        output_sizes: Sequence[int],
        name: str = "",
        device: str = "cpu",
    ) -> None:
        """Remember a network `size_px` pixels wide with outputs of `output_sizes` numbers; load it when used.

        `model` is a path or the file's bytes, called `name` in messages; `device` as of `OnnxNetwork`.
        """
        remedy = "Reinstall amvur, or give another file."
        self.network = OnnxNetwork(model, name=name, device=device, error=DetectorError, remedy=remedy)
        self.size_px, self.output_sizes = size_px, tuple(output_sizes)

    def __call__(self, pictures: UInt8[np.ndarray, "B S S 3"]) -> tuple[Float[np.ndarray, "B _"], ...]:
        """Run the network on a batch; raises `DetectorError` when the file cannot be used or run."""
        if pictures.shape[1:] != (self.size_px, self.size_px, 3):
            raise ValueError(
                f"{self.network.name} wants (B, {self.size_px}, {self.size_px}, 3), found {pictures.shape}"
            )
        outputs = tuple(self.network({"pictures": pictures}).values())
        found = tuple(output.shape[1] for output in outputs)
        if found != self.output_sizes:
            raise DetectorError(
                f"{self.network.name} is another network: wanted outputs {self.output_sizes}, found {found}."
            )
        return outputs

    def close(self) -> None:
        """Free what was loaded; a further call loads it again."""
        self.network.close()


def shipped_hashes() -> dict[str, str]:
    """Return the sha256 of the networks that ship, as recorded when they were made."""
    record = json.loads((files("amvur.detect") / "assets" / "networks.json").read_bytes())
    return {name: record[name]["sha256"] for name in ("palm_detection", "hand_landmarks")}


def shipped_network(name: str) -> Path:
    """Return the file of "palm_detection" or "hand_landmarks", which ship with the package."""
    return Path(str(files("amvur.detect") / "assets" / f"{name}.onnx"))
