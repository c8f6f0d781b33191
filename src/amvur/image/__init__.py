"""Reading photographs as displayed: what a file holds becomes 8-bit sRGB pixels, or a clear error."""

from __future__ import annotations

from amvur.image.arrays import check_image
from amvur.image.formats import MAX_MEGAPIXELS, MIN_SIDE_PX
from amvur.image.photographs import (
    IMAGE_SUFFIXES,
    LoadedImage,
    PictureSource,
    check_file,
    find_images,
    load_image,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_MEGAPIXELS",
    "MIN_SIDE_PX",
    "LoadedImage",
    "PictureSource",
    "check_file",
    "check_image",
    "find_images",
    "load_image",
]
