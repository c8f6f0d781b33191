"""From a checkpoint's name to a network that is ready to look: loaded, on its device, with its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from amvur.errors import AmvurError, InputError, ModelFileError
from amvur.hand.model_arrays import HandModelArrays
from amvur.inference.calibration import Calibration, calibration_from
from amvur.inference.network_view import FusionSettings, JointNetwork, NetworkView, look
from amvur.pretrained import REMEDY, default_checkpoint, load_network
from amvur.reading import brief
from amvur.settings import from_json
from amvur.structures import HandDetection, RgbImage

FEW_STEPS = 500
"""After fewer steps of training no network knows hands: losses still fall steeply then."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with what is known of it: how to weigh its word, and the calibrations that were measured.

    `calibrations` are by the fields of `amvur.inference.calibration.Calibrations`: "network" of hands that a
    detector saw too, "box" of hands of which only a box is known. `device` is where its weights are; `source`
    names the checkpoint; `notes` are what users of its hands should know.
    """

    network: JointNetwork
    device: torch.device
    fusion: FusionSettings = field(default_factory=FusionSettings)
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    source: str = ""
    notes: tuple[str, ...] = ()

    def look(self, image: RgbImage, detections: Sequence[HandDetection]) -> list[NetworkView | None]:
        """Return what the network says of every hand: see `amvur.inference.network_view.look`."""
        return look(self.network, image, detections, self.fusion, self.device)

    def speaks_of(self, arrays: HandModelArrays) -> bool:
        """Whether the network was trained with this hand model (or says nothing of its own)."""
        hand = getattr(self.network, "hand", None)
        return hand is None or hand.arrays.sha256 == arrays.sha256

    def only_for_boxes(self) -> TrainedNetwork:
        """Return the same network, to be asked only for hands without detected joints."""
        return replace(self, fusion=replace(self.fusion, beside_detector=False))


def load_trained(choice: str | Path | TrainedNetwork, device: torch.device) -> TrainedNetwork | None:
    """Return the network behind "none" (None), "default" (the shipped one, or None) or a checkpoint folder.

    Raises an `AmvurError` (mostly `ModelFileError`) that names the folder of a checkpoint that is not there
    or cannot be used.
    """
    if isinstance(choice, TrainedNetwork):
        return choice
    if choice == "none":
        return None
    folder = default_checkpoint() if choice == "default" else Path(choice)
    if folder is None:
        return None
    return _load(folder, device)


def _load(folder: Path, device: torch.device) -> TrainedNetwork:
    network, config = load_network(folder, device)
    try:
        fusion, calibrations = fusion_from(config["fusion"]), _calibrations_from(config["calibration"])
    except AmvurError as error:
        raise ModelFileError(f"The checkpoint {folder} cannot be used: {error} {REMEDY}") from error
    return TrainedNetwork(network, device, fusion, calibrations, str(folder), _notes(folder, config))


def _notes(folder: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what to tell of a network that hardly learned, by its card."""
    step = (config.get("card") or {}).get("step")
    if not isinstance(step, int) or step >= FEW_STEPS:
        return ()
    return (
        f"The network in {folder} learned for {step} steps only: where it tells of this hand, it guesses. "
        "Train it for longer, or use another checkpoint.",
    )


def _calibrations_from(values: Mapping[str, Any]) -> dict[str, Calibration]:
    """Read the checkpoint's section "calibration": one for each of "network" and "box" that was measured."""
    unknown = set(values) - {"network", "box"}
    if unknown:
        raise InputError(f"The section calibration may hold network and box, found {brief(sorted(unknown))}.")
    return {name: calibration_from(value) for name, value in values.items()}


def fusion_from(values: Mapping[str, Any]) -> FusionSettings:
    """Read `FusionSettings` from the checkpoint's section "fusion"; what it does not name has its default.

    Raises `InputError` for values that are no settings; names from later versions are ignored.
    """
    known = {f.name for f in fields(FusionSettings)}
    try:
        return from_json(FusionSettings, {name: value for name, value in values.items() if name in known})
    except TypeError as error:
        raise InputError(f"The section fusion must hold numbers: {error}.") from error
