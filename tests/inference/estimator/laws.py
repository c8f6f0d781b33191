"""What holds for every term of the objective, and densities to compare with."""

import numpy as np
from scipy.stats import multivariate_t
from truth import differences

from amvur.inference.estimator.term import DEGREES_OF_FREEDOM, Quadratic


def minus_log_t(residual, dimension):
    """-ln of Student's t per row, 0 at residual 0: scipy's."""
    density = multivariate_t(loc=np.zeros(dimension), shape=np.eye(dimension), df=DEGREES_OF_FREEDOM)
    rows = density.logpdf(residual.reshape(-1, dimension))
    return (density.logpdf(np.zeros(dimension)) - rows).reshape(len(residual), -1)


def assert_gradient(term, state, tolerance=1e-5):
    """The gradient is the finite difference of the cost; the curvature symmetric and not negative."""
    result = term(state)
    numeric = differences(lambda other: term(other).cost, state)
    assert np.abs(numeric).max() > 0
    scale = np.abs(numeric).max(-1, keepdims=True)
    assert (np.abs(result.gradient - numeric) / np.maximum(scale, 1e-12)).max() < tolerance
    curvature = result.curvature
    largest = np.einsum("bii->bi", curvature).max(-1)
    np.testing.assert_allclose(curvature, curvature.swapaxes(-1, -2), rtol=1e-9, atol=1e-6)
    assert (np.linalg.eigvalsh(curvature)[:, 0] >= -1e-9 * largest).all()


def assert_hessian(term, state, tolerance=1e-5):
    """The curvature is the finite difference of the gradient: where residuals vanish, and with them all that
    Gauss-Newton and the weights leave out."""
    curvature = term(state).curvature
    numeric = differences(lambda other: term(other).gradient, state)
    scale = np.einsum("bii->bi", curvature).max(-1)[:, None, None]
    assert (np.abs(curvature - numeric) / scale).max() < tolerance


def assert_same(one: Quadratic, other: Quadratic, **tolerance):
    for name in vars(one):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), err_msg=name, **tolerance)


def assert_finite(result):
    assert all(np.isfinite(values).all() for values in vars(result).values())


def assert_nothing(result):
    assert all((values == 0).all() for values in vars(result).values())
