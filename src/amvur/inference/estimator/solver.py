"""Levenberg–Marquardt over a sum of terms, every hand with its own damping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int

from amvur.hand.kinematics import HandState
from amvur.inference.estimator.config import SolverSettings
from amvur.inference.estimator.term import Quadratic, Term, total


@dataclass(frozen=True)
class Optimum:
    """The most probable hands near where the solver began, and the objective there."""

    state: HandState
    objective: Quadratic
    converged: Bool[np.ndarray, "B"]

    def __getitem__(self, rows: Int[np.ndarray, "N"]) -> Optimum:
        """Return some of the hands."""
        return Optimum(self.state[rows], self.objective[rows], self.converged[rows])

    def best_of(self, n_starts: int, penalty: Float64[np.ndarray, "B"]) -> Optimum:
        """Keep of `n_starts` results of each hand (neighbors in the batch) that of least cost and penalty."""
        per_hand = (self.objective.cost + penalty).reshape(-1, n_starts)
        return self[per_hand.argmin(-1) + n_starts * np.arange(len(per_hand))]

    def replaced(self, rows: Int[np.ndarray, "N"], others: Optimum) -> Optimum:
        """Return the same with other results for the hands `rows`."""
        chosen, place = (
            np.ones(len(self.converged), dtype=bool),
            np.zeros(len(self.converged), dtype=np.int64),
        )
        chosen[rows], place[rows] = False, np.arange(len(rows))
        spread = others[place]
        return Optimum(
            self.state.where(chosen, spread.state),
            self.objective.where(chosen, spread.objective),
            np.where(chosen, self.converged, spread.converged),
        )


def minimize(terms: tuple[Term, ...], start: HandState, settings: SolverSettings | None = None) -> Optimum:
    """Find the most probable hands near `start`.

    Marquardt's scaling: the diagonal of the curvature is multiplied by 1 + damping, which falls to a fifth
    where a step was good and grows sixfold where not.
    """
    settings = settings or SolverSettings()
    state, current = start, total(terms, start)
    damping = np.full(len(start), settings.initial_damping)
    done = np.zeros(len(start), dtype=bool)
    for _ in range(settings.max_steps):
        trial_state = state.retract(_step(current, damping))
        # Most steps are accepted: evaluating the derivatives with the cost saves a second pass.
        trial = total(terms, trial_state)
        better = (trial.cost < current.cost) & ~done
        small = current.cost - trial.cost < settings.tolerance
        done = done | (better & small) | (damping > settings.max_damping)
        damping = np.maximum(np.where(better, damping * 0.2, damping * 6.0), 1e-9)
        state, current = trial_state.where(better, state), trial.where(better, current)
        if done.all():
            break
    return Optimum(state, current, done)


def _step(current: Quadratic, damping: Float64[np.ndarray, "B"]) -> Float64[np.ndarray, "B 61"]:
    """Solve the damped normal equations."""
    damped = current.curvature.copy()
    diagonal = np.einsum("bii->bi", damped)  # a view
    diagonal *= 1 + damping[:, None]
    diagonal += 1e-9
    step: np.ndarray = -np.linalg.solve(damped, current.gradient[..., None])[..., 0]
    return step
