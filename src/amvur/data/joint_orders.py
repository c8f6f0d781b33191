"""Joint orders and axes of the public datasets, to and from ours (21 joints, `amvur.hand.joints`).

FreiHAND's order is ours. HO3D lists MANO's 16 joints in MANO's order (wrist, then index, middle, little,
ring and thumb, base to tip) and then the five tips, thumb to little; its 3D is in OpenGL's camera frame
(x right, y up, the hand at negative z), ours in OpenCV's. Facts from the datasets' own toolboxes.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar, cast

import numpy as np

from amvur.hand.joints import BONE_JOINTS, TIP_JOINTS

DatasetName = Literal["freihand", "ho3d"]

FREIHAND_FROM_AMVUR: tuple[int, ...] = tuple(range(21))
"""Place k of FreiHAND's list takes this joint of ours."""

HO3D_FROM_AMVUR: tuple[int, ...] = BONE_JOINTS + TIP_JOINTS
"""Place k of HO3D's list takes this joint of ours."""

AMVUR_FROM_HO3D: tuple[int, ...] = tuple(HO3D_FROM_AMVUR.index(joint) for joint in range(21))
"""Place k of our list takes this joint of HO3D's."""

OPENGL_FROM_OPENCV: tuple[float, float, float] = (1.0, -1.0, -1.0)
"""Factors of x, y, z from one camera frame to the other, either way."""

_Array = TypeVar("_Array", bound=Any)
"""An array of numpy or a tensor of PyTorch, which labelling photographs goes without."""


def joints_to_dataset(joints: _Array, dataset: DatasetName) -> _Array:
    """Return joints (..., 21, D) of our order in the dataset's order; values and axes stay as they are."""
    return joints if dataset == "freihand" else cast(_Array, joints[..., list(HO3D_FROM_AMVUR), :])


def joints_from_dataset(joints: _Array, dataset: DatasetName) -> _Array:
    """Return joints (..., 21, D) of the dataset's order in ours; values and axes stay as they are."""
    return joints if dataset == "freihand" else cast(_Array, joints[..., list(AMVUR_FROM_HO3D), :])


def flip_opengl(points: _Array) -> _Array:
    """Turn points (..., 3) from OpenCV's camera frame to OpenGL's, or back: y and z change sign."""
    if isinstance(points, np.ndarray):
        return cast(_Array, points * np.asarray(OPENGL_FROM_OPENCV, points.dtype))
    return cast(_Array, points * points.new_tensor(OPENGL_FROM_OPENCV))
