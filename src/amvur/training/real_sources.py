"""Data sets of photographs as training pictures: cut out by boxes, as right hands, their labels with them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from amvur.crop import CropTransform
from amvur.data.real.samples import HandDataset, HandSample
from amvur.errors import AmvurError, InputError
from amvur.training.mixture import ShuffledSet
from amvur.training.preparation import Preparation
from amvur.training.targets import LabelledImages

CROP_OVER_BOX = 1.3 / 1.1
"""The crop's side over that of the whole hand's box, as networks are shown hands in evaluation."""
ASSUMED_FOCAL = 1.2
"""Focal length over the longer side of photographs whose camera is not known (about 45 degrees)."""
CHECKED = 2000
"""Samples looked at before the first step, spread evenly over a data set; all of a smaller one."""
MAX_BAD_SHARE = 0.5


class Photos(ShuffledSet):
    """A data set of photographs; hands are cut out by their boxes."""

    def __init__(
        self,
        dataset: HandDataset,
        image_px: int,
        *,
        with_3d: bool,
        seed: int = 0,
        pose_mean: Float[np.ndarray, "45"] | None = None,
        name: str | None = None,
    ) -> None:
        """Wrap an opened data set; without `with_3d` 3D labels are never looked at.

        `pose_mean` is that of the right hand's model, which poses of training are relative to (None: 0);
        `name` is what the user calls the set. Raises `InputError` for an empty one.
        """
        name = name or dataset.name
        if not len(dataset):
            raise InputError(f"{name} ({dataset.split}) has no labelled hand. Label some first: amvur label.")
        super().__init__(name, len(dataset), seed)
        self.dataset, self.image_px, self.with_3d = dataset, image_px, with_3d
        self.pose_mean = np.zeros(45) if pose_mean is None else np.asarray(pose_mean, np.float64)

    def image(self, index: int) -> LabelledImages:
        """Cut out a sample; raises `AmvurError` for one that cannot be used."""
        convention = convention_of(self.dataset)
        return labelled_image(self.dataset[index], self.image_px, self.with_3d, convention, self.pose_mean)

    def group(self, index: int) -> str:
        """Return the photograph (or what else a data set says) that a sample shares with others."""
        group = getattr(self.dataset, "group", None)
        return str(index) if group is None else str(group(index))

    def identity(self) -> dict[str, Any]:
        """Return all that the pictures depend on."""
        own = {"image_px": self.image_px, "with_3d": self.with_3d, "seed": self.seed}
        own["held_out"] = self.count - len(self.places)
        return {**self.dataset.identity(), **own}


def check_dataset(
    dataset: HandDataset, with_3d: bool, name: str | None = None, preparation: Preparation | None = None
) -> list[str]:
    """Look at samples before the first step and return what is wrong with some.

    Labels are read and pictures looked for, not decoded. Raises `InputError` where more than half of the
    samples cannot be used: then the folder is wrong rather than some of its files; and `TimeIsUp`.
    """
    count = min(len(dataset), CHECKED)
    faults = []
    chosen = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    for index in (preparation or Preparation()).each(chosen, f"labels of {name or dataset.name}", count):
        try:
            sample = dataset[int(index)]
            labels_of(sample, with_3d)
            if not os.path.isfile(sample.image_path):
                raise InputError(f"{sample.key}: its picture {sample.image_path} does not exist.")
        except AmvurError as error:
            faults.append(str(error))
    if not count or len(faults) > MAX_BAD_SHARE * count:
        raise InputError(
            f"{name or dataset.name}: {len(faults)} of {count} samples cannot be used, more than half. Give "
            "another folder, or repair this one. The first:",
            *(f"  {fault}" for fault in faults[:5]),
        )
    return faults


def has_3d(sample: HandSample) -> bool:
    """Whether a sample carries what training compares with: the hand model's parameters and the camera.

    Not the position: targets are relative to the wrist, and FreiHAND does not give it as MANO's parameter.
    """
    wanted = (sample.global_orient, sample.hand_pose, sample.betas, sample.intrinsics)
    return all(value is not None for value in wanted)


def convention_of(dataset: HandDataset) -> str:
    """Return where a data set's 2D joints were put: ours, unless it says otherwise."""
    return str(getattr(dataset, "convention", "amvur"))


def labels_of(sample: HandSample, with_3d: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return 2D joints (px of the photograph) and confidences; raises `InputError` for unusable ones.

    Joints are projected from 3D ones only where 3D labels are allowed.
    """
    joints = sample.joints_2d
    if joints is None and with_3d and sample.joints is not None and sample.intrinsics is not None:
        rays = np.asarray(sample.joints, np.float64) @ np.asarray(sample.intrinsics, np.float64).T
        joints = rays[:, :2] / rays[:, 2:]
    if joints is None:
        raise InputError(f"{sample.key}: it has no 2D joints.")
    confidence = np.ones(21) if sample.joint_confidence is None else np.asarray(sample.joint_confidence)
    seen = confidence > 0
    if not seen.any() or not np.isfinite(np.asarray(joints)[seen]).all() or not np.isfinite(confidence).all():
        raise InputError(f"{sample.key}: its 2D joints are not finite, or none has a confidence above 0.")
    if with_3d and has_3d(sample):
        for name in ("global_orient", "hand_pose", "betas", "intrinsics"):
            if not np.isfinite(getattr(sample, name)).all():
                raise InputError(f"{sample.key}: its {name} is not finite.")
    return np.where(seen[:, None], joints, 0.0), confidence


def labelled_image(
    sample: HandSample,
    image_px: int,
    with_3d: bool,
    convention: str,
    pose_mean: Float[np.ndarray, "45"] | None = None,
) -> LabelledImages:
    """Crop a sample's picture by its box, as a right hand, its labels with it; raises `AmvurError`."""
    joints, confidence = labels_of(sample, with_3d)
    pixels = sample.load_image()
    crop = crop_of(sample, image_px)
    intrinsics = sample.intrinsics
    if intrinsics is None:
        height, width = pixels.shape[:2]
        focal = ASSUMED_FOCAL * max(height, width)
        intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    use_3d = with_3d and has_3d(sample)
    flat = crop.apply_points(joints)
    inside = ((flat >= 0) & (flat <= image_px)).all(-1)
    parameters = _right_parameters(sample, pose_mean) if use_3d else [np.zeros(n) for n in (3, 45, 10, 3)]
    orient, pose, betas, transl = (_row(value) for value in parameters)
    return LabelledImages(
        torch.from_numpy(crop.warp(pixels).copy())[None],
        _row(crop.crop_intrinsics(intrinsics)),
        orient,
        pose,
        betas,
        transl,
        _row(flat),
        _row(confidence * inside),
        torch.tensor([use_3d]),
        torch.tensor([convention == "mediapipe"]),
    )


def crop_of(sample: HandSample, image_px: int) -> CropTransform:
    """Return the square about a hand's box; raises `InputError` for a box without extent."""
    x0, y0, x1, y1 = (float(value) for value in sample.box_xyxy_px)
    side = CROP_OVER_BOX * max(x1 - x0, y1 - y0)
    if not side > 0:  # true for NaN
        raise InputError(f"{sample.key}: its box {[x0, y0, x1, y1]} has no extent.")
    return CropTransform((x0 + x1) / 2, (y0 + y1) / 2, side, image_px, mirrored=sample.side == "left")


def _right_parameters(
    sample: HandSample, pose_mean: Float[np.ndarray, "45"] | None = None
) -> list[np.ndarray]:
    """Return a hand's parameters as those of a right hand: mirrored in x if it is a left one.

    Poses become relative to the model's mean pose. The position is nobody's target (`has_3d`): it is 0.
    """
    names = ("global_orient", "hand_pose", "betas")
    orient, pose, betas = (np.asarray(getattr(sample, name), np.float64) for name in names)
    if sample.side == "left":
        turn = np.array([1.0, -1.0, -1.0])
        orient, pose = orient * turn, (pose.reshape(15, 3) * turn).ravel()
    if sample.flat_hand_mean and pose_mean is not None:
        pose = pose - pose_mean
    return [orient, pose, betas, np.zeros(3)]


def _row(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))[None]
