"""What the posterior's curvature cannot see, estimated on renders and applied to every hand.

The curvature knows how sharply the evidence fixes a hand if the model of the evidence is right. It
does not know that detectors fail together, that a hand is seen from a bad side, or that joints mean
slightly different places on different people. `scripts/calibrate_uncertainty.py` fits the few
numbers below by maximum likelihood to the true errors on renders, none of them a photograph.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float, Float64

from amvur.inference.evidence import merge_runs
from amvur.inference.fit import FitResult
from amvur.inference.objective import Evidence
from amvur.structures import HandDetection

_HAND_SIZE_M = 0.17
_USUAL_SPREAD, _USUAL_MISFIT = 0.012, 13.0
FEATURES = ("constant", "log_spread", "log_misfit", "log_foreshortening")


@dataclass(frozen=True)
class Calibration:
    """How stated standard deviations follow from the curvature's.

    The evidence's standard deviations are multiplied by `inflation`, with
    `ln inflation = coefficients · features` of the hand (`FEATURES`), and `floor_m` per joint is added
    in quadrature to what then follows for the joints.
    """

    coefficients: Float64[np.ndarray, "4"]
    floor_m: Float64[np.ndarray, "21"]
    source: str

    def inflation(self, features: Float[np.ndarray, "B 4"]) -> Float[np.ndarray, "B"]:
        """Return the factor (at least 1) on the curvature's standard deviations of every hand.

        Below 1 it would state more than the evidence, or for a bare box the prior, can tell.
        """
        factor: np.ndarray = np.exp(np.clip(features @ self.coefficients, 0.0, 3.0))
        return factor


def hand_features(
    detections: Sequence[HandDetection], evidence: Evidence, result: FitResult
) -> Float[np.ndarray, "B 4"]:
    """Return what tells good from bad fits (`FEATURES`): runs that differ, a bad fit, a foreshortened hand.

    Spread and misfit (the objective at the optimum) are logarithms relative to their typical values, and
    0 where there is nothing to tell (one run); the foreshortening is ln(size of the hand in the picture
    / size it would have facing the camera).
    """
    rows = []
    for i, detection in enumerate(detections):
        merged = merge_runs(detection)
        spread = np.sqrt(np.mean(merged.spread_px**2)) / max(merged.size_px, 1.0)
        focal = float(evidence.intrinsics[i, 0, 0])
        facing = focal * _HAND_SIZE_M / float(result.state.transl[i, 2])
        rows.append(
            [
                1.0,
                np.log(max(spread, 1e-3) / _USUAL_SPREAD) if len(detection.joints_2d_px) > 1 else 0.0,
                np.log(max(float(result.cost[i]), 1.0) / _USUAL_MISFIT),
                np.log(max(merged.size_px, 1.0) / facing),
            ]
        )
    return np.array(rows)


@lru_cache(maxsize=1)
def load_calibration() -> Calibration:
    """Return the calibration that ships with the package."""
    path = files("amvur.inference") / "assets" / "calibration.json"
    values = json.loads(path.read_text())
    return Calibration(
        coefficients=np.array(values["coefficients"], dtype=np.float64),
        floor_m=np.array(values["floor_m"], dtype=np.float64),
        source=values["source"],
    )
