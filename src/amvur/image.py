"""Reading photographs as displayed: what a file holds becomes 8-bit sRGB pixels, or a clear error."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from amvur.errors import ImageError, InputError
from amvur.structures import RgbImage

IMAGE_SUFFIXES = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff",
    ".webp",
)  # fmt: skip
"""What `find_images` picks up in a folder; a file named directly may have any suffix."""

MAX_MEGAPIXELS = 120
"""Decoding takes up to 10 bytes a pixel, 1.2 GB at this size; larger files are refused, never shrunk unasked,
because every coordinate in the results is a pixel of the image as displayed."""

MIN_SIDE_PX = 16
"""No hand can be recognised in less."""

_FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "TGA", "TIFF",
    "WEBP",
)  # fmt: skip
"""Pillow also opens formats that start other programs (EPS: Ghostscript) or are no photographs: not these."""

_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each value of EXIF tag 0x0112."""


@dataclass(frozen=True)
class LoadedImage:
    """An image as displayed, `(H, W, 3)` uint8 sRGB, and what the user should know about its reading."""

    pixels: RgbImage
    warnings: tuple[str, ...] = ()


def load_image(path: str | os.PathLike[str]) -> LoadedImage:
    """Read an image file as a viewer would show it.

    The EXIF orientation is applied, colour profiles are converted to sRGB, transparency is put on white (the
    page that such pictures are cut out for, and what viewers show), gray, palette, 1-bit, 16-bit, CMYK and
    float images become 8-bit RGB, and of an animation the first frame is taken, with a warning.

    Raises `ImageError` with the path, what was found and a remedy for anything else.
    """
    file = Path(path)
    notes: list[str] = []
    try:
        with file.open("rb") as stream:
            if not stream.read(1):
                raise ImageError(f"{file} is empty (0 bytes). Copy or download it again.")
            stream.seek(0)
            pixels = _decode(stream, file, notes)
    except FileNotFoundError as error:
        raise ImageError(f"{file} does not exist. Check the path (here: {Path.cwd()}).") from error
    except IsADirectoryError as error:
        raise ImageError(
            f"{file} is a folder, not an image. Name a file in it, or use find_images."
        ) from error
    except PermissionError as error:
        if file.is_dir():  # what opening a folder raises on Windows
            raise ImageError(f"{file} is a folder, not an image. Name a file in it.") from error
        raise ImageError(f"{file} may not be read. Change its permissions.") from error
    except OSError as error:
        raise ImageError(f"{file} cannot be read: {error}. Check the disk or the path.") from error
    return LoadedImage(pixels, tuple(notes))


def find_images(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Replace folders by the image files in them (not in folders below), sorted by name; keep files.

    Raises `InputError` for a folder without images. A file that does not exist stays in the list, so that
    reading it fails alone.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file())
        if not inside:
            raise InputError(
                f"The folder {path} has no images: looked for names ending in {', '.join(IMAGE_SUFFIXES)} "
                f"(in capitals too), not in folders below it. Give the folder that holds them; if they end "
                "otherwise, rename them."
            )
        files.extend(inside)
    return files


def check_image(image: object, what: str = "An image") -> RgbImage:
    """Return `image` if it is an `(H, W, 3)` uint8 array, else raise `InputError` with the remedy."""
    wanted = f"{what} must be a numpy array (height, width, 3) of uint8 in RGB order"
    if not isinstance(image, np.ndarray):
        remedy = "Use numpy.asarray(image.convert('RGB'))" if isinstance(image, Image.Image) else "Convert it"
        raise InputError(f"{wanted}, found {type(image).__module__}.{type(image).__name__}. {remedy} first.")
    found = f"found shape {image.shape} of {image.dtype}"
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        raise InputError(f"{wanted}, {found} (gray). Repeat it: numpy.stack([gray] * 3, axis=-1).")
    if image.ndim == 3 and image.shape[2] == 4:
        raise InputError(f"{wanted}, {found} (with alpha). Composite it, or drop alpha: image[..., :3].")
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        raise InputError(f"{wanted}, {found} (channels first). Use image.transpose(1, 2, 0).")
    if image.ndim == 4:
        raise InputError(f"{wanted}, {found} (a batch). Give a list of images: list(images).")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"{wanted}, {found}.")
    if min(image.shape[:2]) < MIN_SIDE_PX:
        raise InputError(
            f"{wanted} and at least {MIN_SIDE_PX} pixels a side, {found}. Give a larger picture."
        )
    if image.dtype != np.uint8:
        scale = "image * 255" if np.issubdtype(image.dtype, np.floating) else "image / 257 (for 16 bits)"
        raise InputError(f"{wanted}, {found}. Scale it to 0–255 first: ({scale}).round().astype('uint8').")
    return image


def _decode(stream: IO[bytes], file: Path, notes: list[str]) -> RgbImage:
    """Decode an open file; all of Pillow's ways to fail become an `ImageError`."""
    Image.init()
    try:
        with warnings.catch_warnings():
            # Pillow warns of sizes that the limit below deals with, and of odd metadata that is not used.
            warnings.simplefilter("ignore")
            with Image.open(stream, formats=[name for name in _FORMATS if name in Image.OPEN]) as image:
                _check_size(image.size, file)
                frames = getattr(image, "n_frames", 1)
                if frames > 1 and image.format != "MPO":  # phones put previews and depth maps into MPO files
                    notes.append(f"{file} holds {frames} pictures (frames or pages): only the first is used.")
                image.load()
                return _to_srgb(image, file, notes)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{file} is too large: {error} {_SMALLER}") from error
    except UnidentifiedImageError as error:
        raise ImageError(_unknown(stream, file)) from error
    except MemoryError as error:
        raise ImageError(f"{file} has more pixels than fit into memory. {_SMALLER}") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError) as error:
        raise ImageError(
            f"{file} is a damaged or incomplete image ({error}). Copy or download it again, or open it in an "
            f"image editor and save it anew."
        ) from error


_SMALLER = (
    f"Give a picture of at most {MAX_MEGAPIXELS} megapixels: shrink it, or cut out the part with the hand."
)


def _check_size(size: tuple[int, int], file: Path) -> None:
    width, height = size
    if min(size) < MIN_SIDE_PX:
        raise ImageError(
            f"{file} has only {width}×{height} pixels, too few to show a hand. Give a picture of at least "
            f"{MIN_SIDE_PX} pixels a side, better 100 or more across the hand."
        )
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise ImageError(f"{file} is too large: {width}×{height} pixels. {_SMALLER}")


def _unknown(stream: IO[bytes], file: Path) -> str:
    """Describe a file that Pillow does not recognise."""
    stream.seek(0)
    head = stream.read(32)
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"):
        return (
            f"{file} is a HEIC photograph, which needs a plug-in. Convert it to JPEG, or install pillow-heif "
            f"and call pillow_heif.register_heif_opener() first."
        )
    kind = "text" if head.isascii() and b"\0" not in head else "of an unknown kind"
    return (
        f"{file} is not an image in a known format, whatever its name: it is {kind}, beginning with "
        f"{head[:16]!r}. Give a JPEG, PNG, WebP, TIFF, BMP or GIF file."
    )


def _to_srgb(image: Image.Image, file: Path, notes: list[str]) -> RgbImage:
    """Turn a decoded image of any mode into pixels as displayed."""
    orientation = _orientation(image, file, notes)
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bits(image, file, notes)
    transparent = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa")
    profile = image.info.get("icc_profile")
    if transparent or image.mode in ("P", "1", "HSV", "YCbCr"):
        # Palette and gray pictures with alpha have no form that the colour management knows.
        image = image.convert("RGBA" if transparent else "RGB")
    alpha = image.getchannel("A") if transparent else None
    if alpha is not None:
        image = image.convert("RGB")
    image = _apply_profile(image, profile, file, notes)
    if alpha is not None:
        white = Image.new("RGB", image.size, "white")
        image = Image.composite(image, white, alpha)
    if orientation in _ORIENTATIONS:
        image = image.transpose(_ORIENTATIONS[orientation])
    return np.array(image)


def _orientation(image: Image.Image, file: Path, notes: list[str]) -> int:
    """The EXIF orientation, 1 (upright) where there is none."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception as error:  # Pillow's EXIF parser fails in many ways on damaged data
        notes.append(f"{file}: its EXIF data are damaged ({error}), so it may be turned or mirrored.")
        return 1


def _to_8_bits(image: Image.Image, file: Path, notes: list[str]) -> Image.Image:
    """Bring gray images of 16 bits, 32 bits or floating point to 8 bits."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F" and low >= 0 and high <= 1:
        black, white = 0.0, 1.0
    elif image.mode.startswith("I;16") or (image.mode == "I" and low >= 0 and 255 < high <= 65535):
        black, white = 0.0, 65535.0  # Pillow gives some 16-bit files as 32-bit ones
    elif image.mode == "I" and low >= 0 and high <= 255:
        black, white = 0.0, 255.0
    else:
        black, white = min(low, 0.0), max(high, 1e-12)
        notes.append(f"{file} holds numbers from {low:g} to {high:g}: shown as black to white.")
    scaled = (values - black) / (white - black) * 255
    gray = Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8))
    gray.info = {key: value for key, value in image.info.items() if key == "icc_profile"}
    return gray


def _apply_profile(image: Image.Image, profile: bytes | None, file: Path, notes: list[str]) -> Image.Image:
    """Convert to sRGB by the embedded colour profile, or by the usual formulas where there is none."""
    srgb = ImageCms.createProfile("sRGB")
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        return image.convert("RGB") if converted is None else converted
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            notes.append(f"{file}: its colour profile cannot be used ({error}); colours may be a little off.")
    return image.convert("RGB")
