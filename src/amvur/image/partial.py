"""Decoding pictures that lack their end: what is there is kept, and how much that is."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from amvur.image.formats import MAX_BYTES_WHOLE, damaged, open_picture
from amvur.image.pixels import strips
from amvur.reading import reason

_BY_ROWS = ("BMP", "DIB", "JPEG", "MPO", "PNG", "PPM", "TGA", "TIFF")
"""Formats decoded row by row; of others nothing useful is left where something is missing."""

_JPEG_FILL = 128
"""What libjpeg shows where a picture's data have ended."""

_JPEG_END = b"\xff\xd9"


def decode(image: Image.Image, stream: io.BufferedIOBase, name: str, notes: list[str]) -> Image.Image:
    """Decode a picture that `open_picture` returned.

    Where its data end early or are damaged, it is shown as viewers do: rows that are missing are black or
    gray, and `notes` says how many. Raises `ImageError` where less than half of the rows can be decoded.
    """
    try:
        image.load()
        return image
    except MemoryError:
        raise
    except Exception as error:  # whatever a decoder raises
        why = reason(error)
    height = image.height
    image, rows = _what_is_there(image, stream, name)
    if 2 * rows < height:
        there = f"; {rows} of {height} rows are there" if rows else ""
        raise damaged(name, f"{why}{there}")
    missing = f"{height - rows} of its {height} rows are missing"
    if rows == height:
        missing = "its end is missing" + (", so it is coarse" if image.info.get("progressive") else "")
    notes.append(f"{name} is damaged or incomplete ({why}): {missing}. Copy or download it again.")
    return image


def _what_is_there(image: Image.Image, stream: io.BufferedIOBase, name: str) -> tuple[Image.Image, int]:
    """Return what was decoded of a picture and the number of its rows, 0 where it is of no use."""
    if image.format not in _BY_ROWS or image.info.get("interlace"):
        return image, 0
    image.tile = []  # type: ignore[attr-defined]  # or whatever touches it would decode it again
    try:
        rows = _rows(image, 0, 0)
    except Exception:  # nothing was decoded at all
        rows = 0
    if image.format not in ("JPEG", "MPO") or stream.seek(0, 2) > MAX_BYTES_WHOLE:
        return image, rows
    stream.seek(0)
    data = stream.read() + _JPEG_END
    image.close()  # frees its pixels
    ended = open_picture(io.BytesIO(data), name)
    try:
        ended.load()
    except Exception:
        return ended, 0
    return ended, max(rows, _rows(ended, _JPEG_FILL, 1))


def _rows(image: Image.Image, fill: int, tolerance: int) -> int:
    """Count the rows from the first to the last that are not all of the value that stands for nothing."""
    found = []
    for _, strip in strips(image):
        values = np.asarray(strip).reshape(strip.height, -1)
        found.append(((values < fill - tolerance) | (values > fill + tolerance)).any(axis=1))
    rows = np.flatnonzero(np.concatenate(found))
    return int(rows[-1] - rows[0] + 1) if len(rows) else 0
