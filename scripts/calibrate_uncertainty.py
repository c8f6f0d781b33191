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
# A joint is not the same point to every annotator or body: published conventions put joints several
# millimetres apart along a finger (docs/method.md). No render can show that; it is added to the floor.
CONVENTION_STD_M = 0.002


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=900)
    parser.add_argument("--seed", type=int, default=3_000_000, help="number of the first render")
    args = parser.parse_args()
    observations = observe(range(args.seed, args.seed + args.count))
    error, curvature_std, features = measure(observations)
    held_out = torch.arange(len(error)) % 3 == 0
    calibration = fit_calibration(error[~held_out], curvature_std[~held_out], features[~held_out])
    stated = state_std(calibration, curvature_std[held_out], features[held_out])
    report = summarise(error[held_out], stated)
    write(calibration, args.count, args.seed, len(error), report)
    print(json.dumps(report, indent=1))


def measure(observations: list[Observation]) -> tuple[Tensor, Tensor, Tensor]:
    """Return errors (N,21) m after alignment, the curvature's standard deviations (N,21), features (N,4)."""
    neutral = Calibration(np.zeros(4), np.zeros(21), "none")
    reconstructor = Reconstructor(detector="none")
    reconstructor.calibration = neutral
    errors, stds, features = [], [], []
    for observation in observations:
        detection, truth = observation.detection, observation.rendered.mesh.joints[0]
        camera = make_camera(SIZE_PX, SIZE_PX, hand_sizes_px=[merge_runs(detection).size_px])
        hand = reconstructor.fit([detection], camera, SIZE_PX)[0]
        state = hand.posterior.state
        mesh = hand.posterior.model.from_matrices(
            state.rotations.float(), state.betas.float(), state.transl.float()
        )
        joints = mesh.joints[0]
        errors.append((align_similarity(joints.double(), truth) - truth).norm(dim=-1))
        drawn = draw_meshes(hand.posterior, STD_SAMPLES, seed=0)
        stds.append(torch.as_tensor(aligned_std(drawn.joints, joints)).double())
        features.append(torch.as_tensor(hand.features))
    return torch.stack(errors), torch.stack(stds), torch.stack(features)


def fit_calibration(error: Tensor, curvature_std: Tensor, features: Tensor) -> Calibration:
    """Maximise the likelihood of isotropic normal errors, then match the 90 % quantile."""
    coefficients = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    log_floor = torch.full((21,), np.log(0.004), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([coefficients, log_floor], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        inflation = (features @ coefficients).clamp(0.0, 2.0).exp()
        variance = (inflation[:, None] * curvature_std).square() + log_floor.exp().square()
        # Student-t errors with 4 degrees of freedom: the few lost hands must not widen all others.
        loss = 3.5 * torch.log1p(error.square() / (4 * variance)) + 1.5 * variance.log()
        loss = loss.mean() + 1e-3 * coefficients[1:].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    calibration = Calibration(coefficients.detach().numpy(), log_floor.detach().exp().numpy(), "fitted")
    ratio = error / state_std(calibration, curvature_std, features)
    factor = float(torch.quantile(ratio.flatten(), 0.9)) / RADIUS_90
    scaled = calibration.coefficients + np.array([np.log(factor), 0, 0, 0])
    floor = np.hypot(calibration.floor_m * factor, CONVENTION_STD_M)
    return Calibration(scaled, floor, "fitted")


def state_std(calibration: Calibration, curvature_std: Tensor, features: Tensor) -> Tensor:
    """Return what would be stated: (N,21) m."""
    inflation = torch.as_tensor(calibration.inflation(features.numpy()))
    return torch.hypot(inflation[:, None] * curvature_std, torch.as_tensor(calibration.floor_m))


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
