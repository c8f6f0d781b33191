"""Eight pictures learned by heart, in both schemes: whether network, objective and training hang together.

    python benchmarks/overfit.py [--seconds 120] [--preset tiny]

Trains a preset's network (every picture in every step, no augmentation) on eight synthetic hands, supervised
and weakly supervised, for at most so many seconds each, and prints one JSON object: errors of vertices and
joints in mm without alignment (wrist at 0), of 2D joints in px of 224, and how much of the hands' angles lie
within the range of motion.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

import torch

from amvur.data.synthetic.generator import SyntheticHands
from amvur.geometry.procrustes import align_similarity
from amvur.geometry.rotations import matrix_to_axis_angle
from amvur.hand.prior import make_prior
from amvur.models.network import HandNetwork, Prediction, make_network
from amvur.training.augment import as_pixels
from amvur.training.objective import Objective
from amvur.training.optimization import make_optimizer
from amvur.training.presets import PRESETS
from amvur.training.targets import Targets, as_right_hands, targets_of

PX = 224
TOLERANCE_RAD = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=110.0)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result = {"preset": args.preset, "threads": args.threads}
    for scheme in ("supervised", "weak"):
        result[scheme] = learn(args, scheme)
    print(json.dumps(result, indent=1))


def learn(args: argparse.Namespace, scheme: str) -> dict[str, float]:
    torch.manual_seed(0)
    preset = PRESETS[args.preset]
    network = make_network(replace(preset.network, amvur_training_vertices=215)).train()
    images = as_right_hands(SyntheticHands(5, size_px=preset.network.image_px).batch(range(8)))
    pixels, truth = as_pixels(images.images), targets_of(images, network.hand)
    targets = truth.only_2d() if scheme == "weak" else truth
    # labels of renders are exact: to about a pixel, not to the two of a detector
    objective = Objective(replace(PRESETS[scheme].objective, pixel_std=1 / (PX / 2)), network)
    # two groups of pictures would be two batch norms' statistics: all eight make every step
    optimizer = make_optimizer(network, replace(preset.training, learning_rate=args.rate, weight_decay=0.0))
    generator = torch.Generator().manual_seed(0)
    began, step, done = time.monotonic(), 0, 0.0
    while done < 1:
        done = (time.monotonic() - began) / args.seconds
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1.0, (step + 1) / 50) * max(1.0 - done, 0.01)
        loss, _ = objective(network(pixels), targets, step, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
    seconds = time.monotonic() - began
    network.config = replace(network.config, amvur_training_vertices=0)
    # batch statistics, as in training: running means of so few steps tell nothing
    with torch.no_grad():
        return {"steps": step, "seconds": round(seconds, 1), **scores(network, network(pixels), truth)}


def scores(network: HandNetwork, found: Prediction, truth: Targets) -> dict[str, float]:
    def mean_mm(a: torch.Tensor, b: torch.Tensor) -> float:
        return round(1000 * float((a - b).norm(dim=-1).mean()), 2)

    prior = make_prior(network.hand)
    angles = prior.angles(matrix_to_axis_angle(found.hand.rotations[:, 1:]))
    within = (angles > prior.lower - TOLERANCE_RAD) & (angles < prior.upper + TOLERANCE_RAD)
    seen = truth.joint_confidence > 0
    pixels = (found.joints_2d.loc - truth.joints_2d).norm(dim=-1)[seen] * PX / 2
    return {
        "mpvpe_mm": mean_mm(found.vertices.loc, truth.vertices),
        "mpjpe_mm": mean_mm(found.joints.loc, truth.joints),
        "pa_mpjpe_mm": mean_mm(align_similarity(found.joints.loc, truth.joints), truth.joints),
        "joints_2d_px": round(float(pixels.mean()), 2),
        "angles_within_range": round(float(within.double().mean()), 3),
    }


if __name__ == "__main__":
    main()
