"""What a camera does to light: blur of lens and motion, white balance, tone curve, noise, JPEG.

All of it is plain torch on any device; every picture's result depends on its own draws alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

from amvur.data.synthetic.scene import SceneConfig, stacked
from amvur.render import linear_to_srgb

_KERNEL_PX = 15
_SMALL_KERNEL_PX = 5
_NOISE_BANK = 1 << 21
_BLOCK = 8
_REFERENCE_PX = 224
# ITU-T T.81, annex K: the usual quantisation tables.
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, *([99] * 32),
)  # fmt: skip
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


@dataclass(frozen=True)
class CameraEffects:
    """One camera a row: blur kernel's numbers (px), gains, curve, noise, JPEG quality (0: none)."""

    focus_px: Float[Tensor, "B"]
    defocus_px: Float[Tensor, "B"]
    motion_px: Float[Tensor, "B 2"]
    gains: Float[Tensor, "B 3"]
    gamma: Float[Tensor, "B"]
    contrast: Float[Tensor, "B"]
    saturation: Float[Tensor, "B"]
    noise: Float[Tensor, "B"]
    noise_grain: Float[Tensor, "B"]
    vignette: Float[Tensor, "B"]
    quality: Float[Tensor, "B"]
    noise_start: Int64[Tensor, "B"]


def draw_effects(rngs: Sequence[np.random.Generator], config: SceneConfig, like: Tensor) -> CameraEffects:
    """Draw cameras."""
    rows = [_draw_effects(rng, config) for rng in rngs]
    columns = [stacked([row[i] for row in rows], like) for i in range(11)]
    start = torch.tensor([row[11] for row in rows], device=like.device)
    return CameraEffects(*(*columns, start))


def _draw_effects(rng: np.random.Generator, config: SceneConfig) -> tuple[object, ...]:
    defocus = rng.uniform(0.8, 2.6) * (rng.random() < config.defocus_rate)
    length, angle = rng.uniform(2, 10) * (rng.random() < config.motion_blur_rate), rng.uniform(0, np.pi)
    warmth = rng.normal(0, 0.10)
    gains = np.exp(np.array([warmth, rng.normal(0, 0.03), -warmth]))
    gray = rng.random() < config.grayscale_rate
    low, high = np.log(np.maximum(config.noise_std, 1e-5))
    noise = np.exp(rng.uniform(low, high) - 0.4 * rng.random() * (high - low))
    quality = rng.uniform(*config.jpeg_quality) * (rng.random() < config.jpeg_rate)
    return (
        rng.uniform(0.35, 0.9),
        defocus,
        [length * np.cos(angle), length * np.sin(angle)],
        gains,
        np.clip(rng.normal(0, 0.22), -0.6, 0.6),
        rng.uniform(-0.3, 0.9),
        0.0 if gray else np.clip(rng.normal(1.0, 0.18), 0.4, 1.5),
        noise,
        rng.uniform(0, 1),
        rng.uniform(0, 0.3) * (rng.random() < 0.3),
        quality,
        int(rng.integers(0, _NOISE_BANK)),
    )


def tone(linear: Float[Tensor, "N C 3"], effects: CameraEffects) -> Float[Tensor, "N C 3"]:
    """Turn linear light into the camera's sRGB: white balance, shoulder, curve, saturation.

    Row i of `linear` is in picture i; any points in it. Vertex colors take the same way as pixels.
    """
    light = linear * effects.gains[:, None]
    # A shoulder instead of a cut: 0.8 and more is pressed below 1.
    light = torch.where(light > 0.7, 0.7 + 0.3 * torch.tanh((light - 0.7) * (1 / 0.3)), light)
    color = linear_to_srgb(light.clamp(0, 1))
    color = color + effects.gamma[:, None, None] * color * (1 - color)
    color = color + effects.contrast[:, None, None] * color * (1 - color) * (2 * color - 1)
    gray = color @ color.new_tensor(_TO_YCC[0])
    return (gray[..., None] + effects.saturation[:, None, None] * (color - gray[..., None])).clamp(0, 1)


def blur(linear: Float[Tensor, "B H W 3"], effects: CameraEffects) -> Float[Tensor, "B H W 3"]:
    """Blur by lens, defocus and motion: one kernel a picture, small where that is enough."""
    large = (effects.defocus_px > 0) | (effects.motion_px.abs().sum(-1) > 0)
    result = linear.clone()
    for wanted, size in ((False, _SMALL_KERNEL_PX), (True, _KERNEL_PX)):
        chosen = (large == wanted).nonzero()[:, 0]
        if len(chosen):
            kernels = _kernels(effects, chosen, size, linear.shape[1] / _REFERENCE_PX)
            result[chosen] = _filter(linear[chosen], kernels)
    return result


def _kernels(
    effects: CameraEffects, chosen: Int64[Tensor, "N"], size: int, zoom: float
) -> Float[Tensor, "N K K"]:
    """Return normalised kernels: a Gaussian around a line, or a soft disk around it."""
    half = size // 2
    steps = torch.arange(-half, half + 1, device=chosen.device, dtype=effects.focus_px.dtype)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    motion = effects.motion_px[chosen] * zoom
    length = motion.norm(dim=-1).clamp(max=2.0 * half - 2)
    ux, uy = (motion / motion.norm(dim=-1, keepdim=True).clamp(min=1e-6)).T[:, :, None, None]
    along = x * ux + y * uy
    inside = along.clamp(-1, 1) * 0 + torch.minimum(along.abs(), length[:, None, None] / 2) * along.sign()
    square = (x - inside * ux).square() + (y - inside * uy).square()
    focus = effects.focus_px[chosen, None, None] * max(zoom, 0.5)
    disk = effects.defocus_px[chosen, None, None] * zoom
    soft = torch.exp(-((square.sqrt() - disk).clamp(min=0) / focus).square() / 2)
    return soft / soft.sum((1, 2), keepdim=True)


def _filter(pictures: Float[Tensor, "N H W 3"], kernels: Float[Tensor, "N K K"]) -> Float[Tensor, "N H W 3"]:
    size = kernels.shape[-1]
    planes = pad(pictures.permute(0, 3, 1, 2).contiguous(), (size // 2,) * 4, mode="replicate")
    if size > _SMALL_KERNEL_PX:
        # Wide kernels by Fourier; they are symmetric, so a correlation is a convolution.
        height, width = planes.shape[2:]
        spectrum = torch.fft.rfft2(planes) * torch.fft.rfft2(kernels, s=(height, width))[:, None]
        out = torch.fft.irfft2(spectrum, s=(height, width))[..., size - 1 :, size - 1 :]
    else:
        weights = kernels[:, None].repeat_interleave(3, 0)
        out = conv2d(planes.flatten(0, 1)[None], weights, groups=len(weights))[0].unflatten(0, (-1, 3))
    filtered: Tensor = out.permute(0, 2, 3, 1)
    return filtered


class SensorNoise:
    """Noise of sensors: windows of one long row of normal numbers, made once."""

    def __init__(self, device: torch.device) -> None:
        """Make the row; it is the same everywhere."""
        generator = torch.Generator().manual_seed(5)
        row = torch.randn(_NOISE_BANK, generator=generator)
        self.row = torch.cat([row, row]).to(device)

    def add(self, picture: Float[Tensor, "B H W 3"], effects: CameraEffects) -> Float[Tensor, "B H W 3"]:
        """Add noise, stronger in the dark, in part of a coarser grain; clamp to [0, 1]."""
        count = picture[0].numel()
        if count > _NOISE_BANK:
            raise ValueError(f"a picture of {count} numbers is larger than the noise of {_NOISE_BANK}")
        windows = torch.stack([self.row[s : s + count] for s in effects.noise_start.tolist()])
        fine = windows.view_as(picture)
        coarse = _box(_box(fine, 1), 2) * (2.2 / 9)
        grain = effects.noise_grain[:, None, None, None]
        strength = effects.noise[:, None, None, None] * (1.25 - 0.7 * picture)
        return (picture + strength * (fine + grain * (coarse - fine))).clamp(0, 1)


def _box(picture: Float[Tensor, "B H W 3"], axis: int) -> Float[Tensor, "B H W 3"]:
    """Add both neighbors along an axis to every number; there are zeros outside."""
    count = picture.shape[axis] - 1
    total = picture.clone()
    total.narrow(axis, 1, count).add_(picture.narrow(axis, 0, count))
    total.narrow(axis, 0, count).add_(picture.narrow(axis, 1, count))
    return total


def vignette(linear: Float[Tensor, "B H W 3"], effects: CameraEffects) -> Float[Tensor, "B H W 3"]:
    """Darken the corners."""
    size = linear.shape[1]
    steps = (torch.arange(size, device=linear.device, dtype=linear.dtype) + 0.5) * (2 / size) - 1
    radius = steps.square()[:, None] + steps.square()[None]
    return linear * (1 - effects.vignette[:, None, None] * radius[None])[..., None]


def jpeg(picture: Float[Tensor, "B H W 3"], quality: Float[Tensor, "B"]) -> Float[Tensor, "B H W 3"]:
    """Quantise as JPEG does (8×8 cosine blocks, half-size color); quality 1 to 100, 0 leaves as is.

    Source: ITU-T T.81 with the quality scale of the Independent JPEG Group's software.
    """
    chosen = (quality > 0).nonzero()[:, 0]
    if not len(chosen):
        return picture
    height, width = picture.shape[1:3]
    ycc = picture[chosen] * 255 @ picture.new_tensor(_TO_YCC).T
    planes = ycc.permute(0, 3, 1, 2)
    planes = pad(planes, (0, -width % 16, 0, -height % 16), mode="replicate")
    scale = quality[chosen].clamp(1, 100)
    scale = torch.where(scale < 50, 5000 / scale, 200 - 2 * scale)[:, None]
    luma = _quantise(planes[:, :1] - 128, scale, _LUMA)
    chroma = _quantise(avg_pool2d(planes[:, 1:], 2), scale, _CHROMA)
    chroma = interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    rgb = torch.cat([luma + 128, chroma], 1)[:, :, :height, :width].permute(0, 2, 3, 1)
    result = picture.clone()
    result[chosen] = (rgb @ picture.new_tensor(_TO_RGB).T / 255).clamp(0, 1)
    return result


def _quantise(
    planes: Float[Tensor, "N C H W"], scale: Float[Tensor, "N 1"], table: tuple[int, ...]
) -> Float[Tensor, "N C H W"]:
    """Round the cosine coefficients of every block to multiples of the table's steps."""
    n, c, height, width = planes.shape
    basis = _cosines(planes)
    steps = ((planes.new_tensor(table)[None] * scale + 50) / 100).floor().clamp(1, 255)
    steps = steps.view(n, 1, 1, _BLOCK, 1, _BLOCK)
    blocks = planes.reshape(n, c, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    blocks = torch.einsum("ui,nchiwj->nchuwj", basis, blocks @ basis.T)
    blocks = torch.round(blocks / steps) * steps
    return (torch.einsum("ui,nchuwj->nchiwj", basis, blocks) @ basis).reshape(n, c, height, width)


def _cosines(like: Tensor) -> Float[Tensor, "8 8"]:
    """Return the orthonormal cosine transform; row u is frequency u."""
    rows = [
        [math.cos((2 * i + 1) * u * math.pi / 16) * (0.125**0.5 if u == 0 else 0.5) for i in range(_BLOCK)]
        for u in range(_BLOCK)
    ]
    return like.new_tensor(rows)


def to_bytes(picture: Float[Tensor, "B H W 3"]) -> UInt8[Tensor, "B H W 3"]:
    """Round sRGB in [0, 1] to bytes."""
    return (picture * 255).round().clamp(0, 255).to(torch.uint8)
