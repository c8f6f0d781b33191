"""Fit the few numbers that turn the posterior's curvature into honest standard deviations, on renders.

    python scripts/calibrate_uncertainty.py --count 900

Renders hands of known joints, reconstructs them as photographs would be (detector, assumed camera), and
fits `amvur.inference.calibration.Calibration` to the true errors after alignment: maximum likelihood for
the inflation and the floors, then one factor so that 90 % of errors lie within 2.50 standard deviations.
Two thirds of the renders are used; coverage is reported on the others. Writes
`src/amvur/inference/assets/calibration.json`. No photograph and no label is read.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from rendered_hands import SIZE_PX, Observation, observe
from scipy.optimize import brentq
from scipy.stats import spearmanr
from torch import Tensor

from amvur.geometry.procrustes import align_similarity
from amvur.inference.calibration import Calibration
from amvur.inference.camera import make_camera
from amvur.inference.evidence import merge_runs
from amvur.inference.posterior import STD_SAMPLES, aligned_std, draw_meshes
from amvur.inference.reconstructor import Reconstructor

OUTPUT = Path(__file__).parents[1] / "src/amvur/inference/assets/calibration.json"
RADIUS_90 = 2.5003
LOG_INFLATIONS = np.arange(0.0, 3.01, 0.5)
# A joint is not the same point to every annotator or body: published conventions put joints several
# millimetres apart along a finger (docs/method.md). No render can show that; it is added to the floor.
CONVENTION_STD_M = 0.002


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=900)
    parser.add_argument("--seed", type=int, default=3_000_000, help="number of the first render")
    args = parser.parse_args()
    observations = observe(range(args.seed, args.seed + args.count))
    error, features, table = measure(observations)
    held_out = torch.arange(len(error)) % 3 == 0
    calibration = fit_calibration(error[~held_out], features[~held_out], table[~held_out])
    stated = state_std(calibration, features[held_out], table[held_out])
    report = summarise(error[held_out], stated)
    write(calibration, args.count, args.seed, len(error), report)
    print(json.dumps(report, indent=1))


def measure(observations: list[Observation]) -> tuple[Tensor, Tensor, Tensor]:
    """Return errors (N,21) m after alignment, features (N,4) and standard deviations (N,21,K).

    The standard deviations are those of the joints at the inflations exp(`LOG_INFLATIONS`), no floor.
    """
    reconstructor = Reconstructor(detector="none")
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for observation in observations:
        detection, truth = observation.detection, observation.rendered.mesh.joints[0]
        camera = make_camera(SIZE_PX, SIZE_PX, hand_sizes_px=[merge_runs(detection).size_px])
        stds = []
        for log_inflation in LOG_INFLATIONS:
            reconstructor.calibration = Calibration(np.array([log_inflation, 0, 0, 0]), np.zeros(21), "none")
            hand = reconstructor.fit([detection], camera, SIZE_PX)[0]
            state = hand.posterior.state
            like = hand.posterior.model.v_template
            mesh = hand.posterior.model.from_matrices(
                state.rotations.to(like), state.betas.to(like), state.transl.to(like)
            )
            drawn = draw_meshes(hand.posterior, STD_SAMPLES, seed=0)
            stds.append(torch.as_tensor(aligned_std(drawn.joints, mesh.joints[0])).double())
        error = (align_similarity(mesh.joints[0].double(), truth) - truth).norm(dim=-1)
        rows.append((error, torch.as_tensor(hand.features), torch.stack(stds, -1)))
    errors, features, tables = (torch.stack(column) for column in zip(*rows, strict=True))
    return errors, features, tables


def fit_calibration(error: Tensor, features: Tensor, table: Tensor) -> Calibration:
    """Maximise the likelihood of isotropic errors, then widen or narrow until 90 % are covered."""
    coefficients = torch.tensor([0.5, 0.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    log_floor = torch.full((21,), np.log(0.004), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([coefficients, log_floor], lr=0.03)
    for _ in range(600):
        optimizer.zero_grad()
        std = torch.hypot(_interpolate(table, features @ coefficients), log_floor.exp())
        # Student-t errors with 4 degrees of freedom: the few lost hands must not widen all others.
        loss = 3.5 * torch.log1p(error.square() / (4 * std.square())) + 3 * std.log()
        (loss.mean() + 1e-3 * coefficients[1:].square().sum()).backward()
        optimizer.step()
    shape, floor = coefficients.detach().numpy(), log_floor.detach().exp().numpy()

    def scaled(log_factor: float) -> Calibration:
        widened = shape + np.array([log_factor, 0, 0, 0])
        return Calibration(widened, np.hypot(floor * np.exp(log_factor), CONVENTION_STD_M), "fitted")

    def excess(log_factor: float) -> float:
        covered = error <= RADIUS_90 * state_std(scaled(log_factor), features, table)
        return float(covered.double().mean()) - 0.9

    return scaled(brentq(excess, -2.0, 2.0, xtol=1e-3))


def state_std(calibration: Calibration, features: Tensor, table: Tensor) -> Tensor:
    """Return what would be stated: (N,21) m."""
    log_inflation = torch.as_tensor(np.log(calibration.inflation(features.numpy())))
    return torch.hypot(_interpolate(table, log_inflation), torch.as_tensor(calibration.floor_m))


def _interpolate(table: Tensor, log_inflation: Tensor) -> Tensor:
    """Look standard deviations up between the inflations they were measured at (linear)."""
    step = LOG_INFLATIONS[1] - LOG_INFLATIONS[0]
    place = (log_inflation / step).clamp(0, len(LOG_INFLATIONS) - 1.001)
    low = place.detach().floor().long()
    share = (place - low)[:, None]
    index = low[:, None, None].expand(-1, table.shape[1], 1)
    return ((1 - share) * table.gather(2, index)[..., 0]) + share * table.gather(2, index + 1)[..., 0]


def summarise(error: Tensor, stated: Tensor) -> dict[str, float]:
    """Return coverage and rank correlations of stated and true errors on held-out renders."""
    return {
        "renders": len(error),
        "mean_error_mm": round(1000 * float(error.mean()), 2),
        "mean_stated_std_mm": round(1000 * float(stated.mean()), 2),
        "coverage_90": round(float((error <= RADIUS_90 * stated).double().mean()), 3),
        "rank_correlation_joints": round(float(spearmanr(error.flatten(), stated.flatten())[0]), 3),
        "rank_correlation_hands": round(float(spearmanr(error.mean(1), stated.mean(1))[0]), 3),
    }


def write(calibration: Calibration, count: int, seed: int, used: int, report: dict[str, float]) -> None:
    values = {
        "coefficients": np.round(calibration.coefficients, 4).tolist(),
        "floor_m": np.round(calibration.floor_m, 5).tolist(),
        "source": f"scripts/calibrate_uncertainty.py --count {count} --seed {seed}: {used} renders found.",
        "held_out": report,
    }
    temporary = OUTPUT.with_suffix(".tmp")
    temporary.write_text(json.dumps(values, indent=1) + "\n")
    os.replace(temporary, OUTPUT)


if __name__ == "__main__":
    main()
