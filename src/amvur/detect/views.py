"""An image at several sizes, and the squares of it that are searched for palms."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from amvur.crop import Border, CropTransform, SquareImage
from amvur.detect.palms import PALM_INPUT_PX
from amvur.structures import RgbImage


class View:
    """An image halved as often as is useful, so that crops of large photographs stay cheap.

    Coordinates of crops are those of the full image. Halves are made when first needed and kept.
    """

    def __init__(self, image: RgbImage) -> None:
        """Look at `image`."""
        self.shape = image.shape
        self._levels = [image]

    def warp(self, crop: CropTransform, border: Border = "replicate") -> SquareImage:
        """Cut `crop` out of the coarsest level that still has all of its detail; black beside the image.

        The networks see palms and hands in the border around an image too, where there is nothing to find.
        """
        if not crop.touches(self.shape):
            return np.zeros((crop.size_px, crop.size_px, 3), np.uint8)
        level = max(0, math.floor(math.log2(1 / crop.scale)))
        while len(self._levels) <= level and max(self._levels[-1].shape[:2]) > 1:
            finer = Image.fromarray(np.ascontiguousarray(self._levels[-1]))
            self._levels.append(np.asarray(finer.reduce(2)))
        level = min(level, len(self._levels) - 1)
        return crop.scaled(0.5**level).warp(self._levels[level], border)


def whole(shape: tuple[int, ...], zoom: float = 1.0, turn_deg: float = 0.0) -> CropTransform:
    """The square with the whole image in it, `zoom` times as large as it fits, turned by `turn_deg`.

    The palm network knows palms up to a third of its input: a hand that fills the image is found in a
    smaller picture of it, and an unusual one sometimes in a turned picture.
    """
    height, width = shape[:2]
    side = max(width, height) / zoom
    return CropTransform(width / 2, height / 2, side, PALM_INPUT_PX, math.radians(turn_deg))


def tiles(shape: tuple[int, ...], side_px: float) -> list[CropTransform]:
    """Upright squares of `side_px` that cover the image, each overlapping the next by at least a third.

    A palm at the border of one tile is then inside another.
    """
    height, width = shape[:2]

    def centers(length: int) -> list[float]:
        spare = length - side_px
        if spare <= 0:
            return [length / 2]
        steps = math.ceil(spare / (side_px * 2 / 3))
        return [side_px / 2 + spare * step / steps for step in range(steps + 1)]

    return [CropTransform(x, y, side_px, PALM_INPUT_PX) for y in centers(height) for x in centers(width)]
