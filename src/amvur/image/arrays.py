"""Arrays given as images: the right kind passes, any other is told how to become it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from amvur.errors import InputError
from amvur.image.formats import MIN_SIDE_PX
from amvur.structures import RgbImage

WANTED = "An image must be a numpy array (height, width, 3) of uint8 in RGB order"


def check_image(image: object) -> RgbImage:
    """Return an `(H, W, 3)` uint8 array in one piece; `InputError` with the remedy for anything else."""
    if not isinstance(image, np.ndarray):
        kind = f"{type(image).__module__}.{type(image).__qualname__}"
        raise InputError(f"{WANTED}, found {kind}. {_instead(image)}")
    found = f"found shape {image.shape} of {image.dtype}"
    remedy = _shape_remedy(image)
    if remedy is not None:
        raise InputError(f"{WANTED}, {found}{remedy}")
    if min(image.shape[:2]) < MIN_SIDE_PX:
        raise InputError(
            f"{WANTED} and at least {MIN_SIDE_PX} pixels a side, {found}. Give a larger picture."
        )
    if isinstance(image, np.ma.MaskedArray):
        raise InputError(f"{WANTED}, found a masked array. Fill what is masked: image.filled(255).")
    if image.dtype != np.uint8:
        raise InputError(f"{WANTED}, {found}{_dtype_remedy(image)}")
    return np.ascontiguousarray(np.asarray(image))


def _instead(image: object) -> str:
    """Say how something that is no array becomes one."""
    if isinstance(image, Image.Image):
        return (
            "Use numpy.asarray(PIL.ImageOps.exif_transpose(image).convert('RGB')), or "
            "amvur.load_image(path).pixels: both turn it as it is displayed."
        )
    if isinstance(image, str | bytes | bytearray) or hasattr(image, "__fspath__") or hasattr(image, "read"):
        return "Read it first: amvur.load_image(...).pixels."
    if hasattr(image, "pixels"):
        return "Give its pixels: image.pixels."
    if type(image).__module__.split(".")[0] == "torch":
        shape = tuple(getattr(image, "shape", ()))
        value = "image.permute(1, 2, 0)" if len(shape) == 3 and shape[0] == 3 else "image"
        if getattr(getattr(image, "dtype", None), "is_floating_point", False):
            value = f"({value} * 255).round()" if _up_to_one(image) else f"{value}.round()"
        return f"Use {value}.byte().cpu().numpy()."
    if isinstance(image, list | tuple):
        return (
            "Give images one by one, or a list of arrays; of numbers make numpy.array(image, dtype='uint8')."
        )
    return "Convert it first: numpy.asarray(image)."


def _up_to_one(image: object) -> bool:
    try:
        return bool(image.max() <= 1)  # type: ignore[attr-defined]
    except Exception:  # an empty tensor, or one without values
        return True


def _shape_remedy(image: np.ndarray) -> str | None:
    """Say how an array of a wrong shape becomes an image; None for a right shape."""
    shape = image.shape
    if image.ndim == 2 or (image.ndim == 3 and shape[2] == 1):
        gray = "image" if image.ndim == 2 else "image[..., 0]"
        return f" (gray). Repeat it: numpy.stack([{gray}] * 3, axis=-1)."
    if image.ndim == 3 and shape[2] == 4:
        return " (with alpha). Composite it, or drop alpha: image[..., :3]."
    if image.ndim == 3 and shape[0] == 3 and shape[2] != 3:
        return " (channels first). Use image.transpose(1, 2, 0)."
    if image.ndim == 4:
        return " (a batch). Give the images one by one, or list(images)."
    return "." if image.ndim != 3 or shape[2] != 3 or 0 in shape else None


def _dtype_remedy(image: np.ndarray) -> str:
    """Say how an array of another type becomes uint8, by what values it has."""
    if image.dtype == np.bool_:
        return ". Use image.astype('uint8') * 255."
    if image.dtype.kind not in "iuf":
        return ". Its values are no plain numbers. Use numpy.array(image.tolist(), dtype='uint8')."
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        return " with values that are not finite. Replace them first: numpy.nan_to_num(image)."
    low, high = float(image.min()), float(image.max())
    values = f" with values from {low:g} to {high:g}"
    if low < 0:
        return (
            f"{values}. Undo what made them negative (such as normalization by mean and standard deviation), "
            "then scale to 0–255."
        )
    if image.dtype.kind == "f" and high <= 1:
        return f"{values}. Scale it to 0–255 first: (image * 255).round().astype('uint8')."
    if high <= 255:
        rounded = ".round()" if image.dtype.kind == "f" else ""
        other = "; if these are dark 16-bit values, (image / 257).round()" if image.dtype == "uint16" else ""
        return f"{values}. Use image{rounded}.astype('uint8'){other}."
    if high <= 65535:
        return f"{values}. Scale it to 0–255 first: (image / 257).round().astype('uint8') for 16 bits."
    return f"{values}. Scale it to 0–255 first: (image / image.max() * 255).round().astype('uint8')."
