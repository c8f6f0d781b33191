"""Pixels as displayed: any mode, any color profile and any turn become 8-bit sRGB, a strip at a time.

Strips keep the peak of memory at what the decoder holds plus the result: nothing is held a third time.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageCms

from amvur.reading import reason
from amvur.structures import RgbImage

STRIP_PIXELS = 2**20

MAX_PROFILE_BYTES = 16 * 2**20
"""Larger color profiles are not used; the largest of printers have 3 MB."""

_STORED: dict[int, Callable[[RgbImage], RgbImage]] = {
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    4: lambda shown: shown[::-1],
    5: lambda shown: shown.transpose(1, 0, 2),
    6: lambda shown: shown[:, ::-1].transpose(1, 0, 2),
    7: lambda shown: shown[::-1, ::-1].transpose(1, 0, 2),
    8: lambda shown: shown[::-1].transpose(1, 0, 2),
}
"""The pixels as they lie in the file, a view of those displayed, for each value of EXIF tag 0x0112."""

_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""What kind of pixels a color profile is for."""

Conversion = Callable[[Image.Image], Image.Image]


def to_srgb(image: Image.Image, name: str, notes: list[str]) -> RgbImage:
    """Turn a decoded picture of any mode into `(H, W, 3)` pixels as displayed; `notes` gets warnings."""
    orientation = _orientation(image, name, notes)
    width, height = image.size
    shown = np.empty((width, height, 3) if orientation in (5, 6, 7, 8) else (height, width, 3), np.uint8)
    stored = _STORED[orientation](shown) if orientation in _STORED else shown
    convert = _conversion(image, name, notes)
    for top, strip in strips(image):
        stored[top : top + strip.height] = np.asarray(convert(strip))
    return shown


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield a decoded picture in strips of about `STRIP_PIXELS`, each with its first row's number."""
    width, height = image.size
    rows = max(STRIP_PIXELS // width, 1)
    if rows >= height:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _orientation(image: Image.Image, name: str, notes: list[str]) -> int:
    """The EXIF orientation, 1 (upright) where there is none."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception as error:  # Pillow's EXIF parser fails in many ways on damaged data
        notes.append(f"{name}: its EXIF data are damaged ({reason(error)}), so it may be turned or mirrored.")
        return 1


def _conversion(image: Image.Image, name: str, notes: list[str]) -> Conversion:
    """Return what makes RGB of a strip of this picture, transparency put on white."""
    if image.mode.startswith("I") or image.mode == "F":
        black, white = _range(image, name, notes)
        color = _color("L", image.info.get("icc_profile"), name, notes)
        return lambda strip: color(_to_8_bits(strip, black, white))
    gray_alpha = image.mode in ("LA", "La")
    transparent = gray_alpha or "transparency" in image.info or image.mode in ("RGBA", "PA", "RGBa")
    mode = image.mode
    if gray_alpha:
        mode = "L"
    elif transparent or mode not in ("L", "RGB", "CMYK", "LAB"):
        mode = "RGB"  # the color management knows no palettes, single bits or other spaces
    color = _color(mode, image.info.get("icc_profile"), name, notes)
    if transparent:
        return lambda strip: _on_white(strip.convert("LA" if gray_alpha else "RGBA"), mode, color)
    return lambda strip: color(strip if strip.mode == mode else strip.convert(mode))


def _on_white(strip: Image.Image, mode: str, color: Conversion) -> Image.Image:
    """Put a strip with alpha on white."""
    white = Image.new("RGB", strip.size, "white")
    return Image.composite(color(strip.convert(mode)), white, strip.getchannel("A"))


def _values(strip: Image.Image) -> np.ndarray:
    """Return the numbers of a gray strip, 0 where there is none."""
    return np.nan_to_num(np.asarray(strip).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _range(image: Image.Image, name: str, notes: list[str]) -> tuple[float, float]:
    """Return what black and white are in a gray picture of 16 bits, 32 bits or floating point."""
    if image.mode.startswith("I;16"):
        return 0.0, 65535.0
    extremes = [(float(v.min()), float(v.max())) for v in (_values(strip) for _, strip in strips(image))]
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    if image.mode == "F" and low >= 0 and high <= 1:
        return 0.0, 1.0
    if image.mode == "I" and low >= 0 and high <= 65535:
        return 0.0, 255.0 if high <= 255 else 65535.0  # Pillow gives some 16-bit files as 32-bit ones
    notes.append(f"{name} holds numbers from {low:g} to {high:g}: shown as black to white.")
    return min(low, 0.0), max(high, 1e-12)


def _to_8_bits(strip: Image.Image, black: float, white: float) -> Image.Image:
    """Bring a gray strip to 8 bits."""
    scaled = (_values(strip) - black) / (white - black) * 255
    return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8))


def _color(mode: str, profile: bytes | None, name: str, notes: list[str]) -> Conversion:
    """Return what makes sRGB of a strip: by the profile's curves, else by the usual formulas."""
    srgb = ImageCms.createProfile("sRGB")
    if mode == "LAB":
        lab = ImageCms.buildTransform(ImageCms.createProfile("LAB"), srgb, "LAB", "RGB")
        return lambda strip: _apply(lab, strip)
    if profile:
        try:
            if len(profile) > MAX_PROFILE_BYTES:
                raise ValueError(f"it has {len(profile):,} bytes")
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            space = source.profile.xcolor_space
            wanted = _MODES.get(space, space)
            if wanted != mode and (wanted, mode) != ("RGB", "L"):
                raise ValueError(f"it is for {space.strip() or 'nothing known'} and the picture is {mode}")
            transform = ImageCms.buildTransform(source, srgb, wanted, "RGB")
            if wanted == "RGB" and _is_identity(transform):
                return lambda strip: strip.convert("RGB")
            return lambda strip: _apply(transform, strip.convert(wanted))
        except Exception as error:
            notes.append(
                f"{name}: its color profile cannot be used ({reason(error)}); colors may be a little off."
            )
    return lambda strip: strip.convert("RGB")


def _apply(transform: ImageCms.ImageCmsTransform, strip: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(strip, transform)
    return strip.convert("RGB") if converted is None else converted


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Say whether a transform from RGB changes nothing by more than 1 of 255: the profile is sRGB's.

    A profile's name says little: linear ones are called sRGB too. Saves its work on most photographs.
    """
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(1, -1, 3)
    gray = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    before = np.concatenate([grid, gray], axis=1)
    after = np.asarray(_apply(transform, Image.fromarray(before)))
    return bool(np.abs(after.astype(np.int16) - before).max() <= 1)
