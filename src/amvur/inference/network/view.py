"""What a trained network says of every detected hand.

The network looks at a square about each hand and tells joints relative to the wrist in view axes
(`amvur.geometry.cameras.view_rotation`) and joints in the crop.
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
from amvur.inference.frames import HandFrame
from amvur.reading import brief
from amvur.structures import RgbImage

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
    """A network as used here: `trained.HandNetworkFile`, or something like it in tests.

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
    """What the network says of one hand, in the pixels of its frame.

    `center_px` is the crop's centre, `joints_2d_px` the joints in pixels; `relative_joints_m` are metres
    relative to the wrist in view axes. Each with standard deviations.
    """

    center_px: Float64[np.ndarray, "2"]
    relative_joints_m: Float64[np.ndarray, "21 3"]
    relative_joints_std_m: Float64[np.ndarray, "21 3"]
    joints_2d_px: Float64[np.ndarray, "21 2"]
    joints_2d_std_px: Float64[np.ndarray, "21 2"]


def crop_of(frame: HandFrame, scale: float, size_px: int) -> CropTransform:
    """Return the square that shows a hand to the network: `scale` times the longer side of its joints' box.

    Without joints the user's box counts, which holds the whole hand.
    """
    if frame.box_only:
        low, high = frame.detection.box_xyxy_px[:2], frame.detection.box_xyxy_px[2:]
        scale = scale / _JOINTS_IN_HAND
    else:
        joints = frame.merged.joints_2d_px[frame.detection.confidence > 0]
        low, high = joints.min(0), joints.max(0)
    side = scale * max(float((high - low).max()), 1.0)
    x, y = (low + high) / 2
    return CropTransform(float(x), float(y), side, size_px)


def _joints_of_frame(frame: HandFrame) -> Float64[np.ndarray, "21 2"] | None:
    """Return a hand's joints (px) if they tell where up is: all that make the frame seen, not in a point."""
    if not (frame.detection.confidence[list(FRAME_JOINTS)] > 0).all():
        return None
    joints = frame.merged.joints_2d_px
    return joints if np.linalg.norm(palm_vector(joints)) > _LEAST_PALM_PX else None


def upright_crop(joints_px: Float[np.ndarray, "21 2"], size_px: int) -> CropTransform:
    """Return the square with the fingers up about a hand whose joints are known (pixels of the picture)."""
    return replace(crop_of_landmarks(np.asarray(joints_px, np.float64)), size_px=size_px)


def look(
    network: JointNetwork, frames: Sequence[HandFrame], settings: FusionSettings
) -> list[NetworkView | None]:
    """Run the network once over hands; None for one whose crop misses its picture or that is not asked.

    A network of upright hands looks at a hand whose roll is not known (no joints, or not those of palm and
    inner fingers) in four turns first (`amvur.detect.roll.likeliest_turn`).
    Raises `InputError` if the network answers with something that is not finite.
    """
    crops = [_crops(network, frame, settings) for frame in frames]
    for frame, own in zip(frames, crops, strict=True):
        if not all(crop.touches(_image(frame).shape) for crop in own):
            own.clear()
    asked = [(_image(frame), crop) for frame, own in zip(frames, crops, strict=True) for crop in own]
    answers = iter(_answers(network, asked))
    return [_view(own, [next(answers) for _ in own]) if own else None for own in crops]


def _view(crops: Sequence[CropTransform], answers: Sequence[_Answer]) -> NetworkView:
    """Return the mean of what the network says of one hand's crops."""
    middle = np.array([crops[0].center_x_px, crops[0].center_y_px])
    solid = _average([a.relative_m for a in answers], [a.relative_std_m for a in answers])
    flat = _average([a.joints_px for a in answers], [a.joints_std_px for a in answers])
    return NetworkView(middle, *solid, *flat)


def _image(frame: HandFrame) -> RgbImage:
    """Return the picture of a hand, without which a network has nothing to look at."""
    if frame.image is None:
        raise InputError("A network needs the picture of a hand, and there is none.")
    return frame.image


def _crops(network: JointNetwork, frame: HandFrame, settings: FusionSettings) -> list[CropTransform]:
    """Return the squares in which a network looks at a hand, none if it is not asked."""
    size, bare = network.image_px, frame.box_only
    if not (bare or settings.beside_detector):
        return []
    if not network.upright:
        return [crop_of(frame, scale, size) for scale in settings.crop_scales]
    joints = _joints_of_frame(frame)
    if joints is None:
        box = _box_of_joints(frame.detection.box_xyxy_px) if bare else None
        joints = _follow(network, _image(frame), crop_of(frame, 1.0, size), box)
    base = upright_crop(joints, size)
    return [replace(base, side_px=base.side_px * scale) for scale in settings.crop_scales]


@dataclass(frozen=True)
class _Answer:
    """What the network says of one crop: in axes of its picture, m and px."""

    relative_m: Float[np.ndarray, "21 3"]
    relative_std_m: Float[np.ndarray, "21 3"]
    joints_px: Float[np.ndarray, "21 2"]
    joints_std_px: Float[np.ndarray, "21 2"]


def _answers(network: JointNetwork, looks: Sequence[tuple[RgbImage, CropTransform]]) -> list[_Answer]:
    """Run the network on crops of pictures, and undo their turns."""
    if not looks:
        return []
    said = network(np.stack([crop.warp(image) for image, crop in looks]))
    numbers = (said.joints, said.joints_std, said.joints_2d, said.joints_2d_std)
    relative, relative_std, flat, flat_std = (values.astype(np.float64) for values in numbers)
    if not all(np.isfinite(values).all() for values in numbers):
        raise InputError(
            "The network's answer has values that are not finite. Its checkpoint is damaged or was saved "
            "from a training that diverged: use another one, or checkpoint 'none'."
        )
    answers = []
    for i, (_, crop) in enumerate(looks):
        turn = np.eye(3)
        turn[:2, :2] = crop.axes
        least = np.maximum(relative_std[i], _LEAST_STD_M)
        pixels_std = np.maximum(flat_std[i], _LEAST_STD_CROP) * crop.side_px / 2
        answers.append(
            _Answer(
                relative[i] @ turn,
                np.sqrt(least**2 @ turn**2),
                crop.invert_points((flat[i] + 1) / 2 * crop.size_px),
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
    half = square.side_px / 2
    crops = [replace(square, rotation_rad=turn * math.pi / 2) for turn in range(4)]
    joints, moved, stated = np.zeros((4, 21, 2)), np.zeros(4), np.zeros(4)
    for _ in range(3):
        inside = [i for i, crop in enumerate(crops) if crop.touches(image.shape)]
        stated[[i for i in range(4) if i not in inside]] = np.inf  # followed out of the picture: lost
        if not inside:
            break
        answers = _answers(network, [(image, crops[i]) for i in inside])
        for i, answer in zip(inside, answers, strict=True):
            before, joints[i] = joints[i].copy(), answer.joints_px
            moved[i] = np.linalg.norm(joints[i] - before, axis=-1).mean() / half
            stated[i] = answer.relative_std_m.mean()
            crops[i] = upright_crop(joints[i], square.size_px)
    overlap = None if box is None else box_overlap(joints, box)
    found: np.ndarray = joints[int(likeliest_turn(stated, moved, overlap))]
    return found


def _average(
    means: Sequence[Float[np.ndarray, "21 D"]], stds: Sequence[Float[np.ndarray, "21 D"]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the equal mixture of a hand's crops."""
    mean, std = np.stack(means), np.stack(stds)
    return mean.mean(0), np.sqrt((std**2).mean(0) + mean.var(0))
