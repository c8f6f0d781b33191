"""What every term of the negative log posterior is: a function of the state, with its derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Protocol

import numpy as np
from jaxtyping import Float64, Int

from amvur.geometry.products import summed_products
from amvur.hand.kinematics import N_PARAMETERS, HandState

DEGREES_OF_FREEDOM = 4.0
"""Of the Student-t densities of all observations: heavy enough that a joint off by 10 σ hardly pulls."""


@dataclass(frozen=True)
class Quadratic:
    """A negative log density near a state: cost, gradient, Gauss–Newton curvature by the 61 parameters."""

    cost: Float64[np.ndarray, "B"]
    gradient: Float64[np.ndarray, "B 61"]
    curvature: Float64[np.ndarray, "B 61 61"]

    def __add__(self, other: Quadratic) -> Quadratic:
        """Return the sum of two parts of an objective."""
        return Quadratic(
            self.cost + other.cost, self.gradient + other.gradient, self.curvature + other.curvature
        )

    def __getitem__(self, rows: Int[np.ndarray, "N"]) -> Quadratic:
        """Return the numbers of some of the hands."""
        return Quadratic(self.cost[rows], self.gradient[rows], self.curvature[rows])

    def where(self, chosen: np.ndarray, other: Quadratic) -> Quadratic:
        """Return these hands' numbers where `chosen` (B) and the others' elsewhere."""
        return Quadratic(
            np.where(chosen, self.cost, other.cost),
            np.where(chosen[:, None], self.gradient, other.gradient),
            np.where(chosen[:, None, None], self.curvature, other.curvature),
        )


class Term(Protocol):
    """A part of -ln posterior: of the prior, or of an observation of B hands."""

    def __call__(self, state: HandState) -> Quadratic:
        """Return cost, gradient and curvature at a state of B hands."""
        ...


def total(terms: tuple[Term, ...], state: HandState) -> Quadratic:
    """Return the sum of terms."""
    return reduce(add, (term(state) for term in terms))


def nothing(count: int) -> Quadratic:
    """Return the term that says nothing of `count` hands."""
    return Quadratic(
        np.zeros(count), np.zeros((count, N_PARAMETERS)), np.zeros((count, N_PARAMETERS, N_PARAMETERS))
    )


def student_t(
    residual: Float64[np.ndarray, "B N D"],
) -> tuple[Float64[np.ndarray, "B N"], Float64[np.ndarray, "B N"]]:
    """Return -ln of a multivariate Student-t up to a constant, and its least-squares weights (ν+d)/(ν+r²)."""
    nu, dimension = DEGREES_OF_FREEDOM, residual.shape[-1]
    squared = np.square(residual).sum(-1)
    return 0.5 * (nu + dimension) * np.log1p(squared / nu), (nu + dimension) / (nu + squared)


def of_points(
    cost: Float64[np.ndarray, "B"],
    force: Float64[np.ndarray, "B N 3"],
    stiffness: Float64[np.ndarray, "B N 3 3"],
    jacobian: Float64[np.ndarray, "B N 3 61"],
) -> Quadratic:
    """Take a term's gradient and curvature by N points of the hand to the parameters."""
    flat = jacobian.reshape(len(jacobian), -1, N_PARAMETERS)
    pulled = (stiffness @ jacobian).reshape(len(jacobian), -1, N_PARAMETERS)
    gradient = summed_products(force.reshape(len(force), -1, 1), flat)
    return Quadratic(cost, gradient[:, 0], summed_products(flat, pulled))


def of_rows(
    cost: Float64[np.ndarray, "B"],
    residual: Float64[np.ndarray, "B R"],
    rows: Float64[np.ndarray, "B R 61"],
    weight: Float64[np.ndarray, "B R"] | None = None,
) -> Quadratic:
    """Return the term of R residuals and their derivatives, least squares with weights (1 by default)."""
    pulled = rows if weight is None else rows * weight[..., None]
    return Quadratic(cost, summed_products(residual[..., None], pulled)[:, 0], summed_products(rows, pulled))
