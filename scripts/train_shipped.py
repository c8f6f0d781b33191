"""The weights that ship: heads on frozen hand features, trained on synthetic hands with two CPU cores.

    python scripts/train_shipped.py render --count 40000      # pictures with labels, by several processes
    python scripts/train_shipped.py features                  # what the frozen backbone sees in each
    python scripts/train_shipped.py train --output runs/shipped

Every stage may be stopped and started again, and `render` and `features` may run in several processes at
once (`--part I --parts N`). The features of a picture take 20 ms, so they are computed once for each of a
few views of it, turned upright like the crops that the network gets for a detected hand; the heads then
learn from stored features at hundreds of hands a second.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import asdict, fields, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from amvur.checkpoint import load_checkpoint, save_checkpoint
from amvur.crop import CropTransform
from amvur.data.samples import HandBatch
from amvur.data.synthetic.generator import SyntheticHands
from amvur.data.synthetic.labels import mirror_some
from amvur.detect.palms import crop_of_landmarks
from amvur.geometry.procrustes import align_similarity
from amvur.models.features import Features
from amvur.models.landmark_backbone import LANDMARK_BACKBONE, LandmarkBackbone
from amvur.models.network import HandNetwork, NetworkConfig, Prediction, make_network
from amvur.models.prior_net import PriorNetConfig
from amvur.training.augment import AugmentConfig, add_noise, as_pixels, erase, jitter_color, move
from amvur.training.objective import Objective
from amvur.training.optimization import AveragedNetwork, learning_rate, make_optimizer
from amvur.training.presets import PRESETS
from amvur.training.targets import LabelledImages, as_right_hands, targets_of

NETWORK = NetworkConfig(
    backbone=LANDMARK_BACKBONE,
    feature_width=512,
    amvur_hidden=128,
    amvur_base="prior",
    prior_net=PriorNetConfig(hidden=1024),
    crop="upright",
)
SEED = 11
SHARD = 512
COLORS = AugmentConfig(erase_probability=0.25, erase_side=(0.05, 0.25))
NAMES = [f.name for f in fields(LabelledImages)]
ROLL_DEG, ANY_ROLL, SCALE, SHIFT = 15.0, 0.2, 0.12, 0.05
"""Spread of the crops: most are upright within 15 degrees (one sigma), a fifth have any roll."""


def render(args: argparse.Namespace) -> None:
    """Write shards of pictures of right hands."""
    source = SyntheticHands(SEED, "open", 224)
    for shard in range(args.part, math.ceil(args.count / SHARD), args.parts):
        path = args.work / "pool" / f"{shard:05d}.safetensors"
        if path.exists():
            continue
        rows = [stored_labels(b) for b in source.stream(shard * SHARD, SHARD, 16)]
        write({n: torch.cat([row[n] for row in rows]) for n in rows[0]}, path)


def stored_labels(batch: HandBatch) -> dict[str, Tensor]:
    """Return a batch as right hands, with what the texture head learns from packed in bytes and bits."""
    right = mirror_some(batch, batch.is_left)
    labels = as_right_hands(batch)
    stored = {name: getattr(labels, name) for name in NAMES}
    stored["vertex_colors"] = (right.vertex_colors.clamp(0, 1) * 255).round().to(torch.uint8)
    for name in ("visible_vertices", "unoccluded_vertices", "mask"):
        bits = np.packbits(getattr(right, name).flatten(1).numpy(), axis=1)
        stored[name] = torch.from_numpy(bits)
    return stored


def features(args: argparse.Namespace) -> None:
    """Write what the frozen backbone sees in `views` views of every shard."""
    hand = make_network(replace(NETWORK, setting="prior")).hand
    trunk = LandmarkBackbone().trunk
    for shard in sorted((args.work / "pool").glob("*.safetensors"))[args.part :: args.parts]:
        for view in range(args.views):
            path = args.work / "features" / f"{shard.stem}_{view}.safetensors"
            if path.exists():
                continue
            generator = torch.Generator().manual_seed(int(shard.stem) * 64 + view)
            stored = load_file(shard)
            images = LabelledImages(**{name: stored[name] for name in NAMES})
            found: dict[str, list[Tensor]] = {}
            for first in range(0, len(images), 32):
                seen = view_of(images[first : first + 32], hand, generator)
                with torch.no_grad():
                    pooled, neck, _ = trunk(as_pixels(seen.images))
                kept = {n: getattr(seen, n) for n in NAMES if n != "images"}
                kept |= {"pooled": pooled.half(), "neck": neck.half()}
                for name, value in kept.items():
                    found.setdefault(name, []).append(value)
            write({n: torch.cat(v) for n, v in found.items()}, path)


def view_of(images: LabelledImages, hand: object, generator: torch.Generator) -> LabelledImages:
    """Turn and crop like a detector, with its errors, and change colors."""
    matrices = []
    for joints in images.joints_2d.double().numpy():
        crop = crop_of_landmarks(joints)
        turn, grow, right, down = torch.randn(4, generator=generator).tolist()
        anyhow, roll = torch.rand(2, generator=generator).tolist()
        angle = (2 * roll - 1) * math.pi if anyhow < ANY_ROLL else math.radians(ROLL_DEG) * turn
        matrices.append(
            homogeneous(
                replace(
                    crop,
                    rotation_rad=crop.rotation_rad + angle,
                    side_px=max(crop.side_px, 20.0) * math.exp(SCALE * grow),
                    center_x_px=crop.center_x_px + SHIFT * right * crop.side_px,
                    center_y_px=crop.center_y_px + SHIFT * down * crop.side_px,
                )
            )
        )
    padding = ("reflection", "border", "zeros")[int(torch.randint(3, (), generator=generator))]
    moved = move(images, hand, torch.stack(matrices).float(), padding)  # type: ignore[arg-type]
    pixels = as_pixels(moved.images)
    for change in (jitter_color, add_noise, erase):
        pixels = change(pixels, generator, COLORS)
    changed = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return replace(moved, images=changed.contiguous())


def homogeneous(crop: CropTransform) -> Tensor:
    """Return the crop's map of pixels as a 3×3 matrix."""
    return torch.from_numpy(np.vstack([crop.matrix, [0.0, 0.0, 1.0]]))


def write(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(f".{os.getpid()}.tmp")
    save_file({n: t.contiguous() for n, t in tensors.items()}, staged)
    os.replace(staged, path)
    print(path.name, time.strftime("%H:%M:%S"), flush=True)


class Stored:
    """Features and labels in memory."""

    def __init__(self, paths: list[Path]) -> None:
        """Read shards."""
        shards = [load_file(path) for path in paths]
        self.tensors = {name: torch.cat([s[name] for s in shards]) for name in shards[0]}

    def __len__(self) -> int:
        """Return how many views there are."""
        return len(self.tensors["pooled"])

    def __getitem__(self, rows: Tensor | slice) -> tuple[Tensor, Tensor, LabelledImages]:
        """Return pooled features, maps and labels (with empty pictures of the right size)."""
        part = {name: tensor[rows] for name, tensor in self.tensors.items()}
        images = torch.empty(len(part["pooled"]), 224, 0, 3, dtype=torch.uint8)
        labels = LabelledImages(images=images, **{n: part[n] for n in NAMES if n != "images"})
        return part["pooled"].float(), part["neck"].float(), labels


def predict(network: HandNetwork, pooled: Tensor, neck: Tensor) -> Prediction:
    """Return the prediction from stored features."""
    backbone = network.backbone
    assert isinstance(backbone, LandmarkBackbone)
    return network.estimate(Features(backbone.combine(pooled, neck), neck))


@torch.no_grad()
def errors_mm(network: HandNetwork, data: Stored) -> tuple[float, float]:
    """Return PA-MPJPE of the network and of its prior-net in mm."""
    network.eval()
    found = []
    for first in range(0, len(data), 128):
        pooled, neck, labels = data[first : first + 128]
        truth = targets_of(labels, network.hand).joints
        seen = predict(network, pooled, neck)
        joints = torch.stack([seen.joints.loc, seen.prior_joints.loc])
        aligned = align_similarity(joints, truth.expand_as(joints))
        found.append(torch.linalg.vector_norm(aligned - truth, dim=-1).mean(-1))
    network.train()
    own, prior = 1000 * torch.cat(found, 1).mean(1)
    return float(own), float(prior)


def train(args: argparse.Namespace) -> None:
    """Train heads on stored features for a number of minutes and write a checkpoint."""
    torch.manual_seed(args.seed)
    preset = PRESETS["default"]
    network = make_network(replace(NETWORK, setting=args.setting))
    if args.start is not None:
        state = load_checkpoint(args.start).state
        missing = network.load_state_dict(state, strict=False)
        print("new:", len(missing.missing_keys), "unused:", len(missing.unexpected_keys))
    chosen = PRESETS[f"weak{'' if args.setting == 'final' else '-' + args.setting}"] if args.weak else preset
    objective = Objective(chosen.objective, network)
    config = replace(preset.training, learning_rate=args.rate, warmup_steps=200)
    optimizer = make_optimizer(network, config)
    average = AveragedNetwork(network, 0.998)
    paths = sorted((args.work / "features").glob("*.safetensors"))
    # the first two shards' pictures are held out, in every view
    data = Stored([p for p in paths if int(p.stem.split("_")[0]) > 1][: args.shards])
    held_out = Stored([p for p in paths if p.stem in ("00000_0", "00001_0")])
    print(f"{len(data)} views, {len(held_out)} held out", flush=True)
    generator = torch.Generator().manual_seed(args.seed)
    began, step, told = time.monotonic(), 0, 0.0
    while (done := (time.monotonic() - began) / (60 * args.minutes)) < 1 and step < args.steps:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step, max(done, step / args.steps))
        pooled, neck, labels = data[torch.randint(len(data), (args.batch,), generator=generator)]
        targets = targets_of(labels, network.hand)
        loss, _ = objective(
            predict(network, pooled, neck), targets.only_2d() if args.weak else targets, step, generator
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        optimizer.step()
        step += 1
        average.update(network, step)
        if time.monotonic() - told > 60:
            told = time.monotonic()
            own, prior = errors_mm(average.module, held_out)
            print(
                f"{step} {told - began:.0f} s loss {float(loss.detach()):.3f} "
                f"PA {own:.2f} (prior {prior:.2f}) mm",
                flush=True,
            )
    own, prior = errors_mm(average.module, held_out)
    print(f"end: {step} steps, PA-MPJPE {own:.2f} mm, of the prior-net {prior:.2f} mm", flush=True)
    card = {
        "data": f"SyntheticHands, seed {SEED}, {len(data)} views",
        "steps": step,
        "batch": args.batch,
        "minutes": args.minutes,
        "weak": args.weak,
        "held_out_pa_mpjpe_mm": own,
        "amvur": version("amvur"),
    }
    save_checkpoint(
        args.output,
        asdict(network.config),
        average.module.state_dict(),
        hand_model="open",
        hand_model_sha256=network.hand.arrays.sha256,
        card=card,
        dtype="float16",
        shard_bytes=15_000_000,
    )


def main() -> None:
    """Run a stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["render", "features", "train"])
    parser.add_argument("--work", type=Path, default=Path("runs/shipped-work"))
    parser.add_argument("--count", type=int, default=40_000)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/shipped"))
    parser.add_argument("--start", type=Path, help="checkpoint to begin with, of any setting")
    parser.add_argument("--setting", choices=["prior", "amvur", "final"], default="final")
    parser.add_argument("--weak", action="store_true", help="learn from 2D joints alone")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=1_000_000, help="use at most so many feature files")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    {"render": render, "features": features, "train": train}[args.stage](args)


if __name__ == "__main__":
    main()
