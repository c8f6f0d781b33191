"""The segmentation that ships: which pixels show the hand about which a mesh lies, and which it covers though
an object lies before it, from synthetic hands.

    python scripts/train_shipped.py render --count 10240 --work runs/segmentation-work
    python scripts/train_segmentation.py features --work runs/segmentation-work
    python scripts/train_segmentation.py train --work runs/segmentation-work --output runs/segmentation

`features` poses the open hand by the labels with errors like those of a fit, states how large such errors
are (wrongly by a third), and keeps crop, outline, labels and what the frozen network says; `train` learns
from that. Shards 0 and 1 are held out. `features` may be stopped, started again and split (`--part I
--parts N`).
"""

from __future__ import annotations

import argparse
import bisect
import itertools
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from shards import bits, pending, write_rows
from small_training import add_arguments, card_of, run
from texture_data import NAMES, spread_px, with_errors
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from amvur.checkpoint import save_checkpoint
from amvur.checkpoint_folder import add_onnx
from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.inference.silhouette.finder import inside_image
from amvur.inference.silhouette.segmentation import LEAST_STD_PX, NEAR_PX, outline_hints
from amvur.inference.view import look_at_hand, skin_raster
from amvur.models.landmark_trunk import LandmarkTrunk
from amvur.models.segmentation import HandSegmenter, SegmentationConfig
from amvur.pretrained import networks_of
from amvur.training.augment import AugmentConfig, add_noise, jitter_color

SEED = 100
LARGEST, EXACT = 2.5, 0.12
"""Errors are up to so many times those that the texture head learns with; a share of meshes has none."""
STATED_WRONG = 0.35
"""Standard deviation of the logarithm of what is stated, against how large errors are."""
RECOLORED = 0.7
BESIDE_WEIGHT = 0.3
"""Pixels near beside the mesh count too, by this weight."""
HELD_OUT = 200
ANSWERS = ("shows", "covers")


def features(args: argparse.Namespace) -> None:
    """Write crops, outlines, labels and maps of shards of pictures."""
    hand, trunk = HandModel(load_hand_model("open")), LandmarkTrunk()
    shards = sorted((args.work / "pool").glob("*.safetensors"))
    for shard, path in pending(shards, args.work / "segmentation", args.part, args.parts):
        stored = load_file(shard)
        count = len(stored["betas"])
        generator = torch.Generator().manual_seed(SEED + int(shard.stem))
        share = LARGEST * torch.rand(count, 1, generator=generator) ** 1.5
        share = torch.where(torch.rand(count, 1, generator=generator) < EXACT, 0.0, share)
        parameters = with_errors(stored, generator, share)
        with torch.no_grad():
            truth, vertices = (hand(*(p[n] for n in NAMES[2:])).vertices for p in (stored, parameters))
            spread = spread_px(parameters, share, hand, generator, draws=8)
        stated = spread * torch.exp(STATED_WRONG * torch.randn(count, 1, generator=generator))
        labels = {name: stored[name] for name in ("images", "intrinsics", "mask")}
        pictures = ({name: values[i] for name, values in labels.items()} for i in range(count))
        posed = zip(pictures, truth, vertices, stated, strict=True)
        write_rows((one_picture(*picture, hand, trunk, generator) for picture in posed), path)


def one_picture(
    label: dict[str, Tensor],
    truth: Tensor,
    vertices: Tensor,
    std_px: Tensor,
    hand: HandModel,
    trunk: LandmarkTrunk,
    generator: torch.Generator,
) -> dict[str, Tensor] | None:
    """Return what is stored of one picture; None where its mesh, with errors, covers hardly any of it."""
    image = label["images"].numpy()
    view = look_at_hand(image, vertices.numpy(), hand.faces.numpy(), label["intrinsics"].numpy())
    if view is None or not view.raster.mask.any():
        return None
    picture = torch.tensor(view.picture).permute(2, 0, 1)[None] / 255
    if torch.rand((), generator=generator) < RECOLORED:
        changes = AugmentConfig()
        picture = add_noise(jitter_color(picture, generator, changes), generator, changes).clamp(0, 1)
    depth, std = outline_hints(view, std_px.double().numpy() / view.pixel_px)
    counted = inside_image(view, image) & (depth > -NEAR_PX)
    if (counted & (depth > 0)).sum() < 50:
        return None
    shows = bits(label["mask"], image[..., 0].size).view(image.shape[:2]).numpy()
    shows = view.crop.warp(np.repeat(255 * shows[..., None].astype(np.uint8), 3, 2))[..., 0] > 127
    posed = (truth.double().numpy() @ view.crop.R_crop_camera.T).astype(np.float32)
    covers = skin_raster(posed, view.faces, view.intrinsics, view.crop.size_px).mask
    with torch.inference_mode():
        maps = trunk.pyramid(picture)
    return {
        "image": (picture[0] * 255).round().to(torch.uint8),
        "depth": torch.from_numpy(depth.clip(-40, 60)).half(),
        "std": torch.from_numpy(std.clip(LEAST_STD_PX, 60)).half(),
        "hand": torch.from_numpy(np.stack([shows, covers])),
        "counted": torch.from_numpy(counted),
        **{f"map{k}": values[0].half() for k, values in enumerate(maps)},
    }


class Stored:
    """Pictures of several files, read as they are asked for."""

    def __init__(self, paths: list[Path]) -> None:
        """Map files into memory."""
        self.shards = [load_file(path) for path in paths]
        self.ends = list(itertools.accumulate(len(shard["depth"]) for shard in self.shards))

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return self.ends[-1]

    def __getitem__(self, rows: Tensor) -> dict[str, Tensor]:
        """Return some pictures."""
        places = [(bisect.bisect_right(self.ends, row), row) for row in rows.tolist()]
        at = [(self.shards[k], row - (self.ends[k - 1] if k else 0)) for k, row in places]
        return {name: torch.stack([shard[name][row] for shard, row in at]) for name in self.shards[0]}


def logits_of(network: HandSegmenter, sample: dict[str, Tensor]) -> Tensor:
    """Return the network's word on stored pictures."""
    maps = tuple(sample[f"map{k}"].float() for k in range(len(network.config.levels)))
    return network(sample["image"] / 255, sample["depth"].float(), sample["std"].float(), maps)


def loss_of(network: HandSegmenter, sample: dict[str, Tensor]) -> Tensor:
    """Return the cross-entropy of both answers, mean of the pixels of meshes and beside them."""
    weight = sample["counted"] * torch.where(sample["depth"] > 0, 1.0, BESIDE_WEIGHT)
    error = binary_cross_entropy_with_logits(
        logits_of(network, sample), sample["hand"].float(), reduction="none"
    ).sum(1)
    return ((error * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(50)).mean()


@torch.no_grad()
def measure(network: HandSegmenter, data: Stored) -> dict[str, float]:
    """Return cross-entropy, accuracy and how many are true, of both answers at pixels that meshes cover."""
    sums: dict[str, list[Tensor]] = {}
    for rows in batches(min(len(data), HELD_OUT), 8):
        sample = data[rows]
        logits, hand = logits_of(network, sample), sample["hand"]
        inside = (sample["counted"] & (sample["depth"] > 0))[:, None]
        error = binary_cross_entropy_with_logits(logits, hand.float(), reduction="none")
        right = ((logits > 0) == hand).float()
        for name, values in (("cross_entropy", error), ("right", right), ("share", hand.float())):
            per_picture = (values * inside).sum((2, 3)) / inside.sum((2, 3)).clamp_min(1)
            for answer, found in zip(ANSWERS, per_picture.T, strict=True):
                sums.setdefault(f"{answer}_{name}", []).append(found)
    return {name: round(float(torch.cat(values).mean()), 4) for name, values in sums.items()}


def batches(count: int, size: int) -> Iterator[Tensor]:
    """Yield rows in order."""
    yield from torch.arange(count).split(size)


def train(args: argparse.Namespace) -> None:
    """Train for a number of minutes or steps and write a checkpoint."""
    torch.manual_seed(args.seed)
    paths = sorted((args.work / "segmentation").glob("*.safetensors"))
    data = Stored([path for path in paths if int(path.stem) > 1])
    held_out = Stored([path for path in paths if int(path.stem) < 2])
    first = data[torch.arange(64)]
    maps = [first[name].float() for name in first if name.startswith("map")]
    config = SegmentationConfig(tuple(m.shape[1] for m in maps))
    network = HandSegmenter(config)
    network.level_std.copy_(torch.cat([m.std((0, 2, 3)) for m in maps]).clamp_min(1e-2))
    print(f"{len(data)} pictures", flush=True)
    steps = run(
        network,
        lambda rows: loss_of(network, data[rows]),
        len(data),
        args,
        lambda: measure(network, held_out),
    )
    found = measure(network, held_out)
    print("end:", steps, found, flush=True)
    card = card_of(args, len(data), steps, found)
    save_checkpoint(
        args.output, asdict(config), network.state_dict(), hand_model="open", card=card, dtype="float16"
    )
    add_onnx(args.output, networks_of(args.output))


def main() -> None:
    """Run a stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["features", "train"])
    parser.add_argument("--work", type=Path, default=Path("runs/segmentation-work"), help="has pool/")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/segmentation"))
    add_arguments(parser, minutes=45.0, decay=1e-3, tell=120.0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    {"features": features, "train": train}[args.stage](args)


if __name__ == "__main__":
    main()
