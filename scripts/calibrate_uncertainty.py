"""Fit the few numbers that turn the posterior's curvature into honest standard deviations, on renders.

    python scripts/calibrate_uncertainty.py --count 900

Renders hands of known joints, reconstructs them as photographs would be (detector, assumed camera), and
fits `amvur.inference.calibration.Calibration` to the true errors after alignment: maximum likelihood for
the inflation and the floors, then one factor so that 90 % of errors lie within 2.50 standard deviations.
Two thirds of the renders are used; coverage is reported on the others. Writes
`src/amvur/inference/assets/calibration.json`. No photograph and no label is read.

    python scripts/calibrate_uncertainty.py --checkpoint DIR --count 900

calibrates the estimate from detector and network together on as many such renders and synthetic pictures
(harder: with objects, and of a seed that no training uses), and writes "network" in the section "calibration"
of the checkpoint's `config.json`. `--scale-3d` and `--scale-2d` (inf: none of the network's 2D) set its
section "fusion" first. With `--box-only` the network gets boxes in place of detections, on the same two kinds
of pictures: boxes of the true joints, sides 10 % longer, moved and scaled by a few percent. That is for hands
without detected joints: "box" in that section.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rendered_hands import framed, observe, project
from scipy.optimize import brentq
from scipy.stats import spearmanr
from torch import Tensor

from amvur.data.synthetic.generator import SyntheticHands
from amvur.geometry.procrustes import align_similarity
from amvur.inference.assemble import UNSURE_STD_M
from amvur.inference.calibration import FEATURES, Calibration
from amvur.inference.estimator.posterior import STD_SAMPLES, aligned_std
from amvur.inference.frames import HandFrame, lies_on
from amvur.inference.network.view import FusionSettings, NetworkView
from amvur.inference.reconstructor import Reconstructor
from amvur.structures import HandDetection, RgbImage, Side

OUTPUT = Path(__file__).parents[1] / "src/amvur/inference/assets/calibration.json"
RADIUS_90 = 2.5003
KINDS = ("network", "box")
Finder = Callable[[Reconstructor, RgbImage, Side, np.ndarray, np.random.Generator], list[HandDetection]]
SYNTHETIC_PX = 256
BOX_ERROR = 0.03
"""Spread of the edges of drawn boxes, of the hand's size."""
WRONG_M = 0.015
"""Joints off by more than this on average: a wrong hand."""
CONSTANT = np.eye(len(FEATURES))[0]
"""The coefficients of the constant feature alone."""
LOG_INFLATIONS = np.arange(0.0, 3.01, 0.5)
# A joint is not the same point to every annotator or body: published conventions put joints several
# millimetres apart along a finger (docs/method.md). No render can show that; it is added to the floor.
CONVENTION_STD_M = 0.002


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=900)
    parser.add_argument("--seed", type=int, default=3_000_000, help="number of the first render")
    parser.add_argument("--checkpoint", type=Path, help="calibrate with this network")
    parser.add_argument("--scale-3d", type=float, help="set the checkpoint's network_scale_3d first")
    parser.add_argument("--scale-2d", type=float, help="set the checkpoint's network_scale_2d first")
    parser.add_argument("--box-only", action="store_true", help="with --checkpoint: boxes, no detector")
    args = parser.parse_args()
    if args.box_only and args.checkpoint is None:
        parser.error("--box-only needs --checkpoint: without a network a box is all that is known")
    if args.checkpoint is None:
        reconstructor = Reconstructor(detector="none", checkpoint="none")
    else:
        detector = "none" if args.box_only else "mediapipe"
        reconstructor = Reconstructor(detector=detector, checkpoint=str(args.checkpoint))
        fusion = choose_scales(reconstructor, args.scale_3d, args.scale_2d)
    find = boxes_of if args.box_only else detections_of
    cases = rendered_cases(reconstructor, range(args.seed, args.seed + args.count), args.box_only)
    if args.checkpoint is not None:
        cases += synthetic_cases(reconstructor, args.seed, args.count, find)
    error, features, table = measure(reconstructor, cases)
    held_out = torch.arange(len(error)) % 3 == 0
    calibration = fit_calibration(error[~held_out], features[~held_out], table[~held_out])
    stated = state_std(calibration, features[held_out], table[held_out])
    report = summarise(error[held_out], stated)
    if args.checkpoint is None:
        write(OUTPUT, section(calibration, args.count, args.seed, len(error), report))
    else:
        path = args.checkpoint / "config.json"
        measured = section(calibration, args.count, args.seed, len(error), report)
        config = json.loads(path.read_text())
        kept = {name: value for name, value in config.get("calibration", {}).items() if name in KINDS}
        kept["box" if args.box_only else "network"] = measured
        write(
            path,
            config
            | {"fusion": fusion, "estimator": asdict(reconstructor.estimator.config), "calibration": kept},
        )
    print(json.dumps(report, indent=1))


@dataclass(frozen=True)
class Case:
    """A hand that was found, and where its joints (21,3; m) truly are."""

    frame: HandFrame
    joints: Tensor
    view: NetworkView | None = None
    labelled: bool = False


def choose_scales(reconstructor: Reconstructor, scale_3d: float | None, scale_2d: float | None) -> dict:
    """Set the network's scales where they are given; return all of the section "fusion"."""
    trained = reconstructor.trained
    fusion = fusion_with(trained.fusion, scale_3d, scale_2d)
    if fusion != trained.fusion:  # whoever weighs a network beside a detector wants it there
        fusion = replace(fusion, beside_detector=True)
    reconstructor.trained = replace(trained, fusion=fusion)
    return asdict(fusion)


def fusion_with(fusion: FusionSettings, scale_3d: float | None, scale_2d: float | None) -> FusionSettings:
    """Return settings with other scales; an infinite one leaves the picture's plane to the detector."""
    if scale_3d is not None:
        fusion = replace(fusion, network_scale_3d=scale_3d)
    if scale_2d is None:
        return fusion
    if np.isinf(scale_2d):
        return replace(fusion, joints_2d_beside_detector=False)
    return replace(fusion, network_scale_2d=scale_2d, joints_2d_beside_detector=True)


def rendered_cases(reconstructor: Reconstructor, seeds: range, boxes: bool = False) -> list[Case]:
    """Find rendered hands as photographs' hands are found, and let the network, if any, look at them.

    With `boxes` the detector's word is dropped, and a box drawn about the joints.
    """
    trained, cases = reconstructor.trained, []
    generator = np.random.default_rng(seeds.start)
    for o in observe(seeds, pictures=True):
        image, joints, found = o.rendered.image, o.rendered.mesh.joints[0], [o.detection]
        if boxes:
            places = project(joints.numpy(), o.rendered.intrinsics)
            found = boxes_of(reconstructor, image, "right", places, generator)
        for detection in found:
            frame = framed(image, detection)
            view = None if trained is None else trained.look([frame])[0]
            cases.append(Case(frame, joints, view))
    return cases


def synthetic_cases(
    reconstructor: Reconstructor, seed: int, count: int, find: Finder, batch: int = 16
) -> list[Case]:
    """Find synthetic hands as photographs' hands are found, and let the network look at them."""
    cases = []
    hands = SyntheticHands(seed, size_px=SYNTHETIC_PX)
    generator = np.random.default_rng(seed)
    for pictures in hands.batches(count=count, batch_size=batch):
        for i in range(len(pictures)):
            image, truth = pictures.images[i].numpy(), pictures.joints[i].double()
            side = "left" if pictures.is_left[i] else "right"
            for detection in find(reconstructor, image, side, pictures.joints_2d[i].numpy(), generator):
                frame = framed(image, detection)
                (view,) = reconstructor.trained.look([frame])
                cases.append(Case(frame, truth, view))
    return cases


def detections_of(
    reconstructor: Reconstructor,
    image: RgbImage,
    side: Side,
    joints_2d: np.ndarray,
    generator: np.random.Generator,
) -> list[HandDetection]:
    """Return what the detector finds of the hand with these joints (21,2; px), if it does."""
    found = reconstructor.detector.detect(image)
    return [d for d in found if d.side == side and lies_on(d, joints_2d)][:1]


def boxes_of(
    reconstructor: Reconstructor,
    image: RgbImage,
    side: Side,
    joints_2d: np.ndarray,
    generator: np.random.Generator,
) -> list[HandDetection]:
    """Return a box as a user draws it: near the joints, in the picture."""
    low, high = joints_2d.min(0), joints_2d.max(0)
    size = (high - low).max()
    low, high = (end + BOX_ERROR * size * generator.standard_normal(2) for end in (low, high))
    box = np.concatenate([low - 0.05 * size, high + 0.05 * size]).astype(np.float64)
    inside = np.clip(box, 0, SYNTHETIC_PX)
    if (inside[2:] - inside[:2]).min() < 0.3 * (box[2:] - box[:2]).min():
        return []
    return reconstructor.detector.detect(image, boxes=box[None], side=side)


def measure(reconstructor: Reconstructor, cases: list[Case]) -> tuple[Tensor, Tensor, Tensor]:
    """Return errors (N,21) m after alignment, features (N,7) and standard deviations (N,21,K).

    The standard deviations are those of the joints at the inflations exp(`LOG_INFLATIONS`), no floor.
    """
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for case in cases:
        # simple renders show outlines more clearly than photographs do: alone, they are not to show them
        frame = replace(case.frame, image=None) if reconstructor.trained is None else case.frame
        (hand,) = reconstructor.fit([frame], [case.view])
        mesh = hand.posterior.mesh()
        stds = []
        for inflation in np.exp(LOG_INFLATIONS):
            drawn = hand.inflated(inflation).draw(STD_SAMPLES)
            stds.append(torch.as_tensor(aligned_std(drawn.joints, mesh.joints[0])).double())
        joints = torch.as_tensor(mesh.joints[0] * frame.flip)
        error = (align_similarity(joints, case.joints) - case.joints).norm(dim=-1)
        rows.append((error, torch.as_tensor(hand.features), torch.stack(stds, -1)))
    errors, features, tables = (torch.stack(column) for column in zip(*rows, strict=True))
    return errors, features, tables


def fit_calibration(error: Tensor, features: Tensor, table: Tensor) -> Calibration:
    """Maximise the likelihood of isotropic errors, then widen or narrow until 90 % are covered."""
    coefficients = torch.tensor(0.5 * CONSTANT, requires_grad=True)
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
        return Calibration(
            shape + log_factor * CONSTANT, np.hypot(floor * np.exp(log_factor), CONVENTION_STD_M), "fitted"
        )

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


def summarise(error: Tensor, stated: Tensor) -> dict[str, float | None]:
    """Return coverage and rank correlations of stated and true errors on held-out renders.

    And what a warning is worth: the share of hands that get one (`UNSURE_STD_M`), of wrong ones among these,
    of wrong ones among all, and of wrong ones that get it.
    """
    unsure, wrong = stated.mean(1) > UNSURE_STD_M, error.mean(1) > WRONG_M
    return {
        "renders": len(error),
        "mean_error_mm": round(1000 * float(error.mean()), 2),
        "mean_stated_std_mm": round(1000 * float(stated.mean()), 2),
        "coverage_90": round(float((error <= RADIUS_90 * stated).double().mean()), 3),
        "rank_correlation_joints": round(float(spearmanr(error.flatten(), stated.flatten())[0]), 3),
        "rank_correlation_hands": round(float(spearmanr(error.mean(1), stated.mean(1))[0]), 3),
        "unsure": _share(unsure),
        "wrong_of_unsure": _share(wrong[unsure]),
        "wrong": _share(wrong),
        "unsure_of_wrong": _share(unsure[wrong]),
    }


def _share(chosen: Tensor) -> float | None:
    """Return the share of what is true; None of nothing, for JSON knows no NaN."""
    return round(float(chosen.double().mean()), 3) if len(chosen) else None


def section(
    calibration: Calibration, count: int, seed: int, used: int, report: dict[str, float | None]
) -> dict:
    """Return a calibration as it is stored."""
    return {
        "coefficients": np.round(calibration.coefficients, 4).tolist(),
        "floor_m": np.round(calibration.floor_m, 5).tolist(),
        "source": f"scripts/calibrate_uncertainty.py --count {count} --seed {seed}: {used} renders found.",
        "held_out": report,
    }


def write(path: Path, values: dict) -> None:
    """Replace a JSON file at once."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(values, indent=2) + "\n")
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
