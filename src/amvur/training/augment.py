"""Augmentation on the device, a whole batch at once: the picture, its camera and the labels move together.

A similarity of the picture, p' = A p + t, is exactly a roll of the scene about the optical axis and another
camera: the linear part A K₂ is split into an upper triangular K₂' and a rotation (RQ decomposition).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

from amvur.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from amvur.hand.model import HandModel
from amvur.training.targets import LabelledImages


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges from which every picture draws uniformly; fractions are of the picture's side.

    `padding` is what `grid_sample` shows beyond the border. Amounts of color are for pixels in [0, 1].
    A share `spectrum_probability` of the pictures gets a part of another picture's amplitude spectrum.
    """

    roll_deg: float = 180.0
    scale: tuple[float, float] = (0.85, 1.2)
    shift: float = 0.08
    padding: Literal["reflection", "border", "zeros"] = "reflection"
    brightness: float = 0.15
    contrast: tuple[float, float] = (0.7, 1.3)
    gain: tuple[float, float] = (0.85, 1.15)
    gray_probability: float = 0.1
    noise: float = 0.03
    erase_probability: float = 0.4
    erase_side: tuple[float, float] = (0.08, 0.4)
    erase_count: int = 2
    spectrum_probability: float = 0.3


STILL = AugmentConfig(
    roll_deg=0.0,
    scale=(1.0, 1.0),
    shift=0.0,
    brightness=0.0,
    contrast=(1.0, 1.0),
    gain=(1.0, 1.0),
    gray_probability=0.0,
    noise=0.0,
    erase_probability=0.0,
    spectrum_probability=0.0,
)
"""Pictures as they are: for networks of upright hands, which are turned upright all the same."""


def augment(
    batch: LabelledImages, hand: HandModel, generator: Generator, config: AugmentConfig | None = None
) -> LabelledImages:
    """Return other views and colors of the same hands; all randomness is the generator's.

    Batch, hand and generator are on one device. Rectangles that hide parts change no label.
    """
    config = config or AugmentConfig()
    count, size = batch.images.shape[:2]
    moved = move(batch, hand, draw_similarities(count, size, generator, config), config.padding)
    return recolor(moved, generator, config)


def recolor(batch: LabelledImages, generator: Generator, config: AugmentConfig) -> LabelledImages:
    """Return the same pictures with other spectra, colors, noise and rectangles."""
    pixels = as_pixels(batch.images)
    for change in (mix_spectrum, jitter_color, add_noise, erase):
        pixels = change(pixels, generator, config)
    images = (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    return replace(batch, images=images.permute(0, 2, 3, 1).contiguous())


def as_pixels(images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
    """Return pictures as the network wants them: channels first, RGB in [0, 1]."""
    return images.permute(0, 3, 1, 2).to(torch.float32) / 255


def draw_similarities(
    count: int, size_px: int, generator: Generator, config: AugmentConfig
) -> Float[Tensor, "B 3 3"]:
    """Draw similarities of the picture (px to px, homogeneous): turn and scale about its centre, shift."""
    angle = math.radians(config.roll_deg) * _uniform(generator, (-1.0, 1.0), count)
    scale = _uniform(generator, (math.log(config.scale[0]), math.log(config.scale[1])), count).exp()
    shift = config.shift * size_px * _uniform(generator, (-1.0, 1.0), count, 2)
    return similarities(angle, scale, shift, size_px)


def similarities(
    angle: Float[Tensor, "B"], scale: Float[Tensor, "B"], shift: Float[Tensor, "B 2"], size_px: int
) -> Float[Tensor, "B 3 3"]:
    """Return maps (px to px) that turn (rad) and scale a picture about its centre, then shift it (px)."""
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    linear = torch.stack([cosine, -sine, sine, cosine], -1).unflatten(-1, (2, 2))
    centre = torch.full((2, 1), size_px / 2, device=angle.device)
    offset = centre - linear @ centre + shift[..., None]
    last = torch.tensor([0.0, 0.0, 1.0], device=angle.device).expand(len(angle), 1, 3)
    return torch.cat([torch.cat([linear, offset], -1), last], -2)


def move(
    batch: LabelledImages, hand: HandModel, similarity: Float[Tensor, "B 3 3"], padding: str = "reflection"
) -> LabelledImages:
    """Apply similarities of the picture (px to px) to pictures, cameras, parameters and 2D joints, exactly.

    2D joints that leave the picture get confidence 0.
    """
    intrinsics = similarity @ batch.intrinsics
    angle = torch.atan2(intrinsics[:, 1, 0], intrinsics[:, 1, 1])
    roll = axis_angle_to_matrix(torch.stack([torch.zeros_like(angle), torch.zeros_like(angle), angle], -1))
    intrinsics = intrinsics @ roll.transpose(-1, -2)
    intrinsics[:, 1, 0] = 0  # by choice of the angle, but for rounding
    joints_2d = batch.joints_2d @ similarity[:, :2, :2].transpose(-1, -2) + similarity[:, None, :2, 2]
    inside = ((joints_2d >= 0) & (joints_2d <= batch.images.shape[1])).all(-1)
    root = hand.joint_template[0] + batch.betas @ hand.joint_shapedirs[0].T
    orient = matrix_to_axis_angle(roll @ axis_angle_to_matrix(batch.global_orient))
    return replace(
        batch,
        images=_warp(batch.images, similarity, padding),
        intrinsics=intrinsics,
        global_orient=orient,
        # the model turns about its root joint, not about the camera
        transl=(roll @ (batch.transl + root)[..., None])[..., 0] - root,
        joints_2d=joints_2d,
        joint_confidence=batch.joint_confidence * inside,
    )


def mix_spectrum(
    pixels: Float[Tensor, "B 3 H W"], generator: Generator, config: AugmentConfig
) -> Float[Tensor, "B 3 H W"]:
    """Blend the amplitude spectra of some pictures with those of others of the batch; phases stay.

    Phases hold the shapes, amplitudes the style of a renderer or a camera (Xu et al., "A Fourier-based
    framework for domain generalization", 2021).
    """
    count = len(pixels)
    chosen = _uniform(generator, (0.0, 1.0), count) < config.spectrum_probability
    step = int(torch.randint(1, max(count, 2), (), generator=generator, device=generator.device))
    other = (torch.arange(count, device=pixels.device) + step) % count
    part = _uniform(generator, (0.0, 1.0), count, 1, 1, 1)[chosen]
    if not bool(chosen.any()):
        return pixels
    own, others = torch.fft.rfft2(pixels[chosen]), torch.fft.rfft2(pixels[other[chosen]])
    amplitude = torch.lerp(own.abs(), others.abs(), part)
    mixed = torch.fft.irfft2(torch.polar(amplitude, own.angle()), s=pixels.shape[-2:])
    return pixels.index_put((chosen,), mixed)


def jitter_color(
    pixels: Float[Tensor, "B 3 H W"], generator: Generator, config: AugmentConfig
) -> Float[Tensor, "B 3 H W"]:
    """Change brightness, contrast and the channels' gains; make some pictures gray."""
    count = len(pixels)
    gain = _uniform(generator, config.gain, count, 3, 1, 1)
    contrast = _uniform(generator, config.contrast, count, 1, 1, 1)
    brightness = config.brightness * _uniform(generator, (-1.0, 1.0), count, 1, 1, 1)
    mean = pixels.mean((1, 2, 3), keepdim=True)
    changed = ((pixels - mean) * contrast + mean + brightness) * gain
    gray = _uniform(generator, (0.0, 1.0), count, 1, 1, 1) < config.gray_probability
    weights = torch.tensor([0.299, 0.587, 0.114], device=pixels.device).view(1, 3, 1, 1)
    return torch.where(gray, (changed * weights).sum(1, keepdim=True), changed)


def add_noise(
    pixels: Float[Tensor, "B 3 H W"], generator: Generator, config: AugmentConfig
) -> Float[Tensor, "B 3 H W"]:
    """Add Gaussian noise of a standard deviation drawn for every picture."""
    scale = config.noise * _uniform(generator, (0.0, 1.0), len(pixels), 1, 1, 1)
    return pixels + scale * torch.randn(pixels.shape, generator=generator, device=pixels.device)


def erase(
    pixels: Float[Tensor, "B 3 H W"], generator: Generator, config: AugmentConfig
) -> Float[Tensor, "B 3 H W"]:
    """Cover some pictures with rectangles of random colors (Zhong et al., "Random erasing", 2020)."""
    count, _, height, width = pixels.shape
    rows = (torch.arange(height, device=pixels.device) + 0.5).view(1, 1, -1, 1) / height
    columns = (torch.arange(width, device=pixels.device) + 0.5).view(1, 1, 1, -1) / width
    for _ in range(config.erase_count):
        y, x = (_uniform(generator, (0.0, 1.0), count, 1, 1, 1) for _ in range(2))
        tall, wide = (_uniform(generator, config.erase_side, count, 1, 1, 1) / 2 for _ in range(2))
        color = _uniform(generator, (0.0, 1.0), count, 3, 1, 1)
        chosen = _uniform(generator, (0.0, 1.0), count, 1, 1, 1) < config.erase_probability
        inside = ((rows - y).abs() < tall) & ((columns - x).abs() < wide) & chosen
        pixels = torch.where(inside, color, pixels)
    return pixels


def _warp(
    images: UInt8[Tensor, "B S S 3"], similarity: Float[Tensor, "B 3 3"], padding: str
) -> UInt8[Tensor, "B S S 3"]:
    """Resample pictures so that what was at p is at `similarity p` (px)."""
    size = images.shape[1]
    # normalised coordinates n = 2 p / size - 1, from the new picture to the old one
    normalize = torch.tensor([[2 / size, 0, -1], [0, 2 / size, -1], [0, 0, 1]], device=images.device)
    back = normalize @ torch.linalg.inv(similarity) @ torch.linalg.inv(normalize)
    grid = F.affine_grid(back[:, :2], [len(images), 3, size, size], align_corners=False)
    pixels = F.grid_sample(
        images.permute(0, 3, 1, 2).float(), grid, "bilinear", padding_mode=padding, align_corners=False
    )
    return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _uniform(generator: Generator, limits: tuple[float, float], *shape: int) -> Tensor:
    """Draw uniformly between two limits on the generator's device."""
    low, high = limits
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)
