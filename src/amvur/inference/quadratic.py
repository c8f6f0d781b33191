"""A negative log density near a state: cost, gradient, curvature."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Quadratic:
    """The objective at a state, with gradient and Gauss–Newton curvature by the 61 parameters."""

    cost: Float[Tensor, "B"]
    gradient: Float[Tensor, "B 61"]
    curvature: Float[Tensor, "B 61 61"]

    def __add__(self, other: Quadratic) -> Quadratic:
        """Return the sum of two parts of an objective."""
        return Quadratic(
            self.cost + other.cost, self.gradient + other.gradient, self.curvature + other.curvature
        )
