"""The silhouette of hands: points of the skin that should lie on lines of the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from amvur.hand.kinematics import CarriedPoints, HandState, Kinematics
from amvur.inference.estimator.projection import project_with_jacobian
from amvur.inference.estimator.term import Quadratic, of_rows, student_t


@dataclass(frozen=True)
class Contours:
    """Where M points of the skin of each of B right hands lie across the contour in the picture.

    A point's projection should lie on the line through `places` (px) with the unit normal `normals`, up to a
    standard deviation of 1/`weight` (px; weight 0: nothing is known).
    """

    surface: CarriedPoints
    places: Float64[np.ndarray, "B M 2"]
    normals: Float64[np.ndarray, "B M 2"]
    weight: Float64[np.ndarray, "B M"]


class SilhouetteTerm:
    """Distances of points of the skin from their lines, one Student-t each."""

    def __init__(self, hand: Kinematics, seen: Contours, intrinsics: np.ndarray) -> None:
        """Observe B hands with cameras `intrinsics` (B,3,3; px)."""
        self.hand, self.seen, self.intrinsics = hand, seen, intrinsics

    def __call__(self, state: HandState) -> Quadratic:
        """Return the silhouette's part."""
        points, jacobian = self.hand.place_with_jacobian(self.seen.surface, state)
        pixels, by_point = project_with_jacobian(points, self.intrinsics)
        across = self.seen.normals * self.seen.weight[..., None]
        residual = ((pixels - self.seen.places) * across).sum(-1)
        cost, robust = student_t(residual[..., None])
        rows = (across[..., None, :] @ by_point @ jacobian)[..., 0, :]
        return of_rows(cost.sum(-1), residual, rows, robust)
