"""What is evaluated looks at: square crops of right hands (left ones mirrored), and the truth beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, UInt8

from amvur.crop import CropTransform
from amvur.data.real.checks import box_of_joints
from amvur.data.samples import HandBatch
from amvur.structures import RgbImage

CROP_SCALE = 1.3
"""Side of the crop in units of the longer side of the joints' box, as `amvur reconstruct` cuts it."""


@dataclass(frozen=True)
class Picture:
    """One crop and the truth about its hand: metres, OpenCV's axes of the picture it was cut from.

    `intrinsics` (px of the crop) are of the crop's own camera, which sees the points `R_crop_camera @ X`
    (mirrored for a left hand); None where no camera is known. `root` is the wrist where the data set gives
    it to everybody, `box_xyxy_px` the box of the whole hand (px of the crop), `joints_2d` (px of the crop)
    the labelled joints, NaN for one without a label, and `pixel_px` the side of a pixel of the crop in pixels
    of the photograph. Truth that is not known is None, numbers that are not known are NaN.
    """

    key: str
    pixels: UInt8[np.ndarray, "S S 3"]
    intrinsics: Float[np.ndarray, "3 3"] | None
    R_crop_camera: Float[np.ndarray, "3 3"]
    root: Float[np.ndarray, "3"] | None
    joints: Float[np.ndarray, "21 3"] | None
    vertices: Float[np.ndarray, "V 3"] | None
    box_xyxy_px: Float[np.ndarray, "4"] | None = None
    joints_2d: Float[np.ndarray, "21 2"] | None = None
    pixel_px: float = 1.0
    is_left: bool = False
    occlusion: float = float("nan")
    skin_tone: float = float("nan")


class PictureSource(Protocol):
    """A data set as the two loops see it.

    `protocol` names the official evaluation it has ("freihand", "ho3d"), if any; `evaluation_list` is
    HO3D's evaluation.txt.
    """

    name: str
    protocol: str | None
    evaluation_list: Path | None

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return all that the samples depend on, in JSON's types."""
        ...

    def pictures(
        self, start: int, stop: int, size_px: int, crop_scale: float = CROP_SCALE
    ) -> Iterator[Picture]:
        """Yield samples start, ..., stop - 1 in crops of `size_px`.

        Crops of photographs are `crop_scale` times the joints' box; synthetic pictures come whole.
        """
        ...


def crop_picture(
    image: RgbImage,
    crop: CropTransform,
    key: str,
    intrinsics: Float[np.ndarray, "3 3"] | None,
    *,
    box_xyxy_px: Float[np.ndarray, "4"] | None = None,
    joints_2d: Float[np.ndarray, "21 2"] | None = None,
    **known: Any,
) -> Picture:
    """Cut a crop out of a picture; box and joints are in its pixels, `known` are `Picture`'s other fields."""
    camera = None if intrinsics is None else crop.crop_intrinsics(intrinsics)
    if box_xyxy_px is not None:
        corners = crop.apply_points(np.reshape(box_xyxy_px, (2, 2)))
        known["box_xyxy_px"] = np.concatenate([corners.min(0), corners.max(0)])
    if joints_2d is not None:
        known["joints_2d"] = crop.apply_points(joints_2d)
    known["pixel_px"] = 1 / crop.scale
    return Picture(key, crop.warp(image), camera, crop.R_crop_camera, is_left=crop.mirrored, **known)


def pictures_of(batch: HandBatch, size_px: int) -> Iterator[Picture]:
    """Yield the samples of a batch, whole pictures, as a network in training saw its own."""
    width = batch.images.shape[2]
    images = batch.images.numpy()
    intrinsics, joints, vertices = (
        getattr(batch, name).double().numpy() for name in ("intrinsics", "joints", "vertices")
    )
    for i in range(len(batch)):
        left = bool(batch.is_left[i])
        yield crop_picture(
            images[i],
            CropTransform(width / 2, width / 2, float(width), size_px, mirrored=left),
            f"{int(batch.index[i]):09d}",
            intrinsics[i],
            box_xyxy_px=box_of_joints(batch.joints_2d[i].double().numpy()),
            root=None,
            joints=joints[i],
            vertices=vertices[i],
            occlusion=float(batch.occlusion[i]),
            skin_tone=float(batch.skin_tone[i]),
        )
