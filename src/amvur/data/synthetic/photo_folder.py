"""A user's pictures as backgrounds: read when wanted, within bounds, random crops."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from amvur.image import MAX_MEGAPIXELS
from amvur.reading import LimitError, open_regular, reading

_PHOTO_PX = 512
_FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")


class PhotoFolder:
    """A user's pictures as backgrounds: read when wanted, random crops, a few kept in memory."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Remember where the pictures are; none is opened yet."""
        self.paths = tuple(paths)
        self._kept: dict[int, UInt8[np.ndarray, "h w 3"]] = {}

    def crop(self, rng: np.random.Generator, size_px: int) -> Float[Tensor, "H W 3"]:
        """Return a random, perhaps mirrored square of a random picture; raises `InputError` if unreadable."""
        number = int(rng.integers(len(self.paths)))
        if number not in self._kept:
            if len(self._kept) >= 256:
                self._kept.pop(next(iter(self._kept)))
            self._kept[number] = _read(self.paths[number])
        picture = self._kept[number]
        side = int(min(picture.shape[:2]) * rng.uniform(0.35, 1.0))
        y, x = (int(rng.integers(0, picture.shape[i] - side + 1)) for i in range(2))
        square = Image.fromarray(picture[y : y + side, x : x + side]).resize(
            (size_px, size_px), Image.Resampling.BILINEAR
        )
        values = np.asarray(square, dtype=np.float32) / 255
        return torch.from_numpy(values[:, ::-1].copy() if rng.random() < 0.5 else values.copy())


def _read(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    with reading(path, "a background picture", "Remove it."), open_picture(path) as image:
        image.draft("RGB", (_PHOTO_PX, _PHOTO_PX))
        image.thumbnail((2 * _PHOTO_PX, _PHOTO_PX))
        return np.asarray(image.convert("RGB"))


@contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """Open a JPEG, PNG or the like of at most `MAX_MEGAPIXELS`; raises what Pillow does and `LimitError`."""
    with warnings.catch_warnings(), open_regular(path) as stream:
        warnings.simplefilter("ignore")
        Image.init()
        with Image.open(stream, formats=[name for name in _FORMATS if name in Image.OPEN]) as image:
            if image.width * image.height > MAX_MEGAPIXELS * 1_000_000:
                raise LimitError(f"it has {image.width}×{image.height} pixels")
            yield image
