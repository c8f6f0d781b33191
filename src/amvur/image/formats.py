"""Opening pictures of many formats: which are read, up to what size, and what others are.

Nothing of Pillow's own state is changed: its `Image.open` warns of large pictures and knows HEIF only when
that is registered for the whole program.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image, ImageFile

from amvur.errors import ImageError
from amvur.image.kinds import HEAD_BYTES, RAW, FileKind, foreign_kind, is_heif
from amvur.reading import reason

MAX_MEGAPIXELS = 120
"""Larger pictures are refused, never shrunk unasked, because every coordinate in the results is a pixel of
the image as displayed. Reading takes up to 10 bytes a pixel, 1.2 GB: see `docs/photographs.md`."""

MEGAPIXELS_OF = {"AVIF": 48, "HEIF": 80, "JPEG2000": 40, "WEBP": 55}
"""Formats whose decoders hold a picture several times over: less is read, for the same 1.2 GB."""

MAX_BYTES_WHOLE = 256 * 2**20
"""The largest file of a format that is read whole before it is decoded."""

MIN_SIDE_PX = 16
"""No hand can be recognised in less."""

AGAIN = "Copy or download it again, or open it in an image editor and save it anew."
_SMALLER = "shrink it, or cut out the part with the hand."

_FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "TGA", "TIFF", "WEBP",
)  # fmt: skip
"""Pillow also opens formats that start other programs (EPS: Ghostscript) or are no photographs: not these."""
_READ_WHOLE = ("AVIF", "HEIF", "WEBP")

_DNG_VERSION, _NEW_SUBFILE_TYPE, _PHOTOMETRIC, _SUB_IFDS = 50706, 254, 262, 330
_ROWS_PER_STRIP, _TILE_WIDTH, _TILE_LENGTH = 278, 322, 323
_SENSOR_DATA = (32803, 34892)
"""TIFF's photometric interpretations of what a sensor saw: a color filter array, or linear raw."""

Opener = Callable[[Any, str], Image.Image]


def open_picture(stream: io.BufferedIOBase, name: str) -> Image.Image:
    """Return a picture whose header is read and whose size is allowed, its pixels not yet decoded.

    `name` says in errors which picture it is. Raises `ImageError` for files that are no pictures, of
    formats that are not read, damaged, too small or too large.
    """
    head = stream.read(HEAD_BYTES)
    if not head:
        raise ImageError(f"{name} is empty (0 bytes). Copy or download it again.")
    check_kind(head, name)
    image = _opened(stream, head, name)
    if _is_raw(image):
        raise ImageError(_foreign(RAW, name))
    check_size(image, name)
    return image


def check_kind(head: bytes, name: str) -> None:
    """Raise `ImageError` for the beginning of a file that is known to be no photograph."""
    kind = foreign_kind(head)
    if kind is not None:
        raise ImageError(_foreign(kind, name))


def check_size(image: Image.Image, name: str) -> None:
    """Raise `ImageError` for a picture with too few or too many pixels."""
    width, height = image.size
    if min(image.size) < MIN_SIDE_PX:
        raise ImageError(
            f"{name} has only {width}×{height} pixels, too few to show a hand. Give a picture of at least "
            f"{MIN_SIDE_PX} pixels a side, better 100 or more across the hand."
        )
    limit = _megapixels(image)
    if width * height > limit * 1_000_000:
        of_format = f" ({image.format})" if limit < MAX_MEGAPIXELS else ""
        other = "save it as JPEG or PNG, " if of_format and width * height <= MAX_MEGAPIXELS * 1e6 else ""
        raise ImageError(
            f"{name} is too large: {width}×{height} pixels. Give a picture of at most {limit} megapixels"
            f"{of_format}: {other}{_SMALLER}"
        )


def _megapixels(image: Image.Image) -> int:
    """Return how large a picture of this format may be, by what its decoder holds beside the picture."""
    if image.format in ("JPEG", "MPO") and image.mode == "CMYK" and image.info.get("progressive"):
        return 95
    if image.format == "HEIF" and (image.mode != "RGB" or image.info.get("bit_depth", 8) > 8):
        return 50
    tags: Any = getattr(image, "tag_v2", None)
    if image.format == "TIFF" and tags is not None and image.info.get("compression") != "raw":
        pixels = math.prod(image.size)
        strip = tags.get(_ROWS_PER_STRIP, image.height) * image.width
        piece = tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_LENGTH, 0) or min(strip, pixels)
        return 60 if piece > 16_000_000 else MAX_MEGAPIXELS  # a strip or tile is unpacked whole
    return MEGAPIXELS_OF.get(image.format or "", MAX_MEGAPIXELS)


def damaged(name: str, why: str) -> ImageError:
    """Return the error for a picture that cannot be decoded."""
    return ImageError(f"{name} is a damaged or incomplete image ({why}). {AGAIN}")


def _opened(stream: io.BufferedIOBase, head: bytes, name: str) -> Image.Image:
    """Try the formats that know this beginning."""
    failure = ""
    for format_, opener in _openers(head):
        _check_bytes(stream, format_, name)
        stream.seek(0)
        try:
            return opener(stream, "")
        except MemoryError:
            raise
        except Exception as error:  # whatever a decoder raises; another format may know the file
            if format_ != "TGA":  # has no signature, so every file is tried
                failure = failure or reason(error)
    if failure:
        raise damaged(name, failure)
    kind = "text" if head.isascii() and b"\0" not in head else "of an unknown kind"
    raise ImageError(
        f"{name} is not an image in a known format, whatever its name: it is {kind}, beginning with "
        f"{head[:16]!r}. Give a JPEG, PNG, HEIC, WebP, AVIF, TIFF, BMP or GIF file."
    )


def _openers(head: bytes) -> Iterator[tuple[str, Opener]]:
    """Yield the formats that a file with this beginning may have."""
    if is_heif(head):
        yield "HEIF", _open_heif
        return
    Image.init()
    for name in _FORMATS:
        opener, accept = Image.OPEN.get(name, (None, None))
        accepted = opener is not None and (accept is None or accept(head[:16]))
        if opener is not None and accepted:
            unsupported = accepted if isinstance(accepted, str) else ""
            yield name, _refuse(unsupported) if unsupported else opener


def _refuse(why: str) -> Opener:
    """Return an opener for a format that this Pillow was made without."""

    def refuse(stream: io.BufferedIOBase, filename: str) -> Image.Image:
        raise OSError(why)

    return refuse


def _open_heif(stream: io.BufferedIOBase, filename: str) -> Image.Image:
    """Open a HEIF picture, turned as it is displayed."""
    try:
        import pillow_heif
    except ImportError as error:  # no wheel for this machine
        raise OSError("HEIC needs a part that is not installed: pip install pillow-heif") from error

    opener: Opener = pillow_heif.HeifImageFile
    return opener(stream, filename)


def _check_bytes(stream: io.BufferedIOBase, format_: str, name: str) -> None:
    """Refuse large files of formats that are read whole."""
    if format_ not in _READ_WHOLE:
        return
    size = stream.seek(0, 2)
    if size > MAX_BYTES_WHOLE:
        raise ImageError(
            f"{name} is too large: {size:,} bytes, at most {MAX_BYTES_WHOLE:,} are read of {format_}. Save "
            "it as JPEG or PNG."
        )


def _is_raw(image: Image.Image) -> bool:
    """Say whether a TIFF is what a camera's sensor saw, whose first picture is a thumbnail or a mosaic."""
    tags: Any = getattr(image, "tag_v2", None)
    if image.format != "TIFF" or not isinstance(image, ImageFile.ImageFile) or tags is None:
        return False
    try:
        thumbnail = _SUB_IFDS in tags and bool(int(tags.get(_NEW_SUBFILE_TYPE, 0)) & 1)
        return thumbnail or _DNG_VERSION in tags or tags.get(_PHOTOMETRIC) in _SENSOR_DATA
    except Exception:  # a tag of a wrong type
        return False


def _foreign(kind: FileKind, name: str) -> str:
    return f"{name} is {kind.what}, not a photograph. {kind.advice(name)}"
