"""Wrong data is refused before the first step, with the name of what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import torch
from torch import Tensor

from amvur.errors import InputError
from amvur.reading import brief
from amvur.training.targets import LabelledImages

_STORED = {
    "intrinsics": (3, 3),
    "global_orient": (3,),
    "hand_pose": (45,),
    "betas": (10,),
    "transl": (3,),
    "joints_2d": (21, 2),
    "joint_confidence": (21,),
}


def check_labels(batch: LabelledImages, image_px: int) -> None:
    """Raise `InputError` for pictures of another size or labels that are not finite."""
    found = tuple(batch.images.shape[1:])
    if found != (image_px, image_px, 3):
        raise InputError(
            f"The network wants pictures of {image_px}×{image_px} pixels with 3 channels, found {found}. "
            "Make them in that size, or choose another preset."
        )
    for name in (field.name for field in fields(LabelledImages)[1:]):
        value: Tensor = getattr(batch, name)
        wrong = ~torch.isfinite(value).reshape(len(value), -1).all(1)
        if name == "joints_2d":  # what weighs nothing may be anything
            wrong = (~torch.isfinite(value).all(-1) & (batch.joint_confidence > 0)).any(1)
        if bool(wrong.any()):
            raise InputError(
                f"Labels must be finite: {name} of {int(wrong.sum())} of {len(batch)} pictures is not. "
                "Repair or leave out these samples."
            )


def check_stored(tensors: Mapping[str, Tensor], image_px: int) -> None:
    """Raise `ValueError` for tensors that are no pictures with their labels."""
    count = len(tensors["has_3d"])
    for name, tensor in tensors.items():
        shape = (image_px, image_px, 3) if name == "images" else _STORED.get(name, ())
        kind = torch.uint8 if name == "images" else torch.float32 if name in _STORED else torch.bool
        if not count or tuple(tensor.shape) != (count, *shape) or tensor.dtype != kind:
            raise ValueError(f"its {name} is {tuple(tensor.shape)} of {tensor.dtype}")


def stored_count(text: str) -> int:
    """Return a number of pictures; raises `ValueError` for what is none."""
    if not (text.isdecimal() and len(text) < 16):
        raise ValueError(f"{brief(text)} is no number of pictures")
    return int(text)
