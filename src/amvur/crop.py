"""The one crop of this package: a rotated square of an image, exactly invertible, for detecting and training.

Pixel coordinates everywhere: the centre of the top-left pixel is (0.5, 0.5), so an image of width W spans
[0, W] (`align_corners=False`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from amvur.errors import InputError
from amvur.structures import RgbImage

Border = Literal["replicate", "black"]
SquareImage = UInt8[np.ndarray, "size size 3"]
Points = Float[np.ndarray, "*points 2"]


@dataclass(frozen=True)
class CropTransform:
    """The similarity that takes a rotated square of an image to a crop of `size_px` × `size_px` pixels.

    `center_x_px, center_y_px, side_px` are the square in pixels of the image. `rotation_rad` is the angle
    from the image's x axis to the square's own x axis, positive from x towards y (clockwise as displayed).
    A `mirrored` crop is flipped left to right afterwards: a left hand then looks like a right one.

    Raises `InputError` for values that are not finite or a square without extent.
    """

    center_x_px: float
    center_y_px: float
    side_px: float
    size_px: int
    rotation_rad: float = 0.0
    mirrored: bool = False

    def __post_init__(self) -> None:
        """Refuse squares that no inverse exists for."""
        numbers = (self.center_x_px, self.center_y_px, self.side_px, self.rotation_rad)
        if not all(math.isfinite(number) for number in numbers) or self.side_px <= 0 or self.size_px < 1:
            raise InputError(
                f"A crop needs a finite centre, side and rotation, a side above 0 and a size of at least "
                f"1 pixel, but this one is {self}. Check the box or the joints it was made from."
            )

    @property
    def scale(self) -> float:
        """Crop pixels per image pixel."""
        return self.size_px / self.side_px

    @property
    def axes(self) -> Float[np.ndarray, "2 2"]:
        """The crop's axes in the image, as rows: orthonormal, determinant −1 if mirrored."""
        cos, sin = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        flip = -1.0 if self.mirrored else 1.0
        return np.array([[flip * cos, flip * sin], [-sin, cos]])

    @property
    def R_crop_camera(self) -> Float[np.ndarray, "3 3"]:
        """The axes of the crop's own camera: rotated about the optical axis, reflected if mirrored."""
        rotation = np.eye(3)
        rotation[:2, :2] = self.axes
        return rotation

    @property
    def matrix(self) -> Float[np.ndarray, "2 3"]:
        """The affine map from image pixels to crop pixels."""
        linear = self.scale * self.axes
        center = np.array([self.center_x_px, self.center_y_px])
        return np.column_stack([linear, self.size_px / 2 - linear @ center])

    @property
    def inverse_matrix(self) -> Float[np.ndarray, "2 3"]:
        """The affine map from crop pixels to image pixels, in closed form."""
        linear = self.axes.T / self.scale
        center = np.array([self.center_x_px, self.center_y_px])
        return np.column_stack([linear, center - linear @ np.full(2, self.size_px / 2)])

    def apply_points(self, points: Points) -> Points:
        """Take points from image pixels to crop pixels."""
        offset: Points = np.asarray(points, dtype=np.float64) - (self.center_x_px, self.center_y_px)
        moved: Points = offset @ self.axes.T * self.scale + self.size_px / 2
        return moved

    def invert_points(self, points: Points) -> Points:
        """Take points from crop pixels to image pixels."""
        offset: Points = np.asarray(points, dtype=np.float64) - self.size_px / 2
        moved: Points = offset @ self.axes / self.scale + (self.center_x_px, self.center_y_px)
        return moved

    def crop_intrinsics(self, intrinsics: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
        """Intrinsics of the crop's camera, which sees the points `R_crop_camera @ X`.

        Projecting those gives exactly the crop pixels of the projection of `X` in the image. Rotating the
        points as well as the picture keeps the usual form (focal lengths on the diagonal) for square pixels.
        """
        affine = np.vstack([self.matrix, [0.0, 0.0, 1.0]])
        product: Float[np.ndarray, "3 3"] = affine @ np.asarray(intrinsics, np.float64) @ self.R_crop_camera.T
        return product

    def scaled(self, factor: float) -> CropTransform:
        """The same crop of the same image shown `factor` times as large."""
        x, y, side = (factor * value for value in (self.center_x_px, self.center_y_px, self.side_px))
        return replace(self, center_x_px=x, center_y_px=y, side_px=side)

    def touches(self, image_shape: tuple[int, ...]) -> bool:
        """Whether the upright box around the square overlaps an image of this shape (H, W, ...)."""
        half, (height, width) = self._half_width, image_shape[:2]
        return -half < self.center_x_px < width + half and -half < self.center_y_px < height + half

    @property
    def _half_width(self) -> float:
        """Half the side of the upright box around the square, in image pixels."""
        return self.side_px / 2 * (abs(math.cos(self.rotation_rad)) + abs(math.sin(self.rotation_rad)))

    def warp(self, image: RgbImage, border: Border = "replicate") -> SquareImage:
        """Cut the crop out of the image, averaging where it shrinks and interpolating linearly elsewhere.

        `border` says what lies outside of the image: its outermost pixels again, or black. Raises
        `InputError` for a crop that misses the image altogether.
        """
        if not self.touches(image.shape):
            raise InputError(f"{self} misses the image of {image.shape[1]}×{image.shape[0]} pixels.")
        half = self._half_width
        x_range = _covered(self.center_x_px - half, self.center_x_px + half, image.shape[1])
        y_range = _covered(self.center_y_px - half, self.center_y_px + half, image.shape[0])
        part = Image.fromarray(np.ascontiguousarray(image[slice(*y_range), slice(*x_range)]))
        # A bilinear sample sees two pixels across; a crop that shrinks more would skip pixels and alias.
        factor = max(1, math.floor(1 / self.scale))
        reduced = np.asarray(part.reduce(factor) if factor > 1 else part)
        margins = _margins(self, (x_range[0], y_range[0]), reduced.shape, factor)
        mode: Literal["edge", "constant"] = "edge" if border == "replicate" else "constant"
        padded = np.pad(reduced, (*margins, (0, 0)), mode=mode)
        linear, shift = self.inverse_matrix[:, :2], self.inverse_matrix[:, 2]
        origin = np.array([x_range[0], y_range[0]])
        shift = (shift - origin) / factor + (margins[1][0], margins[0][0])
        coefficients = np.column_stack([linear / factor, shift]).ravel()
        cut = Image.fromarray(padded).transform(
            (self.size_px, self.size_px),
            Image.Transform.AFFINE,
            tuple(float(value) for value in coefficients),
            Image.Resampling.BILINEAR,
        )
        return np.asarray(cut)


def _covered(low: float, high: float, length: int) -> tuple[int, int]:
    """The pixels of an axis that a span touches, at least one (the nearest edge) where it misses them."""
    start = min(max(math.floor(low) - 2, 0), length - 1)
    stop = max(min(math.ceil(high) + 2, length), start + 1)
    return start, stop


def _margins(
    crop: CropTransform, origin: tuple[int, int], shape: tuple[int, ...], factor: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """How many (shrunk) pixels to add above and below, left and right, so that the crop lies inside."""
    half = crop._half_width

    def axis(center: float, start: int, length: int) -> tuple[int, int]:
        low, high = (center - half - start) / factor, (center + half - start) / factor
        return max(0, math.ceil(1 - low)), max(0, math.ceil(high + 1 - length))

    return axis(crop.center_y_px, origin[1], shape[0]), axis(crop.center_x_px, origin[0], shape[1])
