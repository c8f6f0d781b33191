"""Hands that the user points out: boxes, or 2D joints from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from amvur.detect.base import SideChoice, chosen_side
from amvur.errors import InputError
from amvur.structures import HandDetection, RgbImage, Side

_LEAST_SHOWN = 0.1
"""Of a box (or of the picture, where that is smaller), the least share that must be seen."""
_LARGEST_BOX = 4
"""The longest side of a box, in longer sides of the picture."""
_LARGEST_ASPECT = 20
_SMALLEST_BOX_PX = 4
_FRACTIONS = 1.5
"""Coordinates up to here are those of no box in pixels."""


class GivenBoxes:
    """The detector "none": nothing is known of a hand but its box and side.

    All joints lie at the box's centre with confidence 0; the score is 1.
    """

    def detect(
        self,
        image: RgbImage,
        *,
        boxes: Float[np.ndarray, "N 4"] | None = None,
        side: SideChoice = "auto",
    ) -> list[HandDetection]:
        """One hand for each box; raises `InputError` without boxes, without a side, or off the image."""
        known = chosen_side(side)
        if boxes is None:
            raise InputError("Without a detector, say where the hand is: give a box x0 y0 x1 y1 in pixels.")
        if known is None:
            raise InputError("Without a detector the side of a hand is not known: give left or right.")
        hands = []
        for box in (check_box(box, image.shape) for box in boxes):
            hands.append(hand_in_box(box, known))
        return hands


def hand_in_box(box_xyxy_px: Float[np.ndarray, "4"], side: Side, score: float = 1.0) -> HandDetection:
    """Return a hand of which only the box is known: joints without confidence, at its centre."""
    center = np.tile((box_xyxy_px[:2] + box_xyxy_px[2:]) / 2, (1, 21, 1))
    return HandDetection(side, score, box_xyxy_px, center, np.zeros(21))


class GivenJoints:
    """A detector that returns 2D joints from elsewhere: by hand, another network, a motion capture."""

    def __init__(self, hands: Sequence[HandDetection]) -> None:
        """Take hands made by `given_joints`."""
        self._hands = sorted(hands, key=lambda hand: -hand.score)

    def detect(
        self,
        image: RgbImage,
        *,
        boxes: Float[np.ndarray, "N 4"] | None = None,
        side: SideChoice = "auto",
    ) -> list[HandDetection]:
        """Return the given hands; raises `InputError` for one off the image, or for boxes beside joints."""
        if boxes is not None:
            raise InputError(
                "Joints say where the hands are; boxes beside them have no meaning. Leave them out."
            )
        known = chosen_side(side)
        for hand in self._hands:
            box = check_size(hand.box_xyxy_px, "The box of the given joints")
            _check_place(box, image.shape, "The box of the given joints")
        return [hand if known is None else replace(hand, side=known) for hand in self._hands]


def given_joints(
    joints_2d_px: object,
    side: Side,
    confidence: object = None,
    convention: str = "amvur",
) -> HandDetection:
    """Make a detection of `(21, 2)` joints in image pixels, order as in `hand.joints.JOINT_NAMES`.

    `confidence` (21,) in [0, 1] says how far each joint is trusted, 0 for one that was not seen (its place
    may then be NaN); all 1 by default. Raises `InputError` for anything else.
    """
    joints = _numbers(joints_2d_px, (21, 2), "joints_2d_px")
    trust = np.ones(21) if confidence is None else _numbers(confidence, (21,), "confidence")
    if side not in ("left", "right"):
        raise InputError(f"side must be 'left' or 'right', found {side!r}.")
    wrong = trust[~((trust >= 0) & (trust <= 1))]
    if wrong.size:
        raise InputError(f"confidence must lie in [0, 1], found {wrong[0]:g}.")
    seen = trust > 0
    if not np.isfinite(joints[seen]).all():
        raise InputError("joints_2d_px has a value that is not finite. Give unseen joints confidence 0.")
    if np.count_nonzero(seen) < 4:
        found = np.count_nonzero(seen)
        raise InputError(f"At least 4 joints must have a confidence above 0 to place a hand, found {found}.")
    joints = np.where(seen[:, None], joints, joints[seen].mean(axis=0))
    box = np.concatenate([joints[seen].min(axis=0), joints[seen].max(axis=0)])
    if np.max(box[2:] - box[:2]) <= 0:
        raise InputError(f"All joints lie at one point {box[:2].tolist()}. Give pixels, not zeros.")
    return HandDetection(side, 1.0, box, joints[None], trust, convention=convention)


def check_corners(box_xyxy_px: object, what: str = "The box") -> Float[np.ndarray, "4"]:
    """Return a box (x0, y0, x1, y1) as numbers, or raise `InputError` if it is none in any picture."""
    box = _numbers(box_xyxy_px, (4,), what)
    if not np.isfinite(box).all():
        raise InputError(f"{what} must be four finite numbers x0 y0 x1 y1, found {_text(box)}.")
    x0, y0, x1, y1 = box.tolist()
    if x1 <= x0 or y1 <= y0:
        raise InputError(
            f"{what} must be x0 y0 x1 y1 with x0 < x1 and y0 < y1 (left, top, right, bottom, in pixels), "
            f"found {_text(box)}. If these are x, y, width and height, add x and y to the last two."
        )
    if min(x1 - x0, y1 - y0) * _LARGEST_ASPECT < max(x1 - x0, y1 - y0):
        raise InputError(f"{what} {_text(box)} is too thin for a hand. Give left, top, right and bottom.")
    return check_size(box, what)


def check_size(box: Float[np.ndarray, "4"], what: str) -> Float[np.ndarray, "4"]:
    """Return a box, or raise `InputError` if it is too small for a hand, as one in fractions is."""
    width, height = (box[2:] - box[:2]).tolist()
    if np.abs(box).max() <= _FRACTIONS:
        raise InputError(
            f"{what} {_text(box)} seems to be in fractions of the picture. Give pixels: multiply by its "
            "width and height."
        )
    if max(width, height) < _SMALLEST_BOX_PX:
        raise InputError(
            f"{what} {_text(box)} is {width:.3g} pixels wide and {height:.3g} high, too small for a "
            f"hand to be seen. Give a box of {_SMALLEST_BOX_PX} pixels at least."
        )
    return box


def check_box(
    box_xyxy_px: object, image_shape: tuple[int, ...], what: str = "The box"
) -> Float[np.ndarray, "4"]:
    """Return a box (x0, y0, x1, y1) as numbers, or raise `InputError` that says what is wrong with it.

    It must pass `check_corners`, be at most four times as long as the image, and a tenth of it must lie
    in the image.
    """
    return _check_place(check_corners(box_xyxy_px, what), image_shape, what)


def _check_place(
    box: Float[np.ndarray, "4"], image_shape: tuple[int, ...], what: str
) -> Float[np.ndarray, "4"]:
    """Return a box, or raise `InputError` if a picture shows too little of it."""
    height, width = image_shape[:2]
    size = f"an image {width} pixels wide and {height} high"
    x0, y0, x1, y1 = box.tolist()
    if max(x1 - x0, y1 - y0) > _LARGEST_BOX * max(width, height):
        raise InputError(
            f"{what} {_text(box)} is more than {_LARGEST_BOX} times as large as {size}. Draw it closer."
        )
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise InputError(
            f"{what} must overlap the image, found {_text(box)} in {size}. Coordinates are pixels of the "
            f"image as displayed, after its EXIF rotation."
        )
    across = (min(x1, width) - max(x0, 0)) / max(min(x1 - x0, width), 1e-9)
    down = (min(y1, height) - max(y0, 0)) / max(min(y1 - y0, height), 1e-9)
    if 0 < across * down < _LEAST_SHOWN:
        raise InputError(
            f"Of {what.lower()} {_text(box)} only {across * down:.0%} lie in {size}: too little to "
            "reconstruct a hand from. Draw the box about what the picture shows."
        )
    return box


def _numbers(values: object, shape: tuple[int, ...], name: str) -> Float[np.ndarray, "..."]:
    """The values as float64 of a wanted shape."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} must be numbers of shape {shape}, found {values!r}.") from error
    if array.shape != shape:
        raise InputError(f"{name} must have the shape {shape}, found {array.shape}.")
    return array


def _text(box: Float[np.ndarray, "4"]) -> str:
    """Return a box as a user types it."""
    return " ".join(f"{value:g}" for value in box)
