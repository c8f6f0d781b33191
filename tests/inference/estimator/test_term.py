"""Sums of terms, and the density that all observations share."""

import numpy as np
from laws import assert_same, minus_log_t
from truth import true_hands

from amvur.hand.kinematics import N_PARAMETERS
from amvur.inference.estimator.term import Quadratic, nothing, of_points, of_rows, student_t, total


def some(rng, n=3):
    return Quadratic(rng.normal(size=n), rng.normal(size=(n, 61)), rng.normal(size=(n, 61, 61)))


def test_students_t_is_scipys(rng):
    for dimension in (1, 2, 63):
        residual = 3 * rng.normal(size=(4, 5, dimension))
        np.testing.assert_allclose(student_t(residual)[0], minus_log_t(residual, dimension), rtol=1e-9)


def test_its_weight_is_the_slope_over_the_residual(rng):
    """And falls: an outlier pulls less the further it is."""
    far, h = np.array([0.1, 2.0, 20.0, 200.0])[None, :, None], 1e-6
    slope = (student_t(far + h)[0] - student_t(far - h)[0]) / (2 * h)
    np.testing.assert_allclose(student_t(far)[1], slope / far[..., 0], rtol=1e-5)
    assert slope[0, 1] > slope[0, 2] > slope[0, 3]


def test_small_residuals_cost_as_normal_ones():
    """Student's t with ν degrees of freedom curves as a normal of variance ν/(ν+d) at its top."""
    off = np.full((1, 1, 2), 1e-3)
    np.testing.assert_allclose(student_t(off)[0], 0.5 * (4 + 2) / 4 * np.square(off).sum(-1), rtol=1e-5)


def test_terms_add_up_and_are_chosen_hand_by_hand(rng):
    one, other = some(rng), some(rng)
    state = true_hands(3).state
    assert_same(total((lambda _: one, lambda _: other), state), one + other)
    np.testing.assert_allclose((one + other).curvature, one.curvature + other.curvature)
    assert_same(one + nothing(3), one)
    mixed = one.where(np.array([True, False, True]), other)
    for name in vars(one):
        np.testing.assert_array_equal(getattr(mixed, name)[0], getattr(one, name)[0])
        np.testing.assert_array_equal(getattr(mixed, name)[1], getattr(other, name)[1])


def test_points_and_rows_are_least_squares(rng):
    """The same residuals, as N points of the hand and as rows of their own."""
    jacobian, residual = rng.normal(size=(2, 4, 3, N_PARAMETERS)), rng.normal(size=(2, 4, 3))
    weight, cost = rng.uniform(size=(2, 4)), rng.normal(size=2)
    points = of_points(cost, weight[..., None] * residual, weight[..., None, None] * np.eye(3), jacobian)
    flat = jacobian.reshape(2, 12, -1)
    rows = of_rows(cost, residual.reshape(2, 12), flat, np.repeat(weight, 3, 1))
    assert_same(points, rows, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        rows.gradient, np.einsum("br,br,brp->bp", residual.reshape(2, 12), np.repeat(weight, 3, 1), flat)
    )
