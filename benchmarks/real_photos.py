"""Accuracy on labelled photographs, with MediaPipe's own landmarks in the same run.

    python benchmarks/real_photos.py ../shared/real_photos/labelled [--checkpoint DIR] [--box-only]

`--checkpoint` adds a trained network's evidence; with `--box-only` it works without the detector, from the
box of the labelled joints (widened by 10 %) and the labelled side.
The folder holds pictures and `labels.json` (`samples[i] = {image, side, joints_3d, joints_2d}`, metres and
pixels). Prints one JSON object; MediaPipe takes part where `mediapipe==0.10.21`
is installed. Nothing in the package was fitted to these labels. Where joints lie is a
convention: `pa_mpjpe_mm_less_offsets` takes off each joint's mean offset in the palm's axes, known from the
other half of the photographs (every second one). It says how much of the error is that; it is no score.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from amvur import Reconstructor, load_image
from amvur.data.synthetic.penetration import make_contact_model, penetration_depth_mm
from amvur.geometry.procrustes import align_similarity
from amvur.hand.model import HandModel

RADIUS_90 = 2.5003  # of a 3D isotropic normal distribution, in standard deviations of an axis


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", default="none", help="none, default or a checkpoint's folder")
    parser.add_argument(
        "--box-only", action="store_true", help="no detector: the labelled joints' box and side"
    )
    args = parser.parse_args()
    samples = json.loads((args.folder / "labels.json").read_text())["samples"]
    detector = "none" if args.box_only else "mediapipe"
    reconstructor = Reconstructor(detector=detector, checkpoint=args.checkpoint)
    scores = {
        "checkpoint": args.checkpoint,
        "box_only": args.box_only,
        "amvur": score_amvur(reconstructor, args.folder, samples, args.box_only),
        "mediapipe": score_peer(args.folder, samples),
    }
    print(json.dumps(scores))


def score_amvur(
    reconstructor: Reconstructor, folder: Path, samples: list[dict], box_only: bool
) -> dict[str, float]:
    errors, offsets, pixels, stated, depth, missed, sides, seconds = [], [], [], [], [], 0, 0, []
    model = HandModel(reconstructor.arrays, torch.float64)
    contacts = make_contact_model(model)
    for sample in samples:
        image = load_image(folder / sample["image"]).pixels
        started = time.perf_counter()
        given = {"boxes": _box(sample)[None], "side": sample["side"]} if box_only else {}
        hands = reconstructor(image, **given)
        seconds.append(time.perf_counter() - started)
        if not hands:
            missed += 1
            continue
        hand = hands[0]
        sides += hand.side == sample["side"]
        apart, truth = _apart(hand.joints, sample["joints_3d"])
        errors.append(np.linalg.norm(apart, axis=-1))
        offsets.append(apart @ _palm_axes(truth))
        pixels.append(np.linalg.norm(hand.joints_2d - np.array(sample["joints_2d"]), axis=-1))
        stated.append(1000 * hand.joints_std)
        mesh = torch.from_numpy(hand.posterior.mesh().vertices)
        depth.append(float(penetration_depth_mm(mesh, model, contacts)[0]))
    error, std = np.stack(errors), np.stack(stated)
    return {
        "photos": len(samples),
        "missed": missed,
        "side_right": int(sides),
        "pa_mpjpe_mm": round(float(error.mean()), 2),
        "pa_mpjpe_mm_less_offsets": round(_less_offsets(np.stack(offsets)), 2),
        "worst_photo_mm": round(float(error.mean(1).max()), 1),
        "joint_distance_px": round(float(np.mean(pixels)), 2),
        "penetration_mm": round(float(np.mean(depth)), 2),
        "deepest_penetration_mm": round(max(depth), 1),
        "coverage_of_90_percent": round(float((error <= RADIUS_90 * std).mean()), 3),
        "rank_correlation_joints": round(float(spearmanr(error.ravel(), std.ravel())[0]), 3),
        "rank_correlation_photos": round(float(spearmanr(error.mean(1), std.mean(1))[0]), 3),
        "median_ms": round(1000 * float(np.median(seconds)), 1),
    }


def _box(sample: dict) -> np.ndarray:
    """The box (x0 y0 x1 y1, px) of the labelled joints, its sides widened by 10 % of the longer one."""
    joints = np.array(sample["joints_2d"], dtype=np.float64)
    low, high = joints.min(0), joints.max(0)
    margin = 0.05 * (high - low).max()
    return np.concatenate([low - margin, high + margin])


def score_peer(folder: Path, samples: list[dict]) -> dict[str, float]:
    """Score the 3D and 2D landmarks of `mediapipe.solutions.hands` as it is shipped, if it is installed."""
    warnings.filterwarnings("ignore")
    try:
        import mediapipe
    except ImportError:
        return {}

    network = mediapipe.solutions.hands.Hands(
        static_image_mode=True, max_num_hands=1, min_detection_confidence=0.3
    )
    errors, pixels, missed = [], [], 0
    for sample in samples:
        image = load_image(folder / sample["image"]).pixels
        found = network.process(image)
        if not found.multi_hand_landmarks:
            missed += 1
            continue
        size = np.array([image.shape[1], image.shape[0]])
        screen = np.array([[p.x, p.y] for p in found.multi_hand_landmarks[0].landmark]) * size
        world = np.array([[p.x, p.y, p.z] for p in found.multi_hand_world_landmarks[0].landmark])
        errors.append(np.linalg.norm(_apart(world, sample["joints_3d"])[0], axis=-1))
        pixels.append(np.linalg.norm(screen - np.array(sample["joints_2d"]), axis=-1))
    return {
        "missed": missed,
        "pa_mpjpe_mm": round(float(np.mean(errors)), 2),
        "joint_distance_px": round(float(np.mean(pixels)), 2),
    }


def _apart(predicted: np.ndarray, truth: list) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (21,3) in mm after the best scale, proper rotation and translation; and the true joints."""
    target = torch.tensor(truth, dtype=torch.float64)
    aligned = align_similarity(torch.as_tensor(np.asarray(predicted, dtype=np.float64)), target)
    return 1000 * (aligned - target).numpy(), target.numpy()


def _palm_axes(joints: np.ndarray) -> np.ndarray:
    """Columns: across the palm (little finger to index), along it (wrist to middle finger), out of it."""
    along = joints[9] - joints[0]
    along /= np.linalg.norm(along)
    across = joints[5] - joints[17]
    across = across - (across @ along) * along
    across /= np.linalg.norm(across)
    return np.stack([across, along, np.cross(across, along)], 1)


def _less_offsets(offsets: np.ndarray) -> float:
    """Mean distance once each half of the photographs gives up the mean offsets of the other half."""
    halves = offsets[::2], offsets[1::2]
    rest = [own - other.mean(0) for own, other in (halves, halves[::-1])]
    return float(np.linalg.norm(np.concatenate(rest), axis=-1).mean())


if __name__ == "__main__":
    main()
