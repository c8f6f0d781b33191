"""What can be evaluated: a checkpoint's network by itself, and all of `amvur reconstruct`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float

from amvur.evaluation.estimates import Estimates, EvaluatedNetwork, estimate, estimates_of_hands
from amvur.evaluation.pictures import CROP_SCALE, Picture
from amvur.models.upright import UprightNetwork
from amvur.pretrained import load_network
from amvur.structures import HandReconstruction, RgbImage, Side


@dataclass(frozen=True)
class NetworkSubject:
    """A network on its device, asked once for every crop."""

    network: EvaluatedNetwork
    device: torch.device
    identity: dict[str, Any]
    num_vertices: int
    crop_scale: float = CROP_SCALE

    @property
    def image_px(self) -> int:
        """Side of the network's crops."""
        return int(self.network.config.image_px)

    def estimate(
        self, pictures: Sequence[Picture], with_vertices: bool, tips: Sequence[int] | None
    ) -> Estimates:
        """Return what the network says."""
        return estimate(self.network, pictures, self.device, with_vertices, tips)


class Reconstructing(Protocol):
    """`amvur.inference.reconstructor.Reconstructor`, or something like it in tests."""

    def __call__(
        self,
        image: RgbImage,
        *,
        intrinsics: Float[np.ndarray, "3 3"] | None = None,
        boxes: Float[np.ndarray, "N 4"] | None = None,
        side: Side = "right",
    ) -> list[HandReconstruction]:
        """Return the hand in each box."""
        ...


@dataclass(frozen=True)
class ReconstructionSubject:
    """Hands as `amvur reconstruct` returns them, given box, side and (where it is known) camera.

    It looks at wider and larger crops than networks do, for a detector wants to see what is around a hand.
    """

    reconstruct: Reconstructing
    identity: dict[str, Any]
    num_vertices: int
    image_px: int = 448
    crop_scale: float = 2.0

    def estimate(
        self, pictures: Sequence[Picture], with_vertices: bool, tips: Sequence[int] | None
    ) -> Estimates:
        """Return the hands of pictures, which are right ones: left ones are mirrored in the crop."""
        whole = np.array([0.0, 0.0, self.image_px, self.image_px])
        hands = []
        for picture in pictures:
            box = whole if picture.box_xyxy_px is None else picture.box_xyxy_px
            (hand,) = self.reconstruct(
                picture.pixels, intrinsics=picture.intrinsics, boxes=box[None], side="right"
            )
            hands.append(hand)
        return estimates_of_hands(pictures, hands, with_vertices, tips)


def load_subject(folder: Path, device: torch.device, hand_model: str | None = None) -> NetworkSubject:
    """Load a checkpoint; `hand_model` says where the hand model lies if not where it did in training.

    Its identity is the weights' hashes, not its place. Raises `ModelFileError` for a checkpoint or a hand
    model that is missing, damaged or not the one it was trained with.
    """
    network, config = load_network(folder, device, hand_model)
    arrays = network.hand.arrays
    identity = {**identity_of(config), "hand_model_sha256": arrays.sha256}
    shown = UprightNetwork(network) if network.config.crop == "upright" else network
    return NetworkSubject(shown, device, identity, len(arrays.v_template))


def identity_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells a checkpoint from others: its weights' hashes and its sizes, not its place."""
    weights = {name: entry["sha256"] for name, entry in config["weights"]["files"].items()}
    return {
        "weights": weights,
        "network": {k: v for k, v in config["network"].items() if k != "hand_model"},
    }
