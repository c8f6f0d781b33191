"""What every reader of real data sets yields: one labelled hand of one photograph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float

from amvur.image import load_image
from amvur.structures import RgbImage, Side


@dataclass(frozen=True)
class HandSample:
    """One hand: metres, OpenCV's camera frame, our joint order, pixels of the photograph; None: unknown.

    `key` names it within its data set. MANO's parameters (radians, metres) are those of the hand's own
    side: `global_orient` turns the hand about its rest pose's wrist, `hand_pose` is relative to the flat
    hand with `flat_hand_mean` and otherwise to the file's mean pose (as in `ManoSettings`), `transl` is
    added last. `root` is the wrist where the data set gives it to everybody, also where other labels are
    withheld; `bone_length` likewise the length of the middle finger's first bone. `joint_confidence` lies
    in [0, 1]; 0 marks joints without a label. The box holds the whole hand.
    """

    key: str
    image_path: Path
    side: Side
    box_xyxy_px: Float[np.ndarray, "4"]
    intrinsics: Float[np.ndarray, "3 3"] | None = None
    joints: Float[np.ndarray, "21 3"] | None = None
    vertices: Float[np.ndarray, "V 3"] | None = None
    global_orient: Float[np.ndarray, "3"] | None = None
    hand_pose: Float[np.ndarray, "45"] | None = None
    betas: Float[np.ndarray, "10"] | None = None
    transl: Float[np.ndarray, "3"] | None = None
    flat_hand_mean: bool = False
    joints_2d: Float[np.ndarray, "21 2"] | None = None
    joint_confidence: Float[np.ndarray, "21"] | None = None
    root: Float[np.ndarray, "3"] | None = None
    bone_length: float | None = None
    mask_path: Path | None = None

    def load_image(self) -> RgbImage:
        """Read the photograph; raises `ImageError` that names the file."""
        return load_image(self.image_path).pixels

    def load_mask(self) -> Bool[np.ndarray, "H W"] | None:
        """Read the hand's mask, None where there is none; raises `ImageError` that names the file.

        Masks may be JPEGs, whose grays are cut in the middle.
        """
        return None if self.mask_path is None else load_image(self.mask_path).pixels[..., 0] >= 128


class HandDataset(Protocol):
    """A data set on disk; samples are made when asked for, without their pictures."""

    @property
    def name(self) -> str:
        """`FreiHAND`, `HO3D v2`, `HO3D v3` or `photographs`."""

    @property
    def split(self) -> str:
        """`training` or `evaluation`."""

    @property
    def protocol(self) -> str | None:
        """Whose official evaluation it has: `freihand`, `ho3d` or None."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: int) -> HandSample:
        """Return a sample; raises `InputError` that names the file with bad labels."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return all that the samples depend on, in JSON's types."""
        ...
