"""From a checkpoint's name to a network that is ready to look: loaded, with its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from jaxtyping import UInt8

from amvur.checkpoint_folder import OTHER_CHECKPOINT, default_checkpoint, open_onnx, read_config
from amvur.errors import AmvurError, InputError, ModelFileError
from amvur.hand.loading import load_hand_model
from amvur.hand.model_arrays import HandModelArrays
from amvur.hand.network_constants import network_constants
from amvur.inference.calibration import Calibration, calibration_from
from amvur.inference.estimator.config import EstimatorConfig
from amvur.inference.frames import HandFrame
from amvur.inference.network.view import FusionSettings, JointEstimates, JointNetwork, NetworkView, look
from amvur.onnx_network import OnnxNetwork
from amvur.reading import brief
from amvur.settings import from_json

Settings = TypeVar("Settings")
LARGEST_PX = 2048
"""The largest pictures that networks read."""
FEW_STEPS = 500
"""After fewer steps of training no network knows hands: losses still fall steeply then."""


OUTPUTS = tuple(f"{name}{end}" for name in ("vertices", "joints", "joints_2d") for end in ("", "_std"))
"""What the ONNX network of a hand network says, in order."""
_SHAPES = {"joints": (21, 3), "joints_std": (21, 3), "joints_2d": (21, 2), "joints_2d_std": (21, 2)}


@dataclass(frozen=True)
class HandNetworkFile:
    """The network in a checkpoint's folder (`amvur.models.onnx_export`), and its hand model."""

    network: OnnxNetwork
    image_px: int
    upright: bool
    hand: HandModelArrays

    def __call__(self, pictures: UInt8[np.ndarray, "B S S 3"]) -> JointEstimates:
        """Return the estimates for right hands; raises `ModelFileError` if the network is another."""
        found = self.network({"pictures": pictures})
        if any(found[name].shape[1:] != shape for name, shape in _SHAPES.items()):
            raise ModelFileError(f"{self.network.name} is no network of hands. {OTHER_CHECKPOINT}")
        return JointEstimates(**{name: found[name] for name in _SHAPES})

    def close(self) -> None:
        """Free what was loaded."""
        self.network.close()


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with what is known of it: how to weigh its word, and the calibrations that were measured.

    `calibrations` are by the fields of `amvur.inference.calibration.Calibrations`: "network" of hands that a
    detector saw too, "box" of hands of which only a box is known, measured with an `estimator`. `source`
    names the checkpoint; `notes` are what users of its hands should know.
    """

    network: JointNetwork
    fusion: FusionSettings = field(default_factory=FusionSettings)
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)
    source: str = ""
    notes: tuple[str, ...] = ()

    def look(self, frames: Sequence[HandFrame]) -> list[NetworkView | None]:
        """Return what the network says of every hand: see `amvur.inference.network.view.look`."""
        return look(self.network, frames, self.fusion)

    def close(self) -> None:
        """Free the network."""
        if hasattr(self.network, "close"):
            self.network.close()

    def speaks_of(self, arrays: HandModelArrays) -> bool:
        """Whether the network was trained with this hand model (or says nothing of its own)."""
        hand = getattr(self.network, "hand", None)
        return hand is None or hand.sha256 == arrays.sha256

    def only_for_boxes(self) -> TrainedNetwork:
        """Return the same network, to be asked only for hands without detected joints."""
        return replace(self, fusion=replace(self.fusion, beside_detector=False))


def load_trained(choice: str | Path | TrainedNetwork, device: str = "cpu") -> TrainedNetwork | None:
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


def _load(folder: Path, device: str) -> TrainedNetwork:
    config = read_config(folder)
    network = _open_network(folder, config, device)
    try:
        fusion, calibrations = fusion_from(config["fusion"]), _calibrations_from(config["calibration"])
        estimator = settings_from(EstimatorConfig, config["estimator"], "estimator")
    except AmvurError as error:
        raise ModelFileError(f"The checkpoint {folder} cannot be used: {error} {OTHER_CHECKPOINT}") from error
    return TrainedNetwork(network, fusion, calibrations, estimator, str(folder), _notes(folder, config))


def _open_network(folder: Path, config: dict[str, Any], device: str) -> HandNetworkFile:
    """Open the network that a checkpoint's configuration describes."""
    settings = config["network"]
    size, crop, hand_model = (settings.get(name) for name in ("image_px", "crop", "hand_model"))
    if type(size) is not int or not 32 <= size <= LARGEST_PX or crop not in (None, "square", "upright"):
        raise ModelFileError(
            f"The checkpoint {folder} describes no network that this version of amvur knows. Use the version "
            f"that wrote it, or: {OTHER_CHECKPOINT}"
        )
    try:
        arrays = load_hand_model(str(hand_model))
    except AmvurError as error:
        raise ModelFileError(
            f"The checkpoint {folder} cannot be used: {error} If the hand model's file was moved, put it "
            f"back. {OTHER_CHECKPOINT}"
        ) from error
    wanted = config["hand_model"].get("sha256")
    if wanted and wanted != arrays.sha256:
        raise ModelFileError(
            f"The checkpoint {folder} was trained with the hand model of sha256 {brief(wanted)}, found "
            f"{arrays.sha256} ({brief(hand_model)}). {OTHER_CHECKPOINT}"
        )
    constants = network_constants(arrays)
    network = open_onnx(folder, config, OUTPUTS, device=device, constants=constants)
    (pictures,) = (entry.shape for entry in network.session().get_inputs() if entry.name == "pictures")
    if pictures[1:] != [size, size, 3]:
        raise ModelFileError(
            f"{network.name} reads pictures of {brief(pictures[1:])}, not of {size} pixels as {folder} says. "
            f"{OTHER_CHECKPOINT}"
        )
    return HandNetworkFile(network, size, crop == "upright", arrays)


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
    """Read `FusionSettings` from the checkpoint's section "fusion": see `settings_from`."""
    return settings_from(FusionSettings, values, "fusion")


def settings_from(kind: type[Settings], values: Mapping[str, Any], section: str) -> Settings:
    """Read the settings in a section of a checkpoint; what it does not name has its default.

    Raises `InputError` for values that are no settings; names from later versions are ignored.
    """
    known = {f.name for f in fields(cast(Any, kind))}
    try:
        return from_json(kind, {name: value for name, value in values.items() if name in known})
    except TypeError as error:
        raise InputError(f"The section {section} holds what is no setting: {error}.") from error
