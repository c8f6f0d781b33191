"""Learn from synthetic hands how likely a hand is a wrong one: the section "doubt" of a calibration.

    python benchmarks/wildness.py ROWS.jsonl synthetic --seed 515151 --count 1500 --cut 0.3
    python scripts/fit_doubt.py ROWS.jsonl src/amvur/assets/default/config.json
    python benchmarks/wildness.py BOX.jsonl synthetic --seed 515151 --count 800 --cut 0.3 --box-only
    python scripts/fit_doubt.py BOX.jsonl src/amvur/assets/default/config.json
    python benchmarks/wildness.py NONE.jsonl synthetic --seed 515151 --count 800 --cut 0.3 --checkpoint none
    python scripts/fit_doubt.py NONE.jsonl src/amvur/inference/assets/calibration.json

All hands that were found on the true one count, of wrong side too: `scripts/calibrate_uncertainty.py`, to be
run before, leaves those out. A logistic regression (small ridge) on the calibration's features; the bound
leaves 5 % of good hands (below 10 mm) unsure, and the widening is the line over the log odds that 90 % of
errors keep to (quantile regression). Bound and widening come from fits to the other four fifths of the
hands. No photograph is read.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from amvur.inference.doubt import WRONG_M

GOOD_MM, FALSE_ALARMS = 10.0, 0.05
ON_THE_HAND = 0.6  # as in benchmarks/wildness.py
RIDGE, STEPS, FOLDS = 1.0, 50, 5
HELD = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path, help="what benchmarks/wildness.py kept")
    parser.add_argument("config", type=Path, help="a checkpoint's config.json or calibration.json")
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.rows.read_text().splitlines()]
    rows = [row for row in rows if row.get("beside", ON_THE_HAND) < ON_THE_HAND]
    doubt = fit(rows) | {"source": f"scripts/fit_doubt.py: {len(rows)} synthetic hands"}
    content = json.loads(args.config.read_text())
    kind = "box" if rows[0]["box_only"] else "network"
    place = content["calibration"][kind] if "calibration" in content else content
    place["doubt"] = doubt
    args.config.write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(doubt))


def fit(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return coefficients, bound and widening for the rows of hands."""
    features, error = np.array([row["features"] for row in rows]), np.array([row["error_mm"] for row in rows])
    radii = np.array([row["radii"] for row in rows]) * np.array([[row["widened"]] for row in rows])
    wrong = (error > 1000 * WRONG_M).astype(np.float64)
    odds, fold = np.zeros(len(rows)), np.arange(len(rows)) % FOLDS
    for k in range(FOLDS):
        odds[fold == k] = features[fold == k] @ logistic(features[fold != k], wrong[fold != k])
    return {
        "coefficients": np.round(logistic(features, wrong), 4).tolist(),
        "bound": round(float(np.quantile(odds[error < GOOD_MM], 1 - FALSE_ALARMS)), 3),
        "widening": [round(float(number), 4) for number in widening(odds, radii)],
    }


def logistic(features: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Return the coefficients of the log odds (Newton's method; the constant feature is not shrunk)."""
    found, ridge = np.zeros(features.shape[1]), RIDGE * np.diag([0.0] + [1.0] * (features.shape[1] - 1))
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-features @ found))
        curvature = features.T @ (features * (chance * (1 - chance))[:, None]) + ridge
        found = found + np.linalg.solve(curvature, features.T @ (wrong - chance) - ridge @ found)
    return found


def widening(odds: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return start and slope of the log factor (at least 0) that `HELD` of errors keep to."""
    logs = np.log(np.maximum(radii, 1e-6))

    def loss(line: np.ndarray) -> float:
        beyond = logs - np.maximum(line[0] + line[1] * odds, 0.0)[:, None]
        return float(np.where(beyond > 0, HELD * beyond, (HELD - 1) * beyond).mean())

    starts = ((0.5, 0.3), (0.8, 0.2), (0.3, 0.4))
    return min((minimize(loss, s, method="Nelder-Mead") for s in starts), key=lambda found: found.fun).x


if __name__ == "__main__":
    main()
