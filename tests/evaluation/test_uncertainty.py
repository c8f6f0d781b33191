"""Measures of stated uncertainty against scipy, torch, Monte Carlo and known answers."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import chi, spearmanr

from amvur.errors import InputError
from amvur.evaluation.report import occlusion_strata, summarize
from amvur.evaluation.uncertainty import (
    RADIUS_90,
    ause,
    bootstrap_mean,
    coverage,
    coverage_curve,
    normal_nll,
    rank_correlation,
    sparsification,
)


@pytest.fixture
def calibrated(rng):
    """Errors of 4000 × 5 points that are what their stated standard deviations say."""
    std = rng.uniform(0.002, 0.02, (4000, 5))
    return np.linalg.norm(std[..., None] * rng.standard_normal((4000, 5, 3)), axis=-1), std


def test_nll_is_that_of_torch(rng):
    residual, std = rng.standard_normal((4, 3)), rng.uniform(0.5, 2, (4, 3))
    wanted = -torch.distributions.Normal(0, torch.tensor(std)).log_prob(torch.tensor(residual))
    np.testing.assert_allclose(normal_nll(residual, std), wanted.numpy())


def test_the_stated_radius_holds_90_percent():
    assert chi.ppf(0.9, 3) == pytest.approx(RADIUS_90, abs=0.001)


def test_coverage(calibrated):
    errors, std = calibrated
    assert coverage(errors, std) == pytest.approx(0.9, abs=0.01)
    assert coverage(errors, 10 * std) == 1.0
    assert coverage(errors, 0.5 * std) < 0.5
    assert coverage(np.array([2.5, 2.6]), np.ones(2)) == 0.5, "the bound itself is inside"
    np.testing.assert_allclose(coverage_curve(errors, std, [0.1, 0.5, 0.95]), [0.1, 0.5, 0.95], atol=0.012)


def test_rank_correlation(calibrated, rng):
    errors, std = calibrated
    assert rank_correlation(errors, std) == pytest.approx(spearmanr(errors.ravel(), std.ravel()).statistic)
    ties = rng.integers(0, 4, 50).astype(float)
    assert rank_correlation(ties, errors[:50, 0]) == pytest.approx(spearmanr(ties, errors[:50, 0]).statistic)
    assert rank_correlation(errors, errors**2) == pytest.approx(1.0)
    assert math.isnan(rank_correlation(errors, np.ones_like(errors)))


def test_sparsification():
    errors = np.array([1.0, 4.0, 1.0, 2.0])
    np.testing.assert_allclose(sparsification(errors, errors), [2, 4 / 3, 1, 1])
    np.testing.assert_allclose(sparsification(errors, -errors), [2, 7 / 3, 3, 4])
    np.testing.assert_allclose(sparsification(errors, np.ones(4)), [2, 2, 2, 2])


def test_ause(calibrated, rng):
    errors, std = calibrated
    assert ause(errors, errors) == pytest.approx(0, abs=1e-12)
    useful, useless = ause(errors, std), ause(errors, np.ones_like(std))
    assert 0 < useful < useless < ause(errors, 1 / errors)
    assert ause(errors, rng.random(errors.shape)) == pytest.approx(useless, rel=0.1)
    assert ause(7 * errors, std) == pytest.approx(useful), "independent of the unit"
    assert ause(np.zeros(3), np.ones(3)) == 0.0


def test_bootstrap_interval_is_that_of_the_normal(rng):
    values = rng.standard_normal(400)
    found = bootstrap_mean(values, rng, draws=4000)
    assert found.mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert found.high - found.mean == pytest.approx(half, rel=0.1)
    assert found.mean - found.low == pytest.approx(half, rel=0.1)


def test_bootstrap_draws_samples_not_points(rng):
    values = rng.standard_normal(100)
    single = bootstrap_mean(values, np.random.default_rng(1))
    repeated = bootstrap_mean(np.repeat(values[:, None], 21, 1), np.random.default_rng(1))
    assert repeated.low == pytest.approx(single.low)
    assert repeated.high == pytest.approx(single.high)


def test_strata_cover_every_sample_once(rng):
    occlusion = np.append(rng.random(100), [0.0, 0.2, 0.6, 1.0])
    strata = occlusion_strata(occlusion)
    assert list(strata) == ["0.00-0.20", "0.20-0.40", "0.40-0.60", "0.60-1.00"]
    np.testing.assert_array_equal(sum(member.astype(int) for member in strata.values()), 1)
    assert strata["0.20-0.40"][101]
    assert strata["0.60-1.00"][-1]


def test_summary(calibrated, rng):
    errors, std = calibrated
    occluded = rng.random(len(errors)) < 0.3
    strata = {"visible": ~occluded, "occluded": occluded, "none": np.zeros(len(errors), bool)}
    names = ["a", "b", "c", "d", "e"]
    found = summarize(errors, std, strata, names, draws=200)
    json.dumps(found, allow_nan=False)
    assert found["overall"]["mean_mm"] == pytest.approx(1000 * errors.mean())
    assert found["overall"]["coverage_90"] == pytest.approx(0.9, abs=0.01)
    low, high = found["overall"]["mean_mm_interval_95"]
    assert low < found["overall"]["mean_mm"] < high
    assert found["strata"]["occluded"]["count"] == occluded.sum()
    assert found["strata"]["occluded"]["mean_mm"] == pytest.approx(1000 * errors[occluded].mean())
    assert found["strata"]["none"] == {"count": 0}
    assert list(found["per_point"]) == names
    assert found["per_point"]["b"]["mean_mm"] == pytest.approx(1000 * errors[:, 1].mean())
    assert summarize(errors, std, strata, names, draws=200) == found, "reproducible"
    assert "coverage_90" not in summarize(errors)["overall"]
    assert summarize(errors, np.ones_like(errors))["overall"]["rank_correlation"] is None


@pytest.mark.parametrize(
    ("errors", "std", "names", "message"),
    [
        (np.empty((0, 3)), None, None, "no errors"),
        (np.array([[np.nan]]), None, None, "finite"),
        (np.array([[-1.0]]), None, None, "negative"),
        (np.array([[1.0]]), np.array([[0.0]]), None, "positive"),
        (np.array([[1.0]]), None, ["a", "b"], "2 names for 1 points"),
    ],
)
def test_what_cannot_be_summarized_is_told(errors, std, names, message):
    with pytest.raises(InputError, match=message):
        summarize(errors, std, point_names=names)
