"""All numbers of the estimator in one frozen value, which checkpoints and evaluations record."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from amvur.errors import InputError

_MOST = {"max_steps": 1000, "contour_rounds": 20, "search_px": 64}
"""Beyond these no fit comes to an end."""


def _check(settings: Any) -> None:
    """Raise `InputError` for numbers that are not finite and above 0 (counts: 0 too), or beyond `_MOST`."""
    for name in (own.name for own in fields(settings)):
        values = getattr(settings, name)
        for value in values if isinstance(values, tuple) else (values,):
            least = 0 if isinstance(value, int) else math.ulp(0.0)
            if isinstance(value, int | float) and not least <= value <= _MOST.get(name, 10**9):
                raise InputError(f"The estimator's {name} cannot be {value}.")


@dataclass(frozen=True)
class SolverSettings:
    """How far the solver goes: it stops when no hand's objective falls by more than `tolerance`."""

    max_steps: int = 25
    tolerance: float = 1e-3
    initial_damping: float = 1e-2
    max_damping: float = 1e6

    def __post_init__(self) -> None:
        """Refuse what never ends."""
        _check(self)


@dataclass(frozen=True)
class PlausibleRange:
    """What a hand that explains its own observations keeps to.

    Half of its joints lie within `offset_sizes` of the hand's size in the picture, and no more than
    `offset_sigmas` standard deviations, from where they were seen; no beta is beyond `betas` standard
    deviations; all joints are at least `nearest_m` before the camera. The distance lies within the two
    `distance_ratio` of that of a hand which shows such a size when it faces the camera: foreshortened and
    closed hands are nearer, large ones farther.
    """

    offset_sizes: float = 0.25
    offset_sigmas: float = 6.0
    betas: float = 3.0
    nearest_m: float = 0.05
    distance_ratio: tuple[float, float] = (0.35, 1.8)

    def __post_init__(self) -> None:
        """Refuse what no hand can keep to."""
        _check(self)


@dataclass(frozen=True)
class ContourSettings:
    """How contours are looked for; lengths are pixels of a crop of `crop_px`, about 1.6 mm of a hand each.

    A mesh's outline lies within a normal distribution of `mesh_std_px` of the photograph's, and no further
    than `search_px`. A pixel changes the odds of the hand by no more than exp(±`most_evidence`), of which
    `temper` counts, because neighbors are alike. A contour that is found is known to no better than
    `model_std_px`, because hands are not the model, and counts as 1/`repeats` of an independent observation,
    because neighbors err alike. The fingers of a hand, and its palm, may be thicker or thinner than the
    mesh's, by `thickness_std_px` a side.
    """

    crop_px: float = 128.0
    mesh_std_px: float = 2.9
    search_px: float = 8.0
    most_evidence: float = 3.0
    temper: float = 0.6
    model_std_px: float = 1.15
    repeats: float = 5.6
    thickness_std_px: float = 1.7

    def __post_init__(self) -> None:
        """Refuse what cannot be looked for."""
        _check(self)


@dataclass(frozen=True)
class EstimatorConfig:
    """How a hand is estimated; what a network's word counts beside it is `FusionSettings`.

    The distance's prior is log-normal about that of a bent arm, `usual_distance_m`, and wide,
    `log_distance_std`: it only keeps degenerate evidence from putting a hand into the lens. Flesh gives way
    by `flesh_std_m` beyond mere touching. `first` finds an optimum of prior and observations, `parting` goes
    on with skin that may not pass through skin, and `drawing` with contours. Contours are looked for
    `contour_rounds` times at most, and again of hands only which they moved by more than `moved_m`: about
    what a contour is known to.
    """

    usual_distance_m: float = 0.5
    log_distance_std: float = 1.0
    flesh_std_m: float = 0.002
    first: SolverSettings = SolverSettings()
    parting: SolverSettings = SolverSettings(max_steps=15, tolerance=0.01, initial_damping=1e-3)
    drawing: SolverSettings = SolverSettings(max_steps=4, tolerance=0.05, initial_damping=1e-4)
    plausible: PlausibleRange = field(default_factory=PlausibleRange)
    contours: ContourSettings = field(default_factory=ContourSettings)
    contour_rounds: int = 3
    moved_m: float = 0.0015

    def __post_init__(self) -> None:
        """Refuse what never ends."""
        _check(self)
