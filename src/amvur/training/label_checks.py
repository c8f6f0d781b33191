"""Wrong data is refused before the first step, with the name of what is wrong."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from amvur.errors import InputError
from amvur.training.targets import LabelledImages


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
