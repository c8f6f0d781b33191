"""Which of the pixels that a mesh covers show the hand's skin, and not an object or what lies beside it.

Three things tell: how far inside of its outline a pixel lies, in units of how well the mesh is known to lie;
what the texture head says of objects and of the skin's color there; and the colors that this very picture has
beside the hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.special import ndtr
from torch import Tensor

from amvur.inference.local_colors import color_moments, gaussian, local_density
from amvur.inference.vertex_evidence import HandView

_ROUNDS = 2
"""In the second, what the first found to be no skin is part of what lies beside it."""


@dataclass(frozen=True)
class FitSettings:
    """How pixels are judged and believed, chosen by `scripts/train_texture.py choose`.

    `pixel_std` is what a pixel of skin differs from the mesh's interpolated colors by: noise, and detail
    between vertices. A vertex takes the fitted color in full if `enough` of its pixels are skin; of a mesh
    known to lie better than `sure_px`, less is enough in proportion, for few of its pixels show what is
    beside it.

    Skin's colors spread about the head's word by its standard deviation and, in quadrature, `detail` (rings,
    nails, creases). Of what is no skin, a share `any_color` may have any color; the rest is like what lies
    beside the hand within some `reach_px`, whose colors spread by no less than `least_std`. A color changes
    the odds of skin by no more than exp(±`evidence`).

    Lengths are pixels of the crop: a mesh is never surer to lie where it does than `least_px`, or than
    `unknown_px` if nobody says. Across an outline the picture is a mixture within `blur_px` (of the
    photograph where that is coarser).
    """

    pixel_std: float = 0.03
    enough: float = 0.6
    sure_px: float = 1.0
    detail: float = 0.03
    any_color: float = 0.3
    reach_px: tuple[float, ...] = (6.0, 25.0)
    least_std: float = 0.04
    evidence: float = 6.0
    least_px: float = 0.5
    unknown_px: float = 5.0
    blur_px: float = 1.3


USUAL = FitSettings()


def skin_pixels(
    view: HandView,
    interpolation: sparse.csr_array,
    mean: Float64[NDArray[Any], "V 3"],
    std: Float64[NDArray[Any], "V"],
    seen: Float64[NDArray[Any], "V"],
    mesh_std_px: Float64[NDArray[Any], "V"],
    settings: FitSettings = USUAL,
) -> Float64[NDArray[Any], "N"]:
    """Return the probability that the covered pixels of a view (in row-major order) show the hand.

    `interpolation` is that of `pixel_equations`, `mean` and `std` are the head's word on colors, `seen` its
    probability that no object is before a vertex, `mesh_std_px` how far vertices may lie from where the mesh
    has them (one sigma along an axis, pixels of the crop). Pixels of an outline are mixtures, whose colors
    tell nothing: there the mesh alone decides, which counts where it is known to lie well.
    """
    spread = np.hypot(interpolation @ mesh_std_px, settings.least_px)
    inside = depth_inside(view.raster.mask[0].numpy())
    blur = settings.blur_px * max(1.0, 1 / view.pixel_px)
    mixture = ndtr((inside + blur) / spread) - ndtr((inside - blur) / spread)
    shown = ndtr(inside / spread) * (interpolation @ seen)
    color, color_std = interpolation @ mean, interpolation @ std
    surroundings, skin = Surroundings(view.image[0], view.raster.mask[0]), np.ones(len(inside))
    for _ in range(_ROUNDS):
        other = surroundings.density(skin, settings)
        skin = skin_probability(surroundings.pixels, color, color_std, shown, other, settings)
    # squared, so that a mesh decides by itself only where it is sure that its outline passes
    mesh_decides = mixture**2
    judged: Float64[NDArray[Any], "N"] = mesh_decides * shown + (1 - mesh_decides) * skin
    return judged


def depth_inside(mask: Bool[NDArray[Any], "S S"]) -> Float64[NDArray[Any], "N"]:
    """Return how far inside of a mask its N pixels (row-major) lie, to its end between the pixels."""
    if not mask.any():
        return np.zeros(0)
    box = tuple(slice(max(at.min() - 1, 0), at.max() + 2) for at in mask.nonzero())
    inside: Float64[NDArray[Any], "N"] = ndimage.distance_transform_edt(mask[box])[mask[box]] - 0.5
    return inside


def skin_probability(
    pixels: Float64[NDArray[Any], "N 3"],
    mean: Float64[NDArray[Any], "N 3"],
    std: Float64[NDArray[Any], "N"],
    shown: Float64[NDArray[Any], "N"],
    other: Float64[NDArray[Any], "N"] | float = 1.0,
    settings: FitSettings = USUAL,
) -> Float64[NDArray[Any], "N"]:
    """Return the probability that pixels show the hand's skin and not something before or beside it.

    Bayes: skin has a Gaussian of colors about the head's word `mean`, wider than the stated `std`; `other` is
    the density of colors if it is no skin (1: any color alike), and `shown` is what is believed before the
    color is looked at.
    """
    ratio = gaussian(pixels, mean, np.hypot(std, settings.detail)) / other
    ratio = ratio.clip(np.exp(-settings.evidence), np.exp(settings.evidence))
    skin: Float64[NDArray[Any], "N"] = shown * ratio / (shown * ratio + 1 - shown)
    return skin


class Surroundings:
    """The colors of a picture beside a hand, about each of the pixels that a mesh covers."""

    def __init__(self, image: Float[Tensor, "3 S S"], mask: Bool[Tensor, "S S"]) -> None:
        """Take a picture (sRGB in [0, 1]) and where the mesh covers it."""
        self.mask = mask
        row, column = mask.nonzero(as_tuple=True)
        self.at = row.numpy(), column.numpy()
        self.pixels = image[:, row, column].T.double().numpy()
        self.moments = color_moments(image)

    def density(
        self, skin: Float64[NDArray[Any], "N"], settings: FitSettings = USUAL
    ) -> Float64[NDArray[Any], "N"]:
        """Return how dense the covered pixels' colors are among what is no skin.

        `skin` is the probability of each covered pixel to be skin; the others are none.
        """
        beside = torch.ones_like(self.moments[0])
        beside[self.mask] = torch.from_numpy(1 - skin).to(beside)
        return local_density(
            self.moments, beside, self.at, settings.reach_px, settings.any_color, settings.least_std
        )
