"""Backgrounds without end: textures, gradients, shapes, blurred rooms, a user's own pictures.

A bank of gray textures is made once; every picture turns, stretches, colors and mixes some of them, so
that no two are alike and no picture file is needed. Colors are sRGB.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

from amvur.data.synthetic.scene import stacked
from amvur.errors import ImageError, InputError
from amvur.image import load_image

_BANK, _BANK_PX = 72, 256
_SHAPES = 14
_PHOTO_PX = 512
_SHAPE_LOG_SIZES = (np.log(0.06), np.log(0.9))


@dataclass(frozen=True)
class TextureBank:
    """Gray textures (0 to 1, seamless) that backgrounds and objects are made from."""

    gray: Float[Tensor, "T 1 P P"]


def make_bank(like: Tensor) -> TextureBank:
    """Make noise of every roughness, stripes, checks, cells and brick-like patterns, once a process."""
    return TextureBank(torch.from_numpy(_bank())[:, None].to(like))


@functools.lru_cache(maxsize=1)
def _bank() -> Float[np.ndarray, "T P P"]:
    rng = np.random.default_rng(11)
    makers = (_noise, _noise, _noise, _stripes, _checks, _cells, _dots, _warped)
    textures = [makers[i % len(makers)](rng) for i in range(_BANK)]
    bank: np.ndarray = np.stack([(t - t.min()) / (np.ptp(t) + 1e-9) for t in textures]).astype(np.float32)
    return bank


def _noise(rng: np.random.Generator) -> np.ndarray:
    f = np.hypot(np.fft.fftfreq(_BANK_PX)[:, None] * rng.uniform(0.4, 2.5), np.fft.rfftfreq(_BANK_PX)[None])
    spectrum = np.fft.rfft2(rng.normal(size=(_BANK_PX, _BANK_PX))) / np.maximum(
        f, 2 / _BANK_PX
    ) ** rng.uniform(0.4, 2.2)
    field = np.fft.irfft2(spectrum, s=(_BANK_PX, _BANK_PX))
    return np.asarray(np.clip(field / field.std(), -2.5, 2.5))


def _waves(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:_BANK_PX, :_BANK_PX] / _BANK_PX * 2 * np.pi
    a, b = rng.integers(1, 14, 2)
    return a * x, b * y


def _stripes(rng: np.random.Generator) -> np.ndarray:
    x, y = _waves(rng)
    return np.asarray(np.tanh(rng.uniform(0.5, 8) * np.sin(x + rng.integers(0, 3) * y)) + 0.15 * _noise(rng))


def _checks(rng: np.random.Generator) -> np.ndarray:
    x, y = _waves(rng)
    return np.asarray(np.tanh(9 * np.sin(x)) * np.tanh(9 * np.sin(y)) + rng.uniform(0, 0.4) * _noise(rng))


def _cells(rng: np.random.Generator) -> np.ndarray:
    places = rng.uniform(0, 1, (int(rng.integers(12, 90)), 2))
    grid = np.moveaxis(np.mgrid[:_BANK_PX, :_BANK_PX], 0, -1) / _BANK_PX
    step = (grid[:, :, None] - places + 0.5) % 1 - 0.5
    distance = (step**2).sum(-1)
    if rng.random() < 0.5:
        return np.asarray(rng.uniform(0, 1, len(places))[distance.argmin(-1)])
    nearest = np.partition(distance, 1, -1)[..., :2] ** 0.5
    return np.asarray(np.minimum(nearest[..., 1] - nearest[..., 0], 0.04) * 30 + 0.1 * _noise(rng))


def _dots(rng: np.random.Generator) -> np.ndarray:
    x, y = _waves(rng)
    return np.asarray(np.tanh(6 * (np.cos(x) * np.cos(y) - rng.uniform(-0.2, 0.7))))


def _warped(rng: np.random.Generator) -> np.ndarray:
    x, y = _waves(rng)
    return np.asarray(np.sin(x + rng.uniform(0.5, 4) * _noise(rng)) + 0.3 * np.sin(y + 2 * _noise(rng)))


@dataclass(frozen=True)
class BackgroundDraws:
    """How three textures and the shapes before them make one background a row."""

    texture: Float[Tensor, "B 3"]
    affine: Float[Tensor, "B 3 2 3"]
    palette: Float[Tensor, "B 4 3"]
    weights: Float[Tensor, "B 4"]
    gradient: Float[Tensor, "B 2"]
    shapes: Float[Tensor, "B 14 10"]
    blur: Float[Tensor, "B"]


def draw_backgrounds(rngs: Sequence[np.random.Generator], skin: Float[Tensor, "B 3"]) -> BackgroundDraws:
    """Draw backgrounds; some shapes take the color of `skin` (sRGB), as faces and arms do."""
    rows = [_draw_background(rng, tone) for rng, tone in zip(rngs, skin.cpu().numpy(), strict=True)]
    return BackgroundDraws(*(stacked([row[i] for row in rows], skin) for i in range(7)))


def _draw_background(rng: np.random.Generator, skin: np.ndarray) -> tuple[object, ...]:
    affine = np.zeros((3, 2, 3))
    for layer in affine:
        angle, zoom = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(np.log(0.25), np.log(2.2)))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        layer[:, :2] = turn * zoom * np.exp(rng.normal(0, 0.25, (1, 2)))
        layer[:, 2] = rng.uniform(-1, 1, 2)
    colorful = rng.uniform(0.01, 0.22) * rng.uniform(0.1, 1)
    level = rng.uniform(0.08, 0.92)
    palette = np.clip(level + rng.normal(0, 0.2, (4, 1)) + colorful * rng.normal(size=(4, 3)), 0.01, 0.99)
    weights = rng.uniform(0, 1, 4) * (rng.random(4) < [0.85, 0.6, 0.4, 0.7])
    shapes = np.stack([_draw_shape(rng, palette, skin) for _ in range(_SHAPES)])
    shapes[:, 0] *= np.arange(_SHAPES) < rng.integers(0, _SHAPES + 1) * (rng.random() < 0.8)
    if rng.random() < 0.35:
        shapes = _as_room(rng, shapes)
    blur = rng.choice([0.0, rng.uniform(0.5, 2), rng.uniform(2, 9)], p=[0.35, 0.3, 0.35])
    return rng.integers(0, _BANK, 3), affine, palette, weights, rng.normal(0, 0.5, 2), shapes, blur


def _draw_shape(rng: np.random.Generator, palette: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Draw: on, x, y, half width, half height, angle, roundness, and a color."""
    own = rng.random()
    color = rng.uniform(0, 1, 3) if own < 0.15 else palette[rng.integers(4)] + rng.normal(0, 0.12, 3)
    if own > 0.9:
        color = skin + rng.normal(0, 0.05, 3)
    size = np.exp(rng.uniform(*_SHAPE_LOG_SIZES, 2))
    turn = rng.uniform(0, np.pi) * (rng.random() < 0.5)
    return np.array([1.0, *rng.uniform(-1.1, 1.1, 2), *size, turn, float(rng.integers(2)), *color.clip(0, 1)])


def _as_room(rng: np.random.Generator, shapes: np.ndarray) -> np.ndarray:
    """Turn shapes into a floor, a window or picture, and things on shelves, all upright."""
    tilt = rng.normal(0, 0.12)
    shapes[:, 5], shapes[:, 6] = tilt, 0.0
    shapes[0, :5] = [1, 0, 1.2, 3, rng.uniform(0.3, 1.1)]
    shapes[1, :5] = [1, *rng.uniform(-0.8, 0.8, 2), *rng.uniform(0.2, 0.7, 2)]
    shapes[1, 7:] = rng.uniform(0.7, 1.0)
    row = rng.uniform(-0.6, 0.6)
    shapes[4:, 0] = 1
    shapes[4:, 1] = np.linspace(-1, 1, _SHAPES - 4) + rng.normal(0, 0.05, _SHAPES - 4)
    shapes[4:, 4] = rng.uniform(0.1, 0.45, _SHAPES - 4)
    shapes[4:, 2] = row - shapes[4:, 4]
    shapes[4:, 3] = rng.uniform(0.03, 0.12, _SHAPES - 4)
    return shapes


def paint_backgrounds(bank: TextureBank, draws: BackgroundDraws, size_px: int) -> Float[Tensor, "B H W 3"]:
    """Return backgrounds in sRGB [0, 1]."""
    grid = _grid(size_px, bank.gray)
    # Planes of color: sums over rows of three numbers are slow.
    picture = draws.palette[:, 0, :, None, None] + _slope(draws, grid)
    for layer in range(3):
        if not bool(draws.weights[:, layer].any()):
            continue
        places = (
            torch.einsum("hwk,bck->bhwc", grid, draws.affine[:, layer, :, :2])
            + draws.affine[:, None, None, layer, :, 2]
        )
        wrapped = places - 2 * ((places + 1) / 2).floor()
        gray = grid_sample(
            bank.gray[draws.texture[:, layer].long()], wrapped, align_corners=False, padding_mode="border"
        )
        share = gray * draws.weights[:, layer, None, None, None]
        picture = torch.lerp(picture, draws.palette[:, layer + 1, :, None, None], share)
    _add_shapes(picture, draws, grid)
    return blur_some(picture.permute(0, 2, 3, 1), draws.blur).clamp(0, 1)


def _grid(size_px: int, like: Tensor) -> Float[Tensor, "H W 2"]:
    """Return pixel centres as x, y from -1 to 1."""
    steps = (torch.arange(size_px, device=like.device, dtype=like.dtype) + 0.5) * (2 / size_px) - 1
    return torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)


def _slope(draws: BackgroundDraws, grid: Float[Tensor, "H W 2"]) -> Float[Tensor, "B 1 H W"]:
    x = grid[..., 0] * draws.gradient[:, 0, None, None] + grid[..., 1] * draws.gradient[:, 1, None, None]
    return (0.2 * draws.weights[:, 3, None, None] * x)[:, None]


def _add_shapes(
    picture: Float[Tensor, "B 3 H W"], draws: BackgroundDraws, grid: Float[Tensor, "H W 2"]
) -> None:
    """Lay rectangles and ellipses over the picture, each with a soft inner shade."""
    for k, box in enumerate(_boxes(draws.shapes.cpu().double().numpy(), grid.shape[0])):
        if box is None:
            continue
        on, x, y, w, h, angle, rounded = draws.shapes[:, k, :7].T[:, :, None, None]
        cos, sin = angle.cos(), angle.sin()
        dx, dy = grid[box][..., 0] - x, grid[box][..., 1] - y
        u, v = ((cos * dx + sin * dy) / w).abs(), ((cos * dy - sin * dx) / h).abs()
        reach = torch.where(rounded > 0.5, (u.square() + v.square()).sqrt(), torch.maximum(u, v))
        cover = (((1 - reach) * torch.minimum(w, h) * (0.4 * grid.shape[0])).clamp(0, 1) * on)[:, None]
        shade = (1 - 0.18 * reach[:, None].clamp(max=1).square()) * draws.shapes[:, k, 7:, None, None]
        part = picture[:, :, box[0], box[1]]
        part += cover * (shade - part)


def _boxes(shapes: Float[np.ndarray, "B S 10"], size_px: int) -> list[tuple[slice, slice] | None]:
    """Return the rows and columns in which each shape may lie in any picture; None where it is in none."""
    on, x, y, w, h, angle = np.moveaxis(shapes[..., :6], -1, 0)
    cos, sin = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    boxes: list[tuple[slice, slice] | None] = []
    limits = []
    for center, reach in ((y, sin * w + cos * h), (x, cos * w + sin * h)):
        low, high = np.where(on > 0, center - reach, 9.0), np.where(on > 0, center + reach, -9.0)
        first = np.floor((low.min(0) + 1) / 2 * size_px).astype(int) - 1
        last = np.ceil((high.max(0) + 1) / 2 * size_px).astype(int) + 1
        limits.append((first.clip(0, size_px), last.clip(0, size_px)))
    for top, bottom, left, right in zip(*limits[0], *limits[1], strict=True):
        empty = bottom <= top or right <= left
        boxes.append(None if empty else (slice(int(top), int(bottom)), slice(int(left), int(right))))
    return boxes


def blur_some(picture: Float[Tensor, "B H W 3"], sigma_px: Float[Tensor, "B"]) -> Float[Tensor, "B H W 3"]:
    """Blur each picture by about its own sigma: shrunk, smoothed and stretched again."""
    blurred = picture.clone()
    levels = torch.where(sigma_px < 0.5, 0, torch.where(sigma_px < 2, 2, torch.where(sigma_px < 5, 4, 8)))
    for factor in (2, 4, 8):
        chosen = (levels == factor).nonzero()[:, 0]
        if not len(chosen):
            continue
        size = picture.shape[1]
        small = avg_pool2d(picture[chosen].permute(0, 3, 1, 2), factor, ceil_mode=True)
        small = avg_pool2d(small, 3, 1, 1, count_include_pad=False)
        large = interpolate(small, size=(size, size), mode="bilinear", align_corners=False)
        blurred[chosen] = large.permute(0, 2, 3, 1)
    return blurred


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
    try:
        image = Image.fromarray(load_image(path, at_least_px=_PHOTO_PX).pixels)
    except ImageError as error:
        raise InputError(f"Wanted a background picture: {error}") from error
    image.thumbnail((2 * _PHOTO_PX, _PHOTO_PX))
    return np.array(image)


def mix_spectra(
    picture: Float[Tensor, "B H W 3"],
    other: Float[Tensor, "B H W 3"],
    share: Float[Tensor, "B"],
    radius: float = 0.02,
) -> Float[Tensor, "B H W 3"]:
    """Give pictures part of the low-frequency amplitudes of others, keeping their phases.

    `share` (0 to 1) of the amplitudes is taken below `radius` cycles a pixel. Source: Yang and Soatto,
    "FDA: Fourier domain adaptation for semantic segmentation", CVPR 2020.
    """
    chosen = (share > 0).nonzero()[:, 0]
    if not len(chosen):
        return picture
    size = picture.shape[1:3]
    a = torch.fft.rfft2(picture[chosen], dim=(1, 2))
    b = torch.fft.rfft2(other[chosen], dim=(1, 2))
    fy = torch.fft.fftfreq(size[0], device=picture.device)[:, None]
    fx = torch.fft.rfftfreq(size[1], device=picture.device)[None]
    low = (
        torch.exp(-(fy.square() + fx.square()) / radius**2)[None, ..., None] * share[chosen, None, None, None]
    )
    # The mean (zero frequency) is exposure's business.
    low[:, 0, 0] = low[:, 0, 0] * 0.1
    amplitude = a.abs()
    gain = 1 + low * (b.abs() / amplitude.clamp(min=1e-6) - 1)
    mixed = picture.clone()
    mixed[chosen] = torch.fft.irfft2(a * gain.clamp(max=5), s=size, dim=(1, 2)).clamp(0, 1)
    return mixed
