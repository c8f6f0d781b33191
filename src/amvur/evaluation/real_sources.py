"""Folders of real data sets as what is evaluated on: crops from boxes, truth in the camera's frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from amvur.crop import CropTransform
from amvur.data.real.checks import BOX_OVER_JOINTS
from amvur.errors import InputError
from amvur.evaluation.pictures import CROP_SCALE, Picture, crop_picture
from amvur.structures import RgbImage, Side

EVALUATION_LIST = "evaluation.txt"


class LabelledPhotograph(Protocol):
    """A sample as used here: metres, OpenCV's camera frame, pixels of the photograph; None where unknown."""

    @property
    def key(self) -> str:
        """Its name within the data set."""

    @property
    def side(self) -> Side:
        """Which hand it is."""

    @property
    def box_xyxy_px(self) -> Float[np.ndarray, "4"]:
        """The box of the whole hand."""

    @property
    def intrinsics(self) -> Float[np.ndarray, "3 3"] | None:
        """The camera."""

    @property
    def root(self) -> Float[np.ndarray, "3"] | None:
        """The wrist, where the data set gives it to everybody."""

    @property
    def joints(self) -> Float[np.ndarray, "21 3"] | None:
        """True joints, our order."""

    @property
    def vertices(self) -> Float[np.ndarray, "V 3"] | None:
        """True vertices."""

    @property
    def joints_2d(self) -> Float[np.ndarray, "21 2"] | None:
        """Labelled 2D joints, where nothing is known in space."""

    @property
    def joint_confidence(self) -> Float[np.ndarray, "21"] | None:
        """Their confidences, 0 for a joint without a label."""

    def load_image(self) -> RgbImage:
        """Read the photograph."""
        ...


class PhotographSet(Protocol):
    """A data set as used here: `amvur.data.real` opens them."""

    @property
    def name(self) -> str:
        """The data set."""

    @property
    def split(self) -> str:
        """Which part of it."""

    @property
    def protocol(self) -> str | None:
        """Whose official evaluation it has, if any."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: int) -> LabelledPhotograph:
        """Return a sample without its picture."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return all that the samples depend on, in JSON's types."""
        ...


class RealSource:
    """A data set of photographs; read sample by sample, pictures only where they are looked at."""

    def __init__(self, dataset: PhotographSet, folder: Path) -> None:
        """Wrap an opened data set of a folder."""
        self._dataset = dataset
        self.name: str = f"{dataset.name} {dataset.split}"
        self.protocol: str | None = dataset.protocol if dataset.split == "evaluation" else None
        listed = folder / EVALUATION_LIST
        self.evaluation_list: Path | None = listed if self.protocol == "ho3d" and listed.is_file() else None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._dataset)

    def identity(self) -> dict[str, Any]:
        """Return all that the samples depend on."""
        convention = getattr(self._dataset, "convention", None)  # of photographs: where joints were put
        told = {} if convention is None else {"convention": convention}
        return {**self._dataset.identity(), **told}

    def pictures(
        self, start: int, stop: int, size_px: int, crop_scale: float = CROP_SCALE
    ) -> Iterator[Picture]:
        """Read and yield samples start, ..., stop - 1; raises what reading a picture raises."""
        for number in range(start, stop):
            sample = self._dataset[number]
            yield crop_picture(
                sample.load_image(),
                crop_of_sample(sample, size_px, crop_scale),
                sample.key,
                _double(sample.intrinsics),
                box_xyxy_px=np.asarray(sample.box_xyxy_px, dtype=np.float64),
                root=_double(sample.root),
                joints=_double(sample.joints),
                vertices=_double(sample.vertices),
                joints_2d=_labelled_2d(sample),
            )


def _labelled_2d(sample: LabelledPhotograph) -> np.ndarray | None:
    """Return the 2D joints of a photograph without labels in space, NaN for those that have none."""
    joints, confidence = sample.joints_2d, sample.joint_confidence
    if joints is None or confidence is None or sample.joints is not None:
        return None
    return np.where(np.asarray(confidence)[:, None] > 0, np.asarray(joints, dtype=np.float64), np.nan)


def crop_of_sample(sample: LabelledPhotograph, size_px: int, crop_scale: float = CROP_SCALE) -> CropTransform:
    """Return the square that shows a hand, left hands mirrored.

    `crop_scale` times the longer side of the joints' box, of which the box of the whole hand is 1.1 times.
    Raises `InputError` for a box without extent.
    """
    x0, y0, x1, y1 = (float(value) for value in sample.box_xyxy_px)
    side = crop_scale / BOX_OVER_JOINTS * max(x1 - x0, y1 - y0)
    if not side > 0:  # true for NaN
        raise InputError(
            f"{sample.key}: its box {[x0, y0, x1, y1]} has no extent. "
            "Give left, top, right and bottom in pixels."
        )
    return CropTransform((x0 + x1) / 2, (y0 + y1) / 2, side, size_px, mirrored=sample.side == "left")


def _double(values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None else np.asarray(values, dtype=np.float64)
