"""What a trained network says of every detected hand.

The network looks at a square about each hand, left hands mirrored, and tells joints relative to the wrist
in view axes (`amvur.geometry.cameras.view_rotation`) and joints in the crop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from jaxtyping import Float, Float64, UInt8

from amvur.crop import CropTransform
from amvur.detect.palms import FRAME_JOINTS, crop_of_landmarks, palm_vector
from amvur.detect.roll import box_overlap, likeliest_turn
from amvur.errors import InputError
from amvur.inference.estimator.observation import merge_passes
from amvur.reading import brief
from amvur.structures import HandDetection, RgbImage

_JOINTS_IN_HAND = 1.1
"""Sides of the box of a whole hand and of its joints alone: a crop about joints is larger by that."""
_LEAST_STD_M, _LEAST_STD_CROP = 1e-3, 2e-3
_LEAST_PALM_PX = 1.0
"""From the wrist to the knuckles: a palm seen end on, or joints that are none, say nothing of the roll."""
_MOST_CROPS, _LARGEST_CROP = 16, 100.0


@dataclass(frozen=True)
class FusionSettings:
    """How a network's word is weighed against the detector's and the prior's.

    `network_scale_3d` and `network_scale_2d` multiply the network's standard deviations. They stand for
    overconfidence and for errors that joints share: n joints that err as one are worth one, which a factor
    sqrt(n) says. `crop_scales` are the crops' sides in units of the longer side of the joints' box; the
    network's answers for several are averaged. Without `beside_detector` the network is only asked for hands
    of which no joints are known: where a detector sees more than the network, its word alone is better.
    Without `joints_2d_beside_detector` its 2D joints count for such hands only, its 3D joints for all: a
    network on a detector's own features has nothing to tell it of the picture's plane. Where a detector's
    looks at a hand differ by more than `steady_looks`, in units of its size, all of the detector's standard
    deviations grow with that.
    """

    network_scale_3d: float = 1.5
    network_scale_2d: float = 1.5
    crop_scales: tuple[float, ...] = (1.3,)
    beside_detector: bool = True
    joints_2d_beside_detector: bool = True
    steady_looks: float = 0.01

    def __post_init__(self) -> None:
        """Refuse what cannot weigh or crop."""
        values = (self.network_scale_3d, self.network_scale_2d, self.steady_looks, *self.crop_scales)
        if not self.crop_scales or not all(np.isfinite(value) and value > 0 for value in values):
            raise InputError(f"Fusion settings must be finite numbers above 0, found {brief(self)}.")
        if len(self.crop_scales) > _MOST_CROPS or max(self.crop_scales) > _LARGEST_CROP:
            raise InputError(
                f"Fusion settings may hold {_MOST_CROPS} crop scales up to {_LARGEST_CROP:g}, found "
                f"{brief(self.crop_scales)}."
            )


@dataclass(frozen=True)
class JointEstimates:
    """What a network says of B right hands in square crops, with standard deviations: joints in metres (view
    axes, wrist at 0) and in crop units (-1 to 1 over the crop)."""

    joints: Float[np.ndarray, "B 21 3"]
    joints_std: Float[np.ndarray, "B 21 3"]
    joints_2d: Float[np.ndarray, "B 21 2"]
    joints_2d_std: Float[np.ndarray, "B 21 2"]


class JointNetwork(Protocol):
    """A network as used here: `amvur.inference.trained.HandNetworkFile`, or something like it in tests.

    It reads pictures of `image_px` pixels a side, of any roll or, with `upright`, with the fingers up.
    """

    @property
    def image_px(self) -> int:
        """Side of the pictures."""
        ...

    @property
    def upright(self) -> bool:
        """Whether the fingers must point up in them."""
        ...

    def __call__(self, pictures: UInt8[np.ndarray, "B S S 3"]) -> JointEstimates:
        """Return the estimates for right hands in RGB pictures."""
        ...


@dataclass(frozen=True)
class NetworkView:
    """What the network says of one hand, as a right hand (left ones: in the picture mirrored in x).

    `center_px` is the crop's centre, `joints_2d_px` the joints in pixels; `relative_joints_m` are metres
    relative to the wrist in view axes. Each with standard deviations.
    """

    center_px: Float64[np.ndarray, "2"]
    relative_joints_m: Float64[np.ndarray, "21 3"]
    relative_joints_std_m: Float64[np.ndarray, "21 3"]
    joints_2d_px: Float64[np.ndarray, "21 2"]
    joints_2d_std_px: Float64[np.ndarray, "21 2"]


def crop_of(detection: HandDetection, scale: float, size_px: int) -> CropTransform:
    """Return the square that shows a hand to the network: `scale` times the longer side of its joints' box.

    Without joints the user's box counts, which holds the whole hand.
    """
    seen = detection.confidence > 0
    if seen.any():
        joints = merge_passes(detection).joints_2d_px[seen]
        low, high = joints.min(0), joints.max(0)
    else:
        low, high = detection.box_xyxy_px[:2], detection.box_xyxy_px[2:]
        scale = scale / _JOINTS_IN_HAND
    side = scale * max(float((high - low).max()), 1.0)
    x, y = (low + high) / 2
    return CropTransform(float(x), float(y), side, size_px, mirrored=detection.side == "left")


def _joints_of_frame(detection: HandDetection) -> Float64[np.ndarray, "21 2"] | None:
    """Return a hand's joints (px) if they tell where up is: all that make the frame seen, not in a point."""
    if not (detection.confidence[list(FRAME_JOINTS)] > 0).all():
        return None
    joints = merge_passes(detection).joints_2d_px
    return joints if np.linalg.norm(palm_vector(joints)) > _LEAST_PALM_PX else None


def upright_crop(joints_px: Float[np.ndarray, "21 2"], size_px: int, left: bool) -> CropTransform:
    """Return the square with the fingers up about a hand whose joints are known (pixels of the picture)."""
    return replace(crop_of_landmarks(np.asarray(joints_px, np.float64)), size_px=size_px, mirrored=left)


def look(
    network: JointNetwork,
    image: RgbImage,
    detections: Sequence[HandDetection],
    settings: FusionSettings,
) -> list[NetworkView | None]:
    """Run the network once over all hands of a picture; None for a hand whose crop misses the picture or
    that it is not asked for.

    A network of upright hands looks at a hand whose roll is not known (no joints, or not those of palm and
    inner fingers) in four turns first (`amvur.models.upright.likeliest_turn`).
    Raises `InputError` if the network answers with something that is not finite.
    """
    size = network.image_px
    crops: list[list[CropTransform]] = []
    for hand in detections:
        if hand.confidence.any() and not settings.beside_detector:
            crops.append([])
            continue
        if not network.upright:
            crops.append([crop_of(hand, scale, size) for scale in settings.crop_scales])
            continue
        joints = _joints_of_frame(hand)
        if joints is None:
            box = None if hand.confidence.any() else _box_of_joints(hand.box_xyxy_px)
            joints = _follow(network, image, crop_of(hand, 1.0, size), box)
        base = upright_crop(joints, size, hand.side == "left")
        crops.append([replace(base, side_px=base.side_px * s) for s in settings.crop_scales])
    inside = [i for i, own in enumerate(crops) if own and all(crop.touches(image.shape) for crop in own)]
    views: list[NetworkView | None] = [None] * len(detections)
    if not inside:
        return views
    answers = _answers(network, image, [crop for i in inside for crop in crops[i]])
    n = len(settings.crop_scales)
    for row, i in enumerate(inside):
        part = answers[n * row : n * row + n]
        middle = _in_picture(crops[i][0], np.zeros((1, 2)), image.shape[1])[0]
        solid = _average(np.stack([a.relative_m for a in part]), np.stack([a.relative_std_m for a in part]))
        flat = _average(np.stack([a.joints_px for a in part]), np.stack([a.joints_std_px for a in part]))
        views[i] = NetworkView(middle, *solid, *flat)
    return views


@dataclass(frozen=True)
class _Answer:
    """What the network says of one crop: in axes of the picture (mirrored if the crop is), m and px."""

    relative_m: Float[np.ndarray, "21 3"]
    relative_std_m: Float[np.ndarray, "21 3"]
    joints_px: Float[np.ndarray, "21 2"]
    joints_std_px: Float[np.ndarray, "21 2"]


def _answers(network: JointNetwork, image: RgbImage, crops: Sequence[CropTransform]) -> list[_Answer]:
    """Run the network on crops, and undo their turns."""
    said = network(np.stack([crop.warp(image) for crop in crops]))
    numbers = (said.joints, said.joints_std, said.joints_2d, said.joints_2d_std)
    relative, relative_std, flat, flat_std = (values.astype(np.float64) for values in numbers)
    if not all(np.isfinite(values).all() for values in numbers):
        raise InputError(
            "The network's answer has values that are not finite. Its checkpoint is damaged or was saved "
            "from a training that diverged: use another one, or checkpoint 'none'."
        )
    answers = []
    for i, crop in enumerate(crops):
        turn = np.eye(3)
        turn[:2, :2] = crop.axes * ([-1, 1] if crop.mirrored else [1, 1])
        least = np.maximum(relative_std[i], _LEAST_STD_M)
        pixels_std = np.maximum(flat_std[i], _LEAST_STD_CROP) * crop.side_px / 2
        answers.append(
            _Answer(
                relative[i] @ turn,
                np.sqrt(least**2 @ turn**2),
                _in_picture(crop, flat[i], image.shape[1]),
                np.sqrt(pixels_std**2 @ turn[:2, :2] ** 2),
            )
        )
    return answers


def _box_of_joints(box_xyxy_px: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    """Return about where the joints of a hand in a box end: the box less the flesh."""
    sides = box_xyxy_px[2:] - box_xyxy_px[:2]
    flesh = (1 - 1 / _JOINTS_IN_HAND) / 2 * sides.max()
    flesh = np.minimum(flesh, sides / 4)  # a narrow box keeps its middle
    return np.concatenate([box_xyxy_px[:2] + flesh, box_xyxy_px[2:] - flesh])


def _follow(
    network: JointNetwork,
    image: RgbImage,
    square: CropTransform,
    box: Float[np.ndarray, "4"] | None,
) -> Float[np.ndarray, "21 2"]:
    """Return a hand's joints (px of the picture) from an upright square about it, whatever its roll.

    Four turns are followed, each twice about the joints found before; `likeliest_turn` chooses, knowing the
    `box` (px) that the joints should fill, if any.
    """
    width, half = image.shape[1], square.side_px / 2
    crops = [replace(square, rotation_rad=turn * math.pi / 2) for turn in range(4)]
    joints, moved, stated = np.zeros((4, 21, 2)), np.zeros(4), np.zeros(4)
    for _ in range(3):
        inside = [i for i, crop in enumerate(crops) if crop.touches(image.shape)]
        stated[[i for i in range(4) if i not in inside]] = np.inf  # followed out of the picture: lost
        if not inside:
            break
        answers = _answers(network, image, [crops[i] for i in inside])
        for i, answer in zip(inside, answers, strict=True):
            before, joints[i] = joints[i].copy(), _unmirrored(answer.joints_px, square, width)
            moved[i] = np.linalg.norm(joints[i] - before, axis=-1).mean() / half
            stated[i] = answer.relative_std_m.mean()
            crops[i] = upright_crop(joints[i], square.size_px, square.mirrored)
    overlap = None if box is None else box_overlap(joints, box)
    found: np.ndarray = joints[int(likeliest_turn(stated, moved, overlap))]
    return found


def _unmirrored(
    points: Float[np.ndarray, "N 2"], crop: CropTransform, width: int
) -> Float[np.ndarray, "N 2"]:
    """Take pixels of the mirrored picture back to the picture where the crop is mirrored."""
    moved: np.ndarray = points * [-1, 1] + [width, 0] if crop.mirrored else points
    return moved


def _in_picture(crop: CropTransform, units: Float[np.ndarray, "N 2"], width: int) -> Float[np.ndarray, "N 2"]:
    """Take crop units to pixels of the picture, mirrored if the crop is."""
    return _unmirrored(crop.invert_points((units + 1) / 2 * crop.size_px), crop, width)


def _average(mean: Float[np.ndarray, "n 21 D"], std: Float[np.ndarray, "n 21 D"]) -> tuple[np.ndarray, ...]:
    """Return mean and standard deviation of the equal mixture of a hand's crops."""
    return mean.mean(0), np.sqrt((std**2).mean(0) + mean.var(0))
