"""The overlay picture: mesh coloured by uncertainty, joints and bones, labels and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from amvur.hand.joints import JOINT_PARENTS
from amvur.raster import interpolate, rasterize, vertex_normals
from amvur.structures import HandReconstruction, RgbImage

MAX_SIDE_PX = 1600
MIN_SIDE_PX = 640
_MESH_OPACITY = 0.62
_SUPERSAMPLING = 2  # PIL's lines are not smooth: they are drawn twice as large and scaled down
_BONE_COLOR = (255, 255, 255)  # hues tell uncertainty, and nothing else
_RAMP = np.array(  # dark violet, teal, yellow, red: ordered in lightness up to the warning colour
    [[72, 40, 120], [33, 145, 140], [180, 222, 44], [253, 174, 60], [222, 48, 40]], dtype=np.float64
)
_SMALL = 160
"""Hands below this many thousandths of the picture's longer side have lines that shrink with them."""
_LEAST_SHARE, _NUMBER_ONLY = 0.2, 0.6
"""The least share of their usual size that lines have, and below which share a label is the number alone."""
SCALE_MM = 40.0
"""The top of the color scale, in every picture: the distance that 9 of 10 points lie within."""
_WITHIN_3D, _WITHIN_2D = 2.5003, 2.1460
"""Standard deviations per axis that 9 of 10 points lie within, in space and in a plane (chi of 3, of 2)."""
_LEGEND = ("9 of 10 points of the", "mesh should lie within", "9 of 10 joints: in the circle")
_LEGEND_UNITS = 266
_LEAST_FONT_PX = 7


def draw_overlay(image: RgbImage, hands: Sequence[HandReconstruction]) -> UInt8[np.ndarray, "height width 3"]:
    """Draw reconstructed hands over their photograph: (H, W, 3) uint8 RGB in and out.

    The mesh's color is the distance in mm that 9 of 10 of its points should lie within, on one scale for all
    pictures (legend at the bottom left); 9 of 10 joints should lie in their circles. `docs/overlay.md` says
    how to read it. Small hands get thin lines, and their number alone. The picture is scaled so that its
    longer side lies between 640 and 1600 px (small ones grow at most fourfold); coordinates in the JSON
    stay those of the full photograph.
    """
    height, width = image.shape[:2]
    scale = _scale(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS), dtype=np.float64)
    shown = [hand for hand in hands if _drawable(hand)]
    for hand in sorted(shown, key=lambda hand: -float(hand.vertices[:, 2].mean())):  # far ones first
        canvas = _blend_mesh(canvas, hand, scale)
    return _draw_lines(canvas, shown, scale)


def uncertainty_colors(std_m: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N 3"]:
    """Map standard deviations per axis (m) to RGB in [0, 255]: violet is sure, red is `SCALE_MM` or more."""
    position = np.clip(1000 * _WITHIN_3D * np.asarray(std_m) / SCALE_MM, 0, 1)
    return _ramp(position)


def _ramp(position: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N 3"]:
    """Return the color scale's RGB in [0, 255] at places in [0, 1]."""
    stops = np.linspace(0, 1, len(_RAMP))
    return np.stack([np.interp(position, stops, _RAMP[:, channel]) for channel in range(3)], axis=-1)


def _scale(width: int, height: int) -> float:
    """Return the factor from the photograph's pixels to the overlay's."""
    longer = max(width, height)
    if longer > MAX_SIDE_PX:
        return MAX_SIDE_PX / longer
    return min(4.0, MIN_SIDE_PX / longer) if longer < MIN_SIDE_PX else 1.0


def _drawable(hand: HandReconstruction) -> bool:
    """Say whether the hand is finite and in front of the camera, so that it can be projected."""
    finite = np.isfinite(hand.vertices).all() and np.isfinite(hand.joints_2d).all()
    return bool(finite and hand.vertices[:, 2].min() > 1e-3)


def _blend_mesh(
    canvas: Float[np.ndarray, "H W 3"], hand: HandReconstruction, scale: float
) -> Float[np.ndarray, "H W 3"]:
    """Blend the shaded, uncertainty-coloured mesh into its window of the canvas."""
    intrinsics = np.diag([scale, scale, 1.0]) @ hand.camera.intrinsics
    window = _window(hand, intrinsics, canvas.shape[1], canvas.shape[0])
    if window is None:
        return canvas
    x0, y0, x1, y1 = window
    intrinsics = intrinsics - np.array([[0, 0, x0], [0, 0, y0], [0, 0, 0]])
    vertices = hand.vertices.astype(np.float32)
    raster = rasterize(vertices, hand.faces, intrinsics.astype(np.float32), y1 - y0, x1 - x0)
    colors = uncertainty_colors(hand.vertices_std).astype(np.float32)
    attributes = np.concatenate([colors, vertex_normals(vertices, hand.faces)], axis=1)
    mask = raster.mask
    pixels = interpolate(raster, attributes, hand.faces)[mask].astype(np.float64)
    lit = pixels[:, :3] * _shade(pixels[:, 3:])[:, None]
    blended = canvas.copy()
    view = blended[y0:y1, x0:x1]
    view[mask] = _MESH_OPACITY * lit + (1 - _MESH_OPACITY) * view[mask]
    return blended


def _shade(normals: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
    """Return the brightness under a lamp above the camera's left shoulder, in [0.35, 1.15]."""
    lamp = np.array([-0.35, -0.55, -0.76])
    length = np.maximum(np.linalg.norm(normals, axis=-1), 1e-9)
    brightness: NDArray[Any] = 0.35 + 0.8 * np.clip(normals @ lamp / length, 0, 1)
    return brightness


def _window(
    hand: HandReconstruction, intrinsics: Float[np.ndarray, "3 3"], width: int, height: int
) -> tuple[int, int, int, int] | None:
    """Return the part of the canvas that the mesh can touch (x0, y0, x1, y1), or None if it is outside."""
    pixels = _project(hand, intrinsics)
    low = np.clip(np.floor(pixels.min(0)) - 1, 0, [width, height]).astype(int)
    high = np.clip(np.ceil(pixels.max(0)) + 1, 0, [width, height]).astype(int)
    if (high <= low).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _project(hand: HandReconstruction, intrinsics: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "V 2"]:
    """Return the mesh's vertices in pixels."""
    homogeneous = hand.vertices.astype(np.float64) @ intrinsics.T
    pixels: NDArray[Any] = homogeneous[:, :2] / homogeneous[:, 2:]
    return pixels


def _draw_lines(
    canvas: Float[np.ndarray, "H W 3"], hands: Sequence[HandReconstruction], scale: float
) -> RgbImage:
    """Draw skeletons, labels and the legend on a transparent layer and lay it over the canvas."""
    height, width = canvas.shape[:2]
    layer = Image.new("RGBA", (_SUPERSAMPLING * width, _SUPERSAMPLING * height))
    pen = _Pen(layer, unit=max(layer.size) / 1000)
    for index, hand in enumerate(hands):
        pen.skeleton(hand, scale * _SUPERSAMPLING)
        pen.label(hand, index, scale * _SUPERSAMPLING)
    if hands:
        pen.legend()
    else:
        pen.text((8 * pen.unit, 8 * pen.unit), "no hand found")
    base = Image.fromarray(np.clip(np.rint(canvas), 0, 255).astype(np.uint8)).convert("RGBA")
    smooth = layer.resize((width, height), Image.Resampling.BOX)
    return np.asarray(Image.alpha_composite(base, smooth).convert("RGB"))


class _Pen:
    """Draws on a layer; `unit` is a thousandth of its longer side, so that big pictures get big lines."""

    def __init__(self, layer: Image.Image, unit: float) -> None:
        """Draw on `layer`."""
        self.size = layer.size
        self.unit = unit
        self.draw = ImageDraw.Draw(layer)
        self.font = ImageFont.load_default(size=max(8.0, 19 * unit))
        self.small_font = ImageFont.load_default(size=max(8.0, 12 * unit))

    def _share(self, hand: HandReconstruction, scale: float) -> float:
        """Return the size of a hand's lines over their usual one: less for a small hand."""
        extent = scale * float(np.ptp(hand.joints_2d, axis=0).max())
        return float(np.clip(extent / (_SMALL * self.unit), _LEAST_SHARE, 1.0))

    def skeleton(self, hand: HandReconstruction, scale: float) -> None:
        """Draw bones, joints and the circles that 9 of 10 joints should lie in (last joints on top)."""
        points = hand.joints_2d * scale
        focal = scale * (hand.camera.intrinsics[0, 0] + hand.camera.intrinsics[1, 1]) / 2
        radii = focal * _WITHIN_2D * hand.joints_std / np.maximum(hand.joints[:, 2], 1e-3)
        unit = self.unit * self._share(hand, scale)
        bone, dot, edge = max(1, round(4 * unit)), max(1.0, 4.5 * unit), max(1, round(1.2 * unit))
        for joint, parent in enumerate(JOINT_PARENTS):
            if parent >= 0:
                line = [tuple(points[parent]), tuple(points[joint])]
                self.draw.line(line, (0, 0, 0, 150), bone + 2 * edge)
                self.draw.line(line, (*_BONE_COLOR, 255), bone)
        for joint, (x, y) in enumerate(points):
            radius = min(float(radii[joint]), float(max(self.size)))
            circle = (x - radius, y - radius, x + radius, y + radius)
            self.draw.ellipse(circle, outline=(*_BONE_COLOR, 150), width=edge)
            self.draw.ellipse((x - dot, y - dot, x + dot, y + dot), (*_BONE_COLOR, 255), (0, 0, 0, 255), edge)

    def label(self, hand: HandReconstruction, index: int, scale: float) -> None:
        """Write number, side and score over box and mesh at their left, kept inside the picture.

        Of a small hand, one of many maybe, only the number: the rest would hide its neighbors.
        """
        x, y = (float(value) for value in hand.box_xyxy_px[:2] * scale)
        y = min(y, scale * float(_project(hand, hand.camera.intrinsics)[:, 1].min()))
        if self._share(hand, scale) < _NUMBER_ONLY:
            number = f"{index}!" if hand.warnings else str(index)
            self.text((x, y - 18 * self.unit), number, self.small_font)
            return
        within_mm = 1000 * _WITHIN_3D * float(np.median(hand.joints_std))
        text = f"{index}: {hand.side} {hand.score:.2f}, 9 of 10 joints within {within_mm:.0f} mm"
        text += ", see the warnings" if hand.warnings else ""
        self.text((x, y - 30 * self.unit), text, self.font)

    def legend(self) -> None:
        """Say in words and colors what hues and circles mean, at the bottom left; smaller if it must be."""
        width, height = self.size
        unit = min(self.unit, width / _LEGEND_UNITS, height / 130)
        if 18 * unit < _LEAST_FONT_PX * _SUPERSAMPLING:
            return  # a sliver of a picture: better no legend than one over everything
        font, white = ImageFont.load_default(size=18 * unit), (255, 255, 255, 255)
        left, top, bar = 10 * unit, height - 122 * unit, 236 * unit
        self.draw.rectangle((0, top - 4 * unit, left * 2 + bar, height), (0, 0, 0, 190))
        for line, place in zip(_LEGEND, (0, 22, 96), strict=True):
            self.draw.text((left, top + place * unit), line, white, font)
        for step, color in enumerate(_ramp(np.linspace(0, 1, 64)).astype(int).tolist()):
            x = left + bar * step / 64
            self.draw.rectangle((x, top + 50 * unit, x + bar / 64 + 1, top + 64 * unit), (*color, 255))
        for share, anchor, end in ((0.0, "la", ""), (0.5, "ma", ""), (1.0, "ra", "+ mm")):
            start = (left + bar * share, top + 69 * unit)
            self.draw.text(start, f"{share * SCALE_MM:g}{end}", white, font, anchor=anchor)

    def text(
        self,
        place: tuple[float, float],
        text: str,
        font: ImageFont.FreeTypeFont | ImageFont.ImageFont | None = None,
    ) -> None:
        """Write white on a dark plate, moved so far that all of it lies in the picture."""
        font = font or self.font
        x0, y0, x1, y1 = self.draw.textbbox((0, 0), text, font)
        margin = 4 * self.unit if font is self.font else 2 * self.unit
        x = max(margin, min(place[0], self.size[0] - (x1 - x0) - 2 * margin))
        y = max(margin, min(place[1], self.size[1] - (y1 - y0) - 2 * margin))
        plate = (x - margin, y - margin, x + x1 - x0 + margin, y + y1 - y0 + margin)
        self.draw.rectangle(plate, (0, 0, 0, 165))
        self.draw.text((x - x0, y - y0), text, (255, 255, 255, 255), font)
