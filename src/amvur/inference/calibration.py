"""What the posterior's curvature cannot see, estimated on renders and applied to every hand.

The curvature knows how sharply the evidence fixes a hand if the model of the evidence is right. It
does not know that detectors fail together, that a hand is seen from a bad side, or that joints mean
slightly different places on different people. `scripts/calibrate_uncertainty.py` fits the few
numbers below by maximum likelihood to the true errors on renders, none of them a photograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64

from amvur.errors import InputError
from amvur.inference.doubt import Doubt, doubt_from
from amvur.inference.estimator.estimate import Estimate
from amvur.inference.estimator.observation import NetworkObservations, Observations
from amvur.inference.estimator.similarity import align_similarity
from amvur.inference.frames import HandFrame
from amvur.inference.silhouette.segmentation import HandPixels
from amvur.reading import brief, parse_json

_HAND_SIZE_M = 0.17
_USUAL_SPREAD, _USUAL_MISFIT, _USUAL_DISAGREEMENT_M = 0.012, 13.0, 0.008
_LEAST_DISAGREEMENT_M = 0.001
_USUAL_NETWORK_STD_M = 0.02
_USUAL_MISMATCH, _LEAST_MISMATCH = 0.1, 0.02
FEATURES = (
    "constant",
    "log_spread",
    "log_misfit",
    "log_foreshortening",
    "log_disagreement",
    "log_network_std",
    "log_mismatch",
)


@dataclass(frozen=True)
class Calibration:
    """How stated standard deviations follow from the curvature's.

    The evidence's standard deviations are multiplied by `inflation`, with
    `ln inflation = coefficients · features` of the hand (`FEATURES`), and `floor_m` per joint is added
    in quadrature to what then follows for the joints. `doubt` tells how likely the hand is a wrong one, where
    that was measured.
    """

    coefficients: Float64[np.ndarray, "7"]
    floor_m: Float64[np.ndarray, "21"]
    source: str
    doubt: Doubt | None = None

    def inflation(self, features: Float[np.ndarray, "B 7"]) -> Float[np.ndarray, "B"]:
        """Return the factor (at least 1) on the curvature's standard deviations of every hand.

        Below 1 it would state more than the evidence, or for a bare box the prior, can tell.
        """
        factor: np.ndarray = np.exp(np.clip(features @ self.coefficients, 0.0, 3.0))
        return factor


@dataclass(frozen=True)
class Calibrations:
    """One calibration for hands fitted to a detector alone, for those that a network saw too, and for those
    that a network alone saw, in a box."""

    detector: Calibration
    network: Calibration
    box: Calibration

    def of(self, network: bool, box_only: bool) -> Calibration:
        """Return the one that applies: with a network or without, with detected joints or a bare box."""
        if not network:
            return self.detector
        return self.box if box_only else self.network

    def inflation(
        self,
        features: Float[np.ndarray, "B 7"],
        network: Bool[np.ndarray, "B"],
        box_only: Bool[np.ndarray, "B"],
    ) -> Float[np.ndarray, "B"]:
        """Return every hand's `Calibration.inflation`, each by the calibration that applies to it."""
        chosen = zip(features, network, box_only, strict=True)
        return np.array([self.of(bool(n), bool(b)).inflation(row[None])[0] for row, n, b in chosen])


def hand_features(
    frames: Sequence[HandFrame],
    seen: Observations,
    network: NetworkObservations | None,
    estimate: Estimate,
    pixels: Sequence[HandPixels | None],
) -> Float[np.ndarray, "B 7"]:
    """Return what tells good from bad fits, the `FEATURES`: passes that differ, a bad fit, a foreshortened
    hand, a network that sees another hand than was fitted or is not sure of what it sees, a mesh beside the
    segmented hand (`pixels`; None where nobody looked).

    Spread, misfit, disagreement (the mean distance of joints after the best similarity), the network's own
    standard deviation and the mismatch are logarithms relative to their typical values, and 0 where there is
    nothing to tell (one pass, no network, no look); the foreshortening is ln(size of the hand in the picture
    / size it would have facing the camera).
    """
    spread = [frame.merged.relative_spread for frame in frames]
    repeated = np.array([len(frame.detection.joints_2d_px) > 1 for frame in frames])
    size = [_size_px(frame, network, i) for i, frame in enumerate(frames)]
    facing = seen.intrinsics[:, 0, 0] * _HAND_SIZE_M / estimate.distance_m
    mismatch = [_USUAL_MISMATCH if own is None else own.mismatch for own in pixels]
    return np.column_stack(
        [
            np.ones(len(frames)),
            np.where(repeated, np.log(np.maximum(spread, 1e-3) / _USUAL_SPREAD), 0.0),
            np.log(np.maximum(estimate.misfit, 1.0) / _USUAL_MISFIT),
            np.log(np.maximum(size, 1.0) / facing),
            _disagreement(network, estimate.joints),
            _network_std(network, len(frames)),
            np.log(np.maximum(mismatch, _LEAST_MISMATCH) / _USUAL_MISMATCH),
        ]
    )


def _disagreement(
    network: NetworkObservations | None, joints: Float[np.ndarray, "B 21 3"]
) -> Float[np.ndarray, "B"]:
    """Return how far the network's joints are from the fitted ones, as in `hand_features`."""
    if network is None:
        return np.zeros(len(joints))
    apart = np.linalg.norm(align_similarity(network.relative_joints, joints) - joints, axis=-1).mean(-1)
    ratio = np.maximum(apart, _LEAST_DISAGREEMENT_M) / _USUAL_DISAGREEMENT_M
    return np.where(network.present, np.log(ratio), 0.0)


def _network_std(network: NetworkObservations | None, count: int) -> Float[np.ndarray, "B"]:
    """Return how unsure the network is of a hand's joints relative to the wrist, as in `hand_features`."""
    if network is None:
        return np.zeros(count)
    precision = np.square(network.relative_weight).sum((-2, -1))[:, 1:] / 3  # 1/m², mean of the axes
    ratio = 1 / np.sqrt(np.maximum(precision, 1e-6)) / _USUAL_NETWORK_STD_M
    return np.where(network.present, np.log(ratio).mean(-1), 0.0)


def _size_px(frame: HandFrame, network: NetworkObservations | None, i: int) -> float:
    """Return the longer side of a hand's joints: the detector's, or for a bare box the network's."""
    if network is not None and network.present[i] and frame.box_only:
        return float(np.ptp(network.joints_2d[i], axis=0).max())
    return frame.merged.size_px


@lru_cache(maxsize=1)
def load_calibrations() -> Calibrations:
    """Return the calibration that ships with the package, for all: networks bring their own."""
    path = files("amvur.inference") / "assets" / "calibration.json"
    alone = calibration_from(parse_json(path.read_bytes()))
    return Calibrations(alone, alone, alone)


def calibration_from(values: Any) -> Calibration:
    """Read a calibration from its JSON object: `coefficients` of `FEATURES` in order (those at the end may be
    left out: 0), 21 `floor_m`, `source`, and `doubt` if that was measured (`amvur.inference.doubt`).

    Raises `InputError` for anything else.
    """
    try:
        coefficients = np.array(values["coefficients"], dtype=np.float64)
        floor = np.array(values["floor_m"], dtype=np.float64)
    except Exception as error:  # whatever the values are
        raise InputError(f"A calibration needs coefficients and floor_m, found {brief(values)}.") from error
    good = coefficients.ndim == 1 and 1 <= len(coefficients) <= len(FEATURES) and floor.shape == (21,)
    if not good or not (np.isfinite(coefficients).all() and np.isfinite(floor).all() and (floor >= 0).all()):
        raise InputError(
            f"A calibration needs 1 to {len(FEATURES)} finite coefficients and 21 floors (m), "
            f"found {brief(values)}."
        )
    coefficients = np.pad(coefficients, (0, len(FEATURES) - len(coefficients)))
    source = str(values.get("source", ""))[:1000]
    return Calibration(coefficients, floor, source, doubt_from(values.get("doubt")))
