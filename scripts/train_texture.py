"""The texture head that ships: colors of all vertices, learned from synthetic hands on one CPU core.

    python scripts/train_shipped.py render --count 40000 --work runs/shipped-work   # pictures with labels
    python scripts/train_texture.py features --work runs/shipped-work --shards 11
    python scripts/train_texture.py train --work runs/shipped-work --output runs/texture
    python scripts/train_texture.py choose --work runs/shipped-work --output runs/texture
    python scripts/train_texture.py baseline --work runs/shipped-work --output runs/texture-baseline

`features` poses the open hand by the labels, with errors like those of a fit, and keeps what a frozen
backbone and the rasteriser say at its vertices; the heads then learn from stored numbers. Shards 0 and 1
are held out. `choose` tells, on held-out hands, how far to trust which pixels. `features` may be stopped,
started again and split (`--part I --parts N`).
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from small_training import add_arguments, card_of, run
from texture_choice import choose
from texture_data import PIXELS, Sample, Stored, features
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from amvur.checkpoint import save_checkpoint
from amvur.checkpoint_folder import add_onnx
from amvur.hand.loading import load_hand_model
from amvur.losses import color_negative_log_likelihood, masked_color_error
from amvur.models.texture import GlobalColors, TextureConfig, TextureHead, take
from amvur.pretrained import networks_of

EVERY = 4
"""Held-out errors are measured at every fourth vertex."""


def losses(head: TextureHead, sample: Sample, args: argparse.Namespace, generator: torch.Generator) -> Tensor:
    """Return one term a loss: likelihood of vertex colors, visibility, rendered picture.

    Queries are the corners of some pixels and some vertices from anywhere; keys are some vertices, of the
    seen ones first.
    """
    batch, count = sample.shown.shape
    pick = torch.randint(PIXELS, (batch, args.pixels), generator=generator)
    corners = take(sample.corners, pick).flatten(1)
    anywhere = torch.randint(count, (batch, args.queries), generator=generator)
    queries = torch.cat([corners, anywhere], 1)
    order = torch.rand(batch, count, generator=generator) + sample.evidence.visible
    keys = order.topk(args.keys, 1).indices
    found = head(sample.evidence, queries, keys)
    truth, shown = take(sample.truth, queries), sample.shown.gather(1, queries)
    likelihood = color_negative_log_likelihood(found.loc, found.scale, truth)
    visible = sample.evidence.visible.gather(1, queries)
    seen = binary_cross_entropy_with_logits(found.visibility_logit, shown.float(), reduction="none")
    weights = take(sample.weights, pick)
    at_corners = found.loc[:, : 3 * args.pixels].unflatten(1, (-1, 3))
    rendered = (at_corners * weights[..., None]).sum(2)
    picture = masked_color_error(rendered, take(sample.pixels, pick), weights.sum(-1))
    weight = visible.float() / visible.sum().clamp_min(1)
    return torch.stack([likelihood.mean(), (seen * weight).sum(), picture.mean()])


@torch.no_grad()
def measure(head: TextureHead, data: Stored) -> dict[str, float]:
    """Return errors (of 255) of hidden and shown vertices, of the picture's own colors, and of visibility."""
    sums: dict[str, list[float]] = {}
    scattered = torch.rand(data[slice(0, 1)].shown.shape[1], generator=torch.Generator().manual_seed(0))
    for first in range(0, len(data), 16):
        sample = data[slice(first, first + 16)]
        batch, count = sample.shown.shape
        queries = torch.arange(0, count, EVERY).expand(batch, -1)
        own, truth = sample.evidence.at(queries), take(sample.truth, queries)
        keys = (sample.evidence.visible + scattered).topk(512, 1).indices
        found = head(sample.evidence, queries, keys)
        error = (found.loc - truth).abs().mean(-1) * 255
        sampled = (own.colors - truth).abs().mean(-1) * 255
        visible, shown = own.visible, sample.shown.gather(1, queries)
        right = (found.visibility_logit > 0) == shown
        inside = ((found.loc - truth).abs() < 1.645 * found.scale[..., None]).float().mean(-1)
        for name, value, mask in (
            ("hidden", error, ~shown),
            ("shown", error, shown),
            ("sampled_shown", sampled, shown),
            ("seen_right", right.float(), visible),
            ("seen_usual", shown.float(), visible),
            ("within_90", inside, torch.ones_like(shown)),
        ):
            sums.setdefault(name, []).append(float(value[mask].mean()))
    return {name: round(float(np.nanmean(values)), 3) for name, values in sums.items()}


def load(args: argparse.Namespace) -> tuple[Stored, Stored]:
    """Return training and held-out pictures."""
    paths = sorted(args.texture.glob("*.safetensors"))
    return Stored([p for p in paths if int(p.stem) > 1]), Stored([p for p in paths if int(p.stem) < 2])


def standardize(head: torch.nn.Module, data: Stored, names: tuple[str, ...]) -> None:
    """Take means and standard deviations of inputs from the first pictures."""
    for name in names:
        values = data.tensors[name][:256].float().flatten(0, -2)
        getattr(head, f"{name}_mean").copy_(values.mean(0))
        getattr(head, f"{name}_std").copy_(values.std(0).clamp_min(1e-3))


def train(args: argparse.Namespace) -> None:
    """Train the head for a number of minutes and write a checkpoint."""
    torch.manual_seed(args.seed)
    data, held_out = load(args)
    config = TextureConfig(data.tensors["features"].shape[-1], data.tensors["pooled"].shape[-1])
    head = TextureHead(config)
    standardize(head, data, ("features", "pooled"))
    generator = torch.Generator().manual_seed(args.seed)
    weights = torch.tensor([1.0, 0.1, 1.0])
    print(f"{len(data)} pictures, {len(held_out)} held out", flush=True)

    def step(rows: Tensor) -> Tensor:
        return (losses(head, data[rows], args, generator) * weights).sum()

    steps = run(head, step, len(data), args, lambda: measure(head, held_out))
    found = measure(head, held_out)
    print("end:", steps, found, flush=True)
    card = card_of(args, len(data), steps, found)
    arrays = load_hand_model("open")
    save_checkpoint(
        args.output,
        asdict(config),
        head.state_dict(),
        hand_model="open",
        hand_model_sha256=arrays.sha256,
        card=card,
        dtype="float16",
    )
    add_onnx(args.output, networks_of(args.output))


def baseline(args: argparse.Namespace) -> None:
    """Train the perceptron on the global feature that the paper compares with."""
    torch.manual_seed(args.seed)
    data, held_out = load(args)
    count = data.tensors["truth"].shape[1]
    network = GlobalColors(data.tensors["pooled"].shape[-1], count)
    standardize(network, data, ("pooled",))

    def step(rows: Tensor) -> Tensor:
        found = network(data.tensors["pooled"][rows].float())
        return (found - data.tensors["truth"][rows] / 255).square().mean()

    @torch.no_grad()
    def error() -> float:
        found = network(held_out.tensors["pooled"].float())
        return float((found - held_out.tensors["truth"] / 255).abs().mean() * 255)

    steps = run(network, step, len(data), args, error)
    settings = {"pooled": network.first.in_features, "vertices": count}
    card = {"steps": steps, "held_out_error": error(), "what": "baseline, not for use"}
    save_checkpoint(
        args.output, settings, network.state_dict(), hand_model="open", card=card, dtype="float16"
    )


def main() -> None:
    """Run a stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["features", "train", "choose", "baseline"])
    parser.add_argument("--work", type=Path, default=Path("runs/shipped-work"), help="has pool/")
    parser.add_argument("--texture", type=Path, help="folder of evidence (WORK/texture)")
    parser.add_argument("--shards", type=int, default=11, help="of 512 pictures; two are held out")
    parser.add_argument("--held-out", type=int, default=96, help="pictures of a held-out shard")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/texture"))
    parser.add_argument("--pixels", type=int, default=64, help="pixels of a picture and step")
    parser.add_argument("--queries", type=int, default=128, help="further vertices")
    parser.add_argument("--keys", type=int, default=256)
    add_arguments(parser, minutes=15.0, decay=1e-4, tell=300.0)
    args = parser.parse_args()
    args.texture = args.texture or args.work / "texture"
    torch.set_num_threads(args.threads)
    {"features": features, "train": train, "choose": choose, "baseline": baseline}[args.stage](args)


if __name__ == "__main__":
    main()
