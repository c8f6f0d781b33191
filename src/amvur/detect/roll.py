"""Which of four turns of a picture found the hand in it: the search for a hand whose roll is not known."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

_SETTLED = 0.01
"""Crop units: joints that moved less than about this have settled."""
_STRAYING = 0.25
"""How much straying counts beside the stated deviation."""
_FILLING, _LEAST_OVERLAP = 2.0, 0.05
"""How much it counts that the joints fill the box that the hand is known to be in, and what is no overlap."""


def likeliest_turn(
    stated: Float[np.ndarray, "*B 4"],
    moved: Float[np.ndarray, "*B 4"],
    overlap: Float[np.ndarray, "*B 4"] | None = None,
) -> Int[np.ndarray, "*B"]:
    """Return which of four turns, each followed for a while, found the hand: the surest unless it strays.

    `stated` is the standard deviation of the joints in space (m) at the last look, on average (the same for
    all turns if the network has one scale), `moved` how far their places went in that look (crop units).
    `overlap` says how well the joints fill a known box (`box_overlap`). Rules were compared on held-out
    synthetic hands (`scripts/choose_turn.py`).
    """
    doubt = np.log(stated) + _STRAYING * np.log(moved + _SETTLED)
    if overlap is not None:
        doubt = doubt - _FILLING * np.log(overlap + _LEAST_OVERLAP)
    return np.asarray(doubt.argmin(-1))


def box_overlap(
    joints_2d: Float[np.ndarray, "*N 21 2"], box: Float[np.ndarray, "*#N 4"]
) -> Float[np.ndarray, "*N"]:
    """Return the intersection over union of the joints' bounding box and `box` (x0 y0 x1 y1; same units)."""
    low, high = joints_2d.min(-2), joints_2d.max(-2)
    shared = np.minimum(high, box[..., 2:]) - np.maximum(low, box[..., :2])
    inner = shared.clip(0).prod(-1)
    overlap: np.ndarray = inner / ((high - low).prod(-1) + (box[..., 2:] - box[..., :2]).prod(-1) - inner)
    return overlap
