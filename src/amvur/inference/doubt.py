"""How likely a hand is a wrong one, and how much wider that makes what is stated of it.

The posterior describes hands near one optimum. That the optimum is another hand's (the other side, a finger
taken for its neighbor, a mirrored depth) it cannot tell, but what was seen can: passes that differ, a network
that is not sure, a mesh beside the segmented hand. `scripts/fit_doubt.py` learns it from synthetic hands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from amvur.errors import InputError
from amvur.reading import brief

WRONG_M = 0.015
"""Joints off by more than this on average, after alignment: a wrong hand."""
_FEATURES = 7
_MOST_WIDENING = 3.5
"""Beyond this a hand's joints lie anywhere on a hand: 3.5 times 7 mm."""


@dataclass(frozen=True)
class Doubt:
    """A logistic regression on the features of a hand (`amvur.inference.calibration.FEATURES`).

    `coefficients · features` are the log odds that the hand is wrong (`WRONG_M`); above `bound` it is called
    unsure. Stated standard deviations are multiplied by `exp(widening[0] + widening[1] · log odds)`, at
    least 1.
    """

    coefficients: Float64[np.ndarray, "7"]
    bound: float
    widening: tuple[float, float]

    def log_odds(self, features: Float[np.ndarray, "7"]) -> float:
        """Return ln(p / (1 − p)) of the probability that the hand is wrong."""
        return float(features @ self.coefficients)

    def probability(self, features: Float[np.ndarray, "7"]) -> float:
        """Return the probability that the hand is wrong."""
        return float(1 / (1 + np.exp(-np.clip(self.log_odds(features), -50.0, 50.0))))

    def factor(self, features: Float[np.ndarray, "7"]) -> float:
        """Return what standard deviations are multiplied by."""
        start, slope = self.widening
        return float(np.clip(np.exp(start + slope * self.log_odds(features)), 1.0, _MOST_WIDENING))

    def unsure(self, features: Float[np.ndarray, "7"]) -> bool:
        """Whether a user should be told."""
        return self.log_odds(features) > self.bound


def doubt_from(values: Mapping[str, Any] | None) -> Doubt | None:
    """Read the section "doubt" of a calibration: `coefficients` of the features (those at the end may be
    left out: 0), `bound`, 2 numbers `widening`; or none.

    Raises `InputError` for anything else.
    """
    if values is None:
        return None
    try:
        coefficients = np.array(values["coefficients"], dtype=np.float64)
        rest = np.array([values["bound"], *values["widening"]], dtype=np.float64)
    except Exception as error:  # whatever the values are
        raise InputError(f"A doubt needs coefficients, bound and widening, found {brief(values)}.") from error
    shapes = coefficients.ndim == 1 and 1 <= len(coefficients) <= _FEATURES and rest.shape == (3,)
    if not shapes or not (np.isfinite(coefficients).all() and np.isfinite(rest).all()) or rest[2] < 0:
        raise InputError(
            f"A doubt needs 1 to {_FEATURES} finite coefficients, a bound and 2 widenings (the second not "
            f"negative), found {brief(values)}."
        )
    coefficients = np.pad(coefficients, (0, _FEATURES - len(coefficients)))
    return Doubt(coefficients, float(rest[0]), (float(rest[1]), float(rest[2])))
