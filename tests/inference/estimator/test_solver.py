"""The solver on hands of known pose, and on terms whose optimum is known."""

import numpy as np
import pytest
from laws import assert_same
from truth import aligned_error_mm, exact_observations, moved, noisy, true_hands

from amvur.inference.estimator.config import EstimatorConfig, SolverSettings
from amvur.inference.estimator.landmark_term import LandmarkTerm
from amvur.inference.estimator.prior_term import AnatomicalPrior
from amvur.inference.estimator.solver import minimize
from amvur.inference.estimator.start import start_states
from amvur.inference.estimator.term import total


@pytest.fixture(scope="module")
def truth():
    return true_hands(8)


def terms_of(truth, seen):
    return AnatomicalPrior(truth.prior, EstimatorConfig()), LandmarkTerm(truth.hand, truth.landmarks, seen)


def start_of(truth, seen):
    states, n = start_states(truth.hand, truth.landmarks, truth.prior, seen)
    assert n == 1
    return states


def test_the_optimum_is_one(truth):
    seen = noisy(exact_observations(truth))
    terms = terms_of(truth, seen)
    result = minimize(terms, start_of(truth, seen), SolverSettings(max_steps=100, tolerance=1e-9))
    optimum = total(terms, result.state)
    assert_same(optimum, result.objective, rtol=1e-9, atol=1e-9)
    newton = -np.linalg.solve(optimum.curvature, optimum.gradient[..., None])[..., 0]
    std = np.sqrt(np.einsum("bii->bi", np.linalg.inv(optimum.curvature)))
    assert (np.abs(newton) < 1e-2 * std).all()
    for seed in range(3):
        other = moved(result.state, 0.01 * np.random.default_rng(seed).normal(size=61))
        assert (total(terms, other).cost > optimum.cost).all()


def test_no_step_makes_it_worse_and_converged_says_whether_it_is(truth):
    seen = noisy(exact_observations(truth), amount=5)
    terms, start = terms_of(truth, seen), start_of(truth, seen)
    results = [minimize(terms, start, SolverSettings(max_steps=n)) for n in (0, 1, 2, 4, 8, 100)]
    assert (np.diff([result.objective.cost for result in results], axis=0) <= 0).all()
    assert not results[1].converged.any()
    assert results[-1].converged.all()


@pytest.mark.parametrize("degrees", [30, 60])
def test_a_start_that_is_turned_away_still_leads_there(truth, degrees):
    seen, step = exact_observations(truth), np.zeros(61)
    step[:3] = np.radians(degrees) * np.array([1, -2, 2]) / 3
    step[58:] = 0.05, -0.05, 0.2
    found = minimize(terms_of(truth, seen), moved(start_of(truth, seen), step)).state
    error = aligned_error_mm(truth.place(found), truth.points)
    assert np.median(error) < 0.5
    assert np.mean(error < 1) > 0.7


def test_of_several_results_the_best_is_kept_and_some_can_be_replaced(truth):
    """Best by cost and penalty; hands that are not named stay."""
    terms = terms_of(truth, exact_observations(truth))
    near, far = (minimize(terms, moved(truth.state, np.full(61, s)), SolverSettings(0)) for s in (0.001, 0.1))
    rows = np.array([2, 5])
    mixed = far.replaced(rows, near[rows])
    for name in ("rotations", "betas", "transl"):
        ours, one, other = (getattr(x.state, name) for x in (mixed, far, near))
        np.testing.assert_array_equal(ours[rows], other[rows])
        np.testing.assert_array_equal(np.delete(ours, rows, 0), np.delete(one, rows, 0))
    assert np.array_equal(mixed.objective.cost == near.objective.cost, np.isin(np.arange(8), rows))
    pairs = mixed.best_of(2, np.zeros(8))
    np.testing.assert_array_equal(pairs.objective.cost, mixed.objective.cost.reshape(4, 2).min(1))
    refused = mixed.best_of(2, np.where(np.isin(np.arange(8), rows), np.inf, 0.0))
    np.testing.assert_array_equal(refused.objective.cost[[1, 2]], mixed.objective.cost[[3, 4]])
