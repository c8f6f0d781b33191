"""Landmarks that an object hides: where they are, a detector can but guess."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from amvur.geometry.cameras import project
from amvur.inference.objective import Evidence
from amvur.inference.segmentation import HandLook

_GUESSED = 3.0
"""A detector's landmark in whose surroundings nothing shows is 1 + this times less sure than it says.

Chosen on synthetic hands of seed 771: of 109 that the detector found, joints of the fitted hand are 10.11 mm
off without, by 1.5, 3 and 6 times 10.06, 10.03 and 10.03.
"""
_CELL_PX, _REACH_CELLS = 4, 1.5
"""Surroundings: a normal distribution of so many cells of so many pixels of a view."""


def shown_shares(looks: Sequence[HandLook | None], points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N"]:
    """Return how much of the hand shows about points of B right hands (m, camera frame), 0 to 1.

    Of what the hand covers within its mesh near a point, objects may hide a part. 1 where nobody looked, and
    beyond what was seen.
    """
    shares = torch.ones(points.shape[:2], dtype=points.dtype, device=points.device)
    for row, look, own in zip(shares, looks, points, strict=True):
        if look is not None and look.pixels is not None:
            row[:] = _shares(look, own)
    return shares


def doubt_guesses(evidence: Evidence, shown: Float[Tensor, "B 21"]) -> Evidence:
    """Return evidence whose landmarks of a detector are less sure where an object hides the hand."""
    return evidence.believed(1 / (1 + _GUESSED * (1 - shown)))


def _shares(look: HandLook, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
    """Return the shares of one hand; the view's camera sees left hands mirrored, as right ones."""
    assert look.pixels is not None
    covers = torch.from_numpy(look.pixels.covers) * look.view.raster.mask[0]
    shows = torch.minimum(torch.from_numpy(look.pixels.shows), covers)
    cells = F.avg_pool2d(torch.stack([shows, covers]), _CELL_PX).double().numpy()
    near = ndimage.gaussian_filter(cells, (0, _REACH_CELLS, _REACH_CELLS))
    places = project(points.cpu().double()[None], look.view.intrinsics.double())[0] / _CELL_PX - 0.5
    shown, covered = (
        ndimage.map_coordinates(image, places.numpy().T[::-1], order=1, mode="nearest") for image in near
    )
    known = covered > 1e-3
    share = torch.from_numpy((shown / covered.clip(1e-3)).clip(0, 1))
    return torch.where(torch.from_numpy(known), share, 1.0).to(points)
