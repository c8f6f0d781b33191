"""Which pixels of a view show the hand: a trained decoder, told where the mesh lies and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int
from numpy.typing import NDArray
from scipy.special import expit, log_ndtr

from amvur.checkpoint_folder import TRUNK, open_onnx, read_config, shipped
from amvur.errors import ModelFileError
from amvur.inference.silhouette.distance import nearest_marked
from amvur.inference.view import HandView
from amvur.onnx_network import OnnxNetwork
from amvur.raster import interpolate

MAPS = ("map_2", "map_4", "map_8", "map_16")
"""The maps that a segmentation reads, by their strides."""
LEAST_STD_PX = 0.5
"""No outline is known to lie better than this (pixels of the crop): the picture blurs it."""
NEAR_PX = 20
"""Pixels farther beside the mesh than this (pixels of the crop) are none that a segmentation learned of."""


@dataclass(frozen=True)
class HandPixels:
    """Of every pixel of a view: the logits to show the hand's skin and to be covered by the hand, were it
    behind an object; how far inside of the mesh's outline it lies, and how well that is known to lie there
    (one sigma; both in pixels of the crop)."""

    logits: Float32[NDArray[Any], "2 S S"]
    depth_px: Float64[NDArray[Any], "S S"]
    std_px: Float64[NDArray[Any], "S S"]

    @property
    def shows(self) -> Float32[NDArray[Any], "S S"]:
        """Return the probability to show the hand."""
        probability: Float32[NDArray[Any], "S S"] = expit(self.logits[0])
        return probability

    @property
    def covers(self) -> Float32[NDArray[Any], "S S"]:
        """Return the probability to be covered by the hand."""
        probability: Float32[NDArray[Any], "S S"] = expit(self.logits[1])
        return probability

    @property
    def evidence(self) -> Float64[NDArray[Any], "S S"]:
        """Return what the picture says of the hand beyond what the mesh does: a log likelihood ratio.

        It is the logit to be covered less that of the chance to lie inside of an outline which is known so
        well; 0 farther than `NEAR_PX` from the outline.
        """
        near = np.abs(self.depth_px) < NEAR_PX
        sure = self.depth_px[near] / self.std_px[near]
        less = log_ndtr(-np.abs(sure))  # of the less likely side, from which the other's follows
        told = np.zeros(near.shape)
        told[near] = self.logits[1][near] - np.copysign(np.log1p(-np.exp(less)) - less, sure)
        return told

    @property
    def mismatch(self) -> float:
        """Return 1 − intersection over union of the mesh and the hand near it, 0 (the same) to 1."""
        mesh, covers = self.depth_px > 0, self.covers.astype(np.float64)
        union = np.where(mesh, 1.0, covers)[self.depth_px > -NEAR_PX].sum()
        return float(1 - covers[mesh].sum() / max(union, 1e-9))


@dataclass(frozen=True)
class HandLook:
    """A view of a hand, and which of its pixels show it."""

    view: HandView
    pixels: HandPixels


class Segmentation:
    """A trained `HandSegmenter` and the frozen network whose maps it reads (`amvur.models.segmentation`).

    `level_widths` are the channels of those maps.
    """

    def __init__(self, network: OnnxNetwork, trunk: OnnxNetwork, level_widths: Sequence[int]) -> None:
        """Take the two networks."""
        self.network, self.trunk, self.level_widths = network, trunk, tuple(level_widths)

    def with_maps(self, views: Sequence[HandView]) -> list[HandView]:
        """Return views with the maps that the frozen network sees in their pictures."""
        asked = [i for i, view in enumerate(views) if view.maps is None]
        found = list(views)
        if asked:
            maps = self.trunk({"pictures": np.stack([views[i].picture for i in asked])})
            for row, i in enumerate(asked):
                found[i] = replace(views[i], maps=tuple(values[row] for values in maps.values()))
        return found

    def __call__(
        self, views: Sequence[HandView], mesh_std_px: Sequence[Float[NDArray[Any], "V"] | float]
    ) -> list[HandLook]:
        """Return which pixels of views, whose meshes cover some, show the hand, beside the views with maps.

        `mesh_std_px` says how well the vertices of each are known to lie (one sigma along an axis, pixels of
        the crop).
        """
        if not views:
            return []
        seen = self.with_maps(views)
        hints = [outline_hints(view, std) for view, std in zip(seen, mesh_std_px, strict=True)]
        depth, std = (np.stack(column) for column in zip(*hints, strict=True))
        maps = (np.stack(level) for level in zip(*(view.maps or () for view in seen), strict=True))
        told = {
            "pictures": np.stack([view.picture for view in seen]),
            "depth_px": depth.astype(np.float32),
            "std_px": std.astype(np.float32),
            **dict(zip(MAPS, maps, strict=True)),
        }
        logits = self.network(told)["logits"]
        return [HandLook(*row) for row in zip(seen, map(HandPixels, logits, depth, std), strict=True)]

    def close(self) -> None:
        """Free what was loaded."""
        self.network.close()
        self.trunk.close()


def outline_hints(
    view: HandView, mesh_std_px: Float[NDArray[Any], "V"] | float
) -> tuple[Float64[NDArray[Any], "S S"], Float64[NDArray[Any], "S S"]]:
    """Return how far every pixel lies inside of the mesh's outline, and how well that is known there.

    Pixels beside the mesh take the standard deviation of the nearest that it covers.
    """
    raster, known = view.raster, np.asarray(mesh_std_px)
    depth, row, column = signed_depth(raster.mask)
    if known.ndim == 0:
        return depth, np.full(depth.shape, np.hypot(known, LEAST_STD_PX))
    std = interpolate(raster, known.astype(np.float32)[:, None], view.faces)[..., 0]
    return depth, np.hypot(std[row, column].astype(np.float64), LEAST_STD_PX)


def signed_depth(
    mask: Bool[NDArray[Any], "S S"],
) -> tuple[Float64[NDArray[Any], "S S"], Int[NDArray[Any], "S S"], Int[NDArray[Any], "S S"]]:
    """Return how far pixels lie inside of a mask (negative: outside), to its outline between the pixels, and
    row and column of the nearest pixel of the mask."""
    beside, row, column = nearest_marked(mask)
    inside, _, _ = nearest_marked(~mask)
    return np.where(mask, inside - 0.5, 0.5 - beside), row, column


def shipped_segmentation(device: str = "cpu") -> Segmentation:
    """Return the segmentation that ships with the package; raises `ModelFileError` as `load_segmentation`."""
    folder = shipped("segmentation")
    if folder is None:
        raise ModelFileError("This installation has no segmentation of hands. Reinstall amvur.")
    return load_segmentation(folder, device)


def load_segmentation(folder: Path, device: str = "cpu") -> Segmentation:
    """Return the segmentation in a checkpoint folder.

    Raises `ModelFileError` if it is missing or cannot be used.
    """
    config = read_config(folder)
    levels = config["network"].get("levels")
    if not isinstance(levels, list) or [type(width) for width in levels] != [int] * len(MAPS):
        raise ModelFileError(
            f"The checkpoint {folder} describes no segmentation. Use the version that wrote it."
        )
    network = open_onnx(folder, config, ["logits"], device=device)
    trunk = open_onnx(folder, config, MAPS, name=TRUNK, device=device)
    return Segmentation(network, trunk, levels)
