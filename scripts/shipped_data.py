"""What the shipped network learns from: synthetic hands, and what a frozen backbone sees in views of them."""

from __future__ import annotations

import argparse
import math
from dataclasses import fields, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from shards import stored_labels, write
from torch import Tensor

from amvur.data.synthetic.generator import SyntheticHands
from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.models.landmark_trunk import LandmarkTrunk
from amvur.training.augment import AugmentConfig, as_pixels
from amvur.training.targets import LabelledImages
from amvur.training.upright_views import upright_view

SEED = 11
SHARD = 512
COLORS = AugmentConfig(erase_probability=0.25, erase_side=(0.05, 0.25))
NAMES = [f.name for f in fields(LabelledImages)][:8]  # all of these are right hands with 3D labels


def render(args: argparse.Namespace) -> None:
    """Write shards of pictures of right hands."""
    source = SyntheticHands(SEED, "open", 224)
    for shard in range(args.part, math.ceil(args.count / SHARD), args.parts):
        path = args.work / "pool" / f"{shard:05d}.safetensors"
        if path.exists():
            continue
        rows = [stored_labels(b, NAMES) for b in source.stream(shard * SHARD, SHARD, 16)]
        write({n: torch.cat([row[n] for row in rows]) for n in rows[0]}, path)


def features(args: argparse.Namespace) -> None:
    """Write what the backbone sees in `views` views of every shard, or its part that is always frozen."""
    hand, trunk = HandModel(load_hand_model("open")), LandmarkTrunk()
    for shard in sorted((args.work / "pool").glob("*.safetensors"))[args.part :: args.parts]:
        for view in range(args.views):
            path = args.work / folder_of(args) / f"{shard.stem}_{view}.safetensors"
            if path.exists():
                continue
            generator = torch.Generator().manual_seed(int(shard.stem) * 64 + view)
            stored = load_file(shard)
            images = LabelledImages(**{name: stored[name] for name in NAMES})
            found: dict[str, list[Tensor]] = {}
            for first in range(0, len(images), 32):
                seen = view_of(images[first : first + 32], hand, generator)
                kept = {n: getattr(seen, n) for n in NAMES if n != "images"}
                with torch.no_grad():
                    middle = trunk.early(as_pixels(seen.images))[0]
                    if args.tuned:
                        kept["middle"] = middle.half()
                    else:
                        pooled, neck = trunk.late(middle)
                        kept |= {"pooled": pooled.half(), "neck": neck.half()}
                for name, value in kept.items():
                    found.setdefault(name, []).append(value)
            write({n: torch.cat(v) for n, v in found.items()}, path)


def folder_of(args: argparse.Namespace) -> str:
    """Return where features, or with `--tuned` maps, are kept."""
    return "maps" if args.tuned else "features"


def view_of(images: LabelledImages, hand: HandModel, generator: torch.Generator) -> LabelledImages:
    """Turn and crop like a detector, with its errors, and change colors."""
    padding = ("reflection", "border", "zeros")[int(torch.randint(3, (), generator=generator))]
    return upright_view(images, hand, generator, replace(COLORS, padding=padding))


class Stored:
    """Maps or features, and labels, in memory."""

    def __init__(self, paths: list[Path], kept: tuple[str, ...]) -> None:
        """Read shards: the labels and the tensors `kept`."""
        self.kept = kept
        self.tensors: dict[str, Tensor] = {}
        rows = 0
        for path in paths:
            shard = load_file(path)
            for name in (*NAMES[1:], *kept):
                if name not in self.tensors:
                    shape = (SHARD * len(paths), *shard[name].shape[1:])
                    self.tensors[name] = torch.empty(shape, dtype=shard[name].dtype)
                self.tensors[name][rows : rows + SHARD] = shard[name]
            rows += SHARD

    def __len__(self) -> int:
        """Return how many views there are."""
        return len(self.tensors["betas"])

    def __getitem__(self, rows: Tensor | slice) -> tuple[list[Tensor], LabelledImages]:
        """Return what was kept, and labels (with empty pictures of the right size)."""
        part = {name: tensor[rows] for name, tensor in self.tensors.items()}
        images = torch.empty(len(part["betas"]), 224, 0, 3, dtype=torch.uint8)
        labels = LabelledImages(images=images, **{n: part[n] for n in NAMES if n != "images"})
        return [part[n].float() for n in self.kept], labels


def open_data(args: argparse.Namespace) -> tuple[Stored, Stored]:
    """Return training and held-out data: the first two shards' pictures are held out, in every view.

    Training data begin with `first_shard`.
    """
    kept = ("middle",) if args.tuned else ("pooled", "neck")
    paths = sorted((args.work / folder_of(args)).glob("*.safetensors"))
    first = max(2, args.first_shard)
    data = Stored([p for p in paths if int(p.stem.split("_")[0]) >= first][: args.shards], kept)
    held_out = Stored([p for p in paths if p.stem in ("00000_0", "00001_0")], kept)
    print(f"{len(data)} views, {len(held_out)} held out", flush=True)
    return data, held_out
