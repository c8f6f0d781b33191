"""What every detector offers, and the one place that turns a user's choice into a detector."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float

from amvur.errors import InputError
from amvur.structures import HandDetection, RgbImage, Side

SideChoice = Literal["auto", "left", "right"]


class Detector(Protocol):
    """Finds the hands of an image, left and right, best score first.

    The same image gives the same detections, whatever was detected before. An image without a hand
    gives an empty list.
    """

    def detect(
        self,
        image: RgbImage,
        *,
        boxes: Float[np.ndarray, "N 4"] | None = None,
        side: SideChoice = "auto",
    ) -> list[HandDetection]:
        """Find the hands of one `(H, W, 3)` uint8 sRGB image; coordinates are its pixels.

        With `boxes` (x0, y0, x1, y1 in pixels) exactly one hand in each of them, and no other; a `side`
        other than "auto" overrides what the detector would say of every hand.
        """
        ...


def chosen_side(side: SideChoice) -> Side | None:
    """The side that the user insists on, None where the detector shall tell; raises `InputError`."""
    if side not in ("auto", "left", "right"):
        raise InputError(f"side must be 'auto', 'left' or 'right', found {side!r}.")
    return None if side == "auto" else side


def make_detector(choice: str | Path | Detector, device: str = "cpu") -> Detector:
    """Return the detector behind "mediapipe", "none" (boxes must be given) or the path of a `.task` file.

    Networks run on `device`, "cpu" or "cuda". An object with `detect` is returned as it is.
    Files are checked here; the networks are loaded at the first image. Raises `DetectorError` for missing or
    foreign files and `InputError` for anything else.
    """
    if choice == "mediapipe":
        from amvur.detect.mediapipe_hands import MediaPipeDetector

        return MediaPipeDetector(device=device)
    if choice == "none":
        from amvur.detect.given import GivenBoxes

        return GivenBoxes()
    if isinstance(choice, str | Path):
        from amvur.detect.mediapipe_hands import MediaPipeDetector

        return MediaPipeDetector(task_file=Path(choice), device=device)
    if not callable(getattr(choice, "detect", None)):
        raise InputError(
            f"A detector must be 'mediapipe', 'none', the path of a hand_landmarker.task file or an object "
            f"with a method detect, found {choice!r}."
        )
    return choice
