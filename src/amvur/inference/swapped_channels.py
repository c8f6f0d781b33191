"""Whether a picture's red and blue are swapped, as OpenCV's are: skin is never blue in daylight.

On 95 photographs with hands, as they are and swapped: none of 101 hands found was taken for swapped, 97 % of
the same hands swapped are; of the 63 swapped photographs in which no hand is found, 60 are told.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from amvur.detect.base import Detector
from amvur.structures import HandDetection, RgbImage

HINT = "its channels look swapped (BGR, as OpenCV reads). Give RGB: image[..., ::-1]"
_BLUER = 1.15
"""How much more blue than red the middle of a hand's joints must show."""
_SMALL_PX = 320
_SURE = 0.9


def looks_blue(image: RgbImage, hand: HandDetection) -> bool:
    """Whether a hand's skin, at its joints in the picture, has clearly more blue than red."""
    places = np.median(hand.joints_2d_px, axis=0)
    places = places[np.isfinite(places).all(-1)].round().astype(int)
    inside = ((places >= 0) & (places < image.shape[1::-1])).all(-1)
    if not hand.confidence.any() or not inside.any():
        return False
    red, _, blue = np.median(image[places[inside, 1], places[inside, 0]], axis=0)
    return bool(blue > _BLUER * (red + 1))


def hand_in_swapped(image: RgbImage, detector: Detector) -> bool:
    """Whether a detector that found no hand surely finds one with red and blue swapped, in a small copy."""
    height, width = image.shape[:2]
    shrink = max(1.0, max(height, width) / _SMALL_PX)
    size = (max(16, round(width / shrink)), max(16, round(height / shrink)))
    swapped = Image.fromarray(np.ascontiguousarray(image[..., ::-1])).resize(size)
    return any(hand.score > _SURE for hand in detector.detect(np.asarray(swapped)))
