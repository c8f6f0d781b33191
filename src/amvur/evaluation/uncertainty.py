"""Is the stated uncertainty true? Likelihood, coverage, ranking, sparsification and confidence intervals.

Errors and standard deviations in metres (any unit, as long as it is one). A standard deviation is *per
axis*, the root mean square over x, y and z: 90 % of the errors (3D distances) should lie within 2.50 of
them, the contract that `amvur reconstruct` states (`docs/conventions.md`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import chi, rankdata

RADIUS_90 = 2.50
"""Standard deviations per axis within which 90 % of 3D errors are stated to lie (chi of 3: 2.5003)."""


def normal_nll(
    residual: Float[np.ndarray, "*shape"], std: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Return -ln N(residual; 0, std²) of every coordinate, in nats (for metres: ln of 1/m)."""
    return np.asarray(0.5 * np.square(residual / std) + np.log(std) + 0.5 * math.log(2 * math.pi))


def coverage(
    errors: Float[np.ndarray, "*shape"], std: Float[np.ndarray, "*shape"], factor: float = RADIUS_90
) -> float:
    """Return the share of 3D errors within `factor` standard deviations (0.90 is wanted at 2.50)."""
    return float(np.mean(errors <= factor * std))


def coverage_curve(
    errors: Float[np.ndarray, "*shape"], std: Float[np.ndarray, "*shape"], levels: Sequence[float]
) -> list[float]:
    """Return the observed share within the interval of each stated level (0 to 1).

    An error is taken as the length of a normal vector of 3 equal axes, so that the interval of level p
    reaches to the p-quantile of chi with 3 degrees of freedom, times std. Calibrated: the levels themselves.
    """
    return [coverage(errors, std, float(chi.ppf(level, 3))) for level in levels]


def rank_correlation(errors: Float[np.ndarray, "*shape"], std: Float[np.ndarray, "*shape"]) -> float:
    """Return Spearman's rank correlation of errors with stated uncertainty; NaN where one is constant."""
    first, second = rankdata(errors.ravel()), rankdata(std.ravel())
    first, second = first - first.mean(), second - second.mean()
    size = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / size if size > 0 else math.nan


def sparsification(errors: Float[np.ndarray, "S"], order_by: Float[np.ndarray, "S"]) -> np.ndarray:
    """Return the mean error of what remains after the k most uncertain are removed, k = 0 … S-1.

    Equal uncertainties are removed together in the mean: their errors count as their common mean, so that
    the result does not depend on the order of the data.
    """
    values, group = np.unique(order_by, return_inverse=True)
    means = np.bincount(group, errors, len(values)) / np.bincount(group, minlength=len(values))
    kept = np.cumsum(means[np.sort(group)])  # from the most certain on
    return np.asarray((kept / np.arange(1, len(errors) + 1))[::-1])


def ause(errors: Float[np.ndarray, "*shape"], std: Float[np.ndarray, "*shape"]) -> float:
    """Return the area under the sparsification error (Ilg et al. 2018): 0 is a perfect ranking.

    The mean over removed shares of the difference between the remaining error when the most uncertain are
    removed first and when the largest errors are, divided by the mean error. An uncertainty that says
    nothing gives the value of a random order; perfect predictions give 0.
    """
    flat = errors.ravel()
    mean = float(flat.mean())
    if mean == 0:
        return 0.0
    gap = sparsification(flat, std.ravel()) - sparsification(flat, flat)
    return float(gap.mean()) / mean


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds of its confidence interval, in the unit of the values."""

    mean: float
    low: float
    high: float


def bootstrap_mean(
    values: Float[np.ndarray, "S *rest"], rng: np.random.Generator, level: float = 0.95, draws: int = 1000
) -> Interval:
    """Return the mean over samples and its percentile bootstrap interval (Efron 1979).

    Whole samples are drawn with replacement, so that the errors of a hand's points, which move together,
    do not feign more data: `values` of more than one axis are averaged over the others first.
    """
    per_sample = values.reshape(len(values), -1).mean(1)
    size = len(per_sample)
    means = np.array([per_sample[rng.integers(0, size, size)].mean() for _ in range(draws)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(per_sample.mean()), float(low), float(high))
