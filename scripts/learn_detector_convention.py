"""Learn where MediaPipe puts its landmarks on the open hand, and how it errs, from renders alone.

    python scripts/learn_detector_convention.py --count 1500

Renders hands of known joints, runs the detector, and estimates one offset a joint in its bone's rest
frame (robust least squares over all views) and robust standard deviations of 2D, depth and 3D. Writes
`src/amvur/detect/assets/mediapipe.json`. No photograph and no label is read. Three constants below carry
what renders cannot say or what fits to other renders said: see `docs/method.md`.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rendered_hands import Observation, observe, project

from amvur.geometry.procrustes import align_similarity
from amvur.hand.joints import JOINT_BONES

# On renders the network draws every finger shorter than it is; on photographs less so (outlines of
# fingertips in unlabelled photographs lie between the full offset and none): trust both equally.
OFFSET_SHARE = 0.5
# Its depth is about twice as good on photographs as on renders in random poses: 12 % of the hand's size.
PHOTO_DEPTH_SHARE = 0.6
# Its 3D landmarks err together, which independent terms cannot say. Of 1 to 1000 times the measured
# scale, 15 gave the best fits on renders (7.5 mm; 9.2 at 1, 7.7 at 1000). Photographs, which the detector
# learned from, want less: every second labelled one was 7.81 mm off at 15, 7.64 at 7.5, 7.57 at 3.75 (with
# 2D joints 0.1 px worse); the others, which took no part in the choice, 7.46, 7.37 and 7.43.
LANDMARKS_3D_WIDENING = 7.0

OUTPUT = Path(__file__).parents[1] / "src/amvur/detect/assets/mediapipe.json"


@dataclass(frozen=True)
class Study:
    """Truth and detections of N renders: bones' rotations, joints, camera, observed landmarks."""

    rotation: np.ndarray  # (N,21,3,3) of the bone that carries each joint
    joints: np.ndarray  # (N,21,3) m
    intrinsics: np.ndarray  # (N,3,3)
    observed_px: np.ndarray  # (N,21,2)
    depth_px: np.ndarray  # (N,21)
    landmarks_3d: np.ndarray  # (N,21,3)
    size_px: np.ndarray  # (N,)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1_000_000, help="number of the first render")
    args = parser.parse_args()
    seeds = range(args.seed, args.seed + args.count)
    study = collect(observe(seeds))
    offsets = fit_offsets(study)
    result = estimate_noise(study, offsets)
    result["offsets_m"] = np.round(OFFSET_SHARE * offsets, 5).tolist()
    result["source"] = (
        f"scripts/learn_detector_convention.py --count {args.count} --seed {args.seed}: mediapipe 0.10.21 on "
        f"renders of the open hand; {len(study.joints)} of {args.count} were found and used."
    )
    temporary = OUTPUT.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    os.replace(temporary, OUTPUT)
    print(json.dumps({k: result[k] for k in ("source", "depth_gain")}, indent=1))
    print("offsets mm\n", np.round(1000 * offsets, 1))
    print("2D % of size", np.round(100 * np.array(result["joints_2d_scale"]), 1))
    print("depth % of size", np.round(100 * np.array(result["depth_scale"]), 1))
    print("3D mm", np.round(1000 * np.array(result["landmarks_3d_scale_m"]), 1))


def collect(observations: list[Observation]) -> Study:
    """Stack what the estimates need of every observation."""
    rows = []
    for observation in observations:
        truth, hand = observation.rendered, observation.detection
        observed = np.median(hand.joints_2d_px, 0)
        rows.append(
            (
                truth.mesh.bone_rotation[0, list(JOINT_BONES)].numpy(),
                truth.mesh.joints[0].numpy(),
                truth.intrinsics,
                observed,
                np.median(hand.depth_px, 0),
                np.median(hand.landmarks_3d_m, 0),
                np.array(np.ptp(observed, axis=0).max()),
            )
        )
    return Study(*(np.stack(column) for column in zip(*rows, strict=True)))


def fit_offsets(study: Study, steps: int = 12) -> np.ndarray:
    """Return (21,3) offsets (m) that bring projected joints onto observed landmarks (Cauchy weights).

    A shrinkage of 10 mm keeps directions that no view shows near zero.
    """
    offsets = np.zeros((21, 3))
    focal = study.intrinsics[:, 0, 0]
    for _ in range(steps):
        points = study.joints + (study.rotation @ offsets[..., None])[..., 0]
        residual = (study.observed_px - project(points, study.intrinsics)) / study.size_px[:, None, None]
        scale = 1.4826 * np.median(np.abs(residual), axis=(0, 2))
        weight = 1 / (1 + (residual**2).sum(-1) / (2 * scale) ** 2) / scale**2
        z = points[..., 2]
        pinhole = np.zeros((*z.shape, 2, 3))
        pinhole[..., 0, 0] = pinhole[..., 1, 1] = focal[:, None] / z
        pinhole[..., 0, 2] = -focal[:, None] * points[..., 0] / z**2
        pinhole[..., 1, 2] = -focal[:, None] * points[..., 1] / z**2
        jacobian = pinhole @ study.rotation / study.size_px[:, None, None, None]
        normal = np.einsum("nk,nkia,nkib->kab", weight, jacobian, jacobian)
        right = np.einsum("nk,nkia,nki->ka", weight, jacobian, residual)
        shrink = np.eye(3) / 0.01**2
        offsets = offsets + np.linalg.solve(normal + shrink, (right - offsets / 0.01**2)[..., None])[..., 0]
    return offsets


def estimate_noise(study: Study, offsets: np.ndarray) -> dict[str, object]:
    """Return robust scales of 2D (of size), depth (of size, after its gain) and 3D (m) landmarks."""
    points = study.joints + (study.rotation @ offsets[..., None])[..., 0]
    size = study.size_px[:, None]
    residual = (study.observed_px - project(points, study.intrinsics)) / size[..., None]
    focal = study.intrinsics[:, 0, 0][:, None]
    true_depth = focal * (points[..., 2] - points[:, :1, 2]) / points[:, :1, 2] / size
    depth = study.depth_px / size
    gain = 1.0
    for _ in range(10):
        error = true_depth - gain * depth
        weight = 1 / (1 + (error / (1.4826 * np.median(np.abs(error)))) ** 2)
        gain = float((weight * depth * true_depth).sum() / (weight * depth**2).sum())
    marks = align_similarity(torch.as_tensor(study.landmarks_3d), torch.as_tensor(points)).numpy()
    return {
        "joints_2d_scale": np.round(_robust_scale(residual, (0, 2)), 5).tolist(),
        "depth_scale": np.round(PHOTO_DEPTH_SHARE * _robust_scale(true_depth - gain * depth, 0), 5).tolist(),
        "depth_gain": round(gain, 4),
        "landmarks_3d_scale_m": np.round(
            LANDMARKS_3D_WIDENING * _robust_scale(marks - points, (0, 2)), 5
        ).tolist(),
    }


def _robust_scale(residual: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    return np.maximum(1.4826 * np.median(np.abs(residual), axis=axis), 1e-3)


if __name__ == "__main__":
    main()
