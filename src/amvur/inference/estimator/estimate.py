"""The estimate of a hand: its most probable state under a sum of terms, and the curvature there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from amvur.hand.kinematics import CarriedPoints, HandState, Kinematics
from amvur.hand.model_arrays import HandModelArrays
from amvur.hand.prior_arrays import prior_arrays
from amvur.inference.estimator.contact_term import ContactTerm
from amvur.inference.estimator.landmark_term import LandmarkTerm
from amvur.inference.estimator.network_term import NetworkTerm
from amvur.inference.estimator.observation import NetworkObservations, Observations
from amvur.inference.estimator.prior_term import AnatomicalPrior
from amvur.inference.estimator.silhouette_term import Contours, SilhouetteTerm
from amvur.inference.estimator.solver import SolverSettings, minimize
from amvur.inference.estimator.start import start_states
from amvur.inference.estimator.term import Term, total

SILHOUETTE_ROUNDS = 3
"""Contours are looked for so often, each time near those of the last mesh."""
_PARTING = SolverSettings(max_steps=15, tolerance=0.01, initial_damping=1e-3)
_NEAR_THE_OPTIMUM = SolverSettings(max_steps=4, tolerance=0.05, initial_damping=1e-4)

FindContours = Callable[[HandState], Contours]
"""What the picture shows of the outlines of right hands near a state."""


@dataclass(frozen=True)
class Estimate:
    """B fitted right hands.

    `curvature` is the objective's at the optimum without silhouettes, `prior_curvature` the part of it that
    no observation brings. Before skin and silhouettes counted, the cost of prior and observations was
    `misfit`, `joints` (m, camera frame) lay there, and the wrist `distance_m` before the camera.
    """

    state: HandState
    curvature: Float64[np.ndarray, "B 61 61"]
    prior_curvature: Float64[np.ndarray, "B 61 61"]
    misfit: Float64[np.ndarray, "B"]
    joints: Float64[np.ndarray, "B 21 3"]
    distance_m: Float64[np.ndarray, "B"]


class Estimator:
    """-ln posterior of a hand: prior + contact + landmarks + network + silhouette, minimised in turn."""

    def __init__(self, arrays: HandModelArrays) -> None:
        """Take a right hand model."""
        self.hand, self.prior = Kinematics(arrays), prior_arrays(arrays)
        self._anatomy, self._contact = AnatomicalPrior(self.prior), ContactTerm(self.hand)

    def __call__(
        self,
        seen: Observations,
        network: NetworkObservations | None,
        landmarks: CarriedPoints,
        find_contours: FindContours | None = None,
    ) -> Estimate:
        """Fit B hands whose detector puts its joints at `landmarks`.

        Silhouettes say where a hand is, but bring no certainty: their errors are the model's, and neighbors
        share them.
        """
        anatomy, contact = self._anatomy, self._contact
        starts, n = start_states(self.hand, landmarks, self.prior, seen, network)
        many = self._observed(seen.repeated(n), None if network is None else network.repeated(n), landmarks)
        first = minimize((anatomy, *many), starts).best_of(n)
        observed = self._observed(seen, network, landmarks)
        state = minimize((anatomy, contact, *observed), first.state, _PARTING).state
        if find_contours is not None:
            for _ in range(SILHOUETTE_ROUNDS):
                silhouette = SilhouetteTerm(self.hand, find_contours(state), seen.intrinsics)
                terms: tuple[Term, ...] = (anatomy, contact, *observed, silhouette)
                state = minimize(terms, state, _NEAR_THE_OPTIMUM).state
        before = total((anatomy, contact), state)
        return Estimate(
            state,
            (before + total(observed, state)).curvature,
            before.curvature,
            first.objective.cost,
            self.hand.place(self.hand.joints, first.state),
            first.state.transl[:, 2],
        )

    def _observed(
        self, seen: Observations, network: NetworkObservations | None, landmarks: CarriedPoints
    ) -> tuple[Term, ...]:
        """Return the terms of what was observed."""
        detector = LandmarkTerm(self.hand, landmarks, seen)
        return (
            (detector,) if network is None else (detector, NetworkTerm(self.hand, network, seen.intrinsics))
        )
