"""The estimate of a hand: its most probable state under a sum of terms, and the curvature there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from amvur.hand.kinematics import CarriedPoints, HandState, Kinematics
from amvur.hand.model_arrays import HandModelArrays
from amvur.hand.prior_arrays import prior_arrays
from amvur.inference.estimator.config import EstimatorConfig
from amvur.inference.estimator.contact_term import ContactTerm
from amvur.inference.estimator.landmark_term import LandmarkTerm
from amvur.inference.estimator.network_term import NetworkTerm
from amvur.inference.estimator.observation import NetworkObservations, Observations
from amvur.inference.estimator.plausibility import excess
from amvur.inference.estimator.prior_term import AnatomicalPrior
from amvur.inference.estimator.silhouette_term import Contours, SilhouetteTerm
from amvur.inference.estimator.solver import Optimum, minimize
from amvur.inference.estimator.start import start_states
from amvur.inference.estimator.term import Term, total

_IMPLAUSIBLE = 1e6
"""What an optimum that is no plausible hand costs: more than any plausible one."""

FindContours = Callable[[HandState, Int[np.ndarray, "N"]], Contours]
"""What the pictures show of the outlines of the hands of some rows of a batch near a state (N)."""


@dataclass(frozen=True)
class Estimate:
    """B fitted right hands.

    `curvature` is the objective's at the optimum without silhouettes, `prior_curvature` the part of it that
    no observation brings. Before skin and silhouettes counted, the cost of prior and observations was
    `misfit`, `joints` (m, camera frame) lay there, and the wrist `distance_m` before the camera. `excess` is
    by what factor a hand leaves the plausible range (`plausibility.excess`): more than 1 should be told.
    """

    state: HandState
    curvature: Float64[np.ndarray, "B 61 61"]
    prior_curvature: Float64[np.ndarray, "B 61 61"]
    misfit: Float64[np.ndarray, "B"]
    joints: Float64[np.ndarray, "B 21 3"]
    distance_m: Float64[np.ndarray, "B"]
    excess: Float64[np.ndarray, "B"]


class Estimator:
    """-ln posterior of a hand: prior + contact + landmarks + network + silhouette, minimised in turn."""

    def __init__(self, arrays: HandModelArrays, config: EstimatorConfig | None = None) -> None:
        """Take a right hand model, and how it is estimated."""
        self.config = config or EstimatorConfig()
        self.hand, self.prior = Kinematics(arrays), prior_arrays(arrays)
        self._anatomy = AnatomicalPrior(self.prior, self.config)
        self._contact = ContactTerm(self.hand, self.config)

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
        first = self._from_scratch(seen, network, landmarks)
        observed = self._observed(seen, network, landmarks)
        state = minimize((anatomy, contact, *observed), first.state, self.config.parting).state
        if find_contours is not None:
            rows = np.arange(len(state))
            for _ in range(self.config.contour_rounds):
                part, said = state[rows], None if network is None else network[rows]
                silhouette = SilhouetteTerm(self.hand, find_contours(part, rows), seen.intrinsics[rows])
                terms: tuple[Term, ...] = (
                    anatomy,
                    contact,
                    *self._observed(seen[rows], said, landmarks),
                    silhouette,
                )
                found = minimize(terms, part, self.config.drawing).state
                state = state.replaced(rows, found)
                rows = rows[self._moved_m(part, found) > self.config.moved_m]
                if not len(rows):
                    break
        before = total((anatomy, contact), state)
        return Estimate(
            state,
            (before + total(observed, state)).curvature,
            before.curvature,
            first.objective.cost,
            self.hand.place(self.hand.joints, first.state),
            first.state.transl[:, 2],
            self._excess(landmarks, state, seen, network),
        )

    def _moved_m(self, before: HandState, after: HandState) -> Float64[np.ndarray, "N"]:
        """Return how far hands moved across the view: the mean of their joints."""
        first, last = self.hand.place(self.hand.joints, before), self.hand.place(self.hand.joints, after)
        across = last[..., :2] / last[..., 2:] - first[..., :2] / first[..., 2:]
        moved: np.ndarray = np.linalg.norm(across * first[..., 2:], axis=-1).mean(-1)
        return moved

    def _from_scratch(
        self, seen: Observations, network: NetworkObservations | None, landmarks: CarriedPoints
    ) -> Optimum:
        """Return the optimum of prior and observations; of a hand that is no plausible one, from more starts.

        A robust density lets a hand in an absurd place explain its joints as outliers: such an optimum is
        kept only where no start leads to a better one.
        """
        found = self._best_start(seen, network, landmarks)
        doubtful = np.flatnonzero(self._excess(landmarks, found.state, seen, network) > 1)
        if len(doubtful):
            said = None if network is None else network[doubtful]
            again = self._best_start(seen[doubtful], said, landmarks, thorough=True)
            found = found.replaced(doubtful, again)
        return found

    def _best_start(
        self,
        seen: Observations,
        network: NetworkObservations | None,
        landmarks: CarriedPoints,
        thorough: bool = False,
    ) -> Optimum:
        """Return the most probable of the optima that each hand's starts lead to, a plausible one if any."""
        starts, n = start_states(self.hand, landmarks, self.prior, seen, network, thorough)
        rows = np.repeat(np.arange(len(seen.joints_2d)), n)
        many, said = seen[rows], None if network is None else network[rows]
        found = minimize((self._anatomy, *self._observed(many, said, landmarks)), starts, self.config.first)
        penalty = np.zeros(len(rows))
        if thorough:
            beyond = self._excess(landmarks, found.state, many, said)
            penalty = np.where(beyond > 1, _IMPLAUSIBLE * beyond, 0.0)
        return found.best_of(n, penalty)

    def _excess(
        self,
        landmarks: CarriedPoints,
        state: HandState,
        seen: Observations,
        network: NetworkObservations | None,
    ) -> Float64[np.ndarray, "B"]:
        """Return by what factor hands leave the plausible range."""
        return excess(self.hand, landmarks, state, seen, network, self.config.plausible)

    def _observed(
        self, seen: Observations, network: NetworkObservations | None, landmarks: CarriedPoints
    ) -> tuple[Term, ...]:
        """Return the terms of what was observed."""
        detector = LandmarkTerm(self.hand, landmarks, seen)
        return (
            (detector,) if network is None else (detector, NetworkTerm(self.hand, network, seen.intrinsics))
        )
