"""The texture head that ships: colors of all vertices, learned from synthetic hands on one CPU core.

    python scripts/train_shipped.py render --count 40000 --work runs/shipped-work   # pictures with labels
    python scripts/train_texture.py features --work runs/shipped-work --shards 8
    python scripts/train_texture.py train --work runs/shipped-work --output runs/texture
    python scripts/train_texture.py baseline --work runs/shipped-work --output runs/texture-baseline

`features` poses the open hand by the labels, with errors like those of a fit, and keeps what a frozen
backbone and the rasteriser say at its vertices; the heads then learn from stored numbers. Shards 0 and 1
are held out. `features` may be stopped, started again and split (`--part I --parts N`).
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from amvur.checkpoint import save_checkpoint
from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.inference.vertex_evidence import HandView, look_at_hand, vertex_evidence
from amvur.losses import color_negative_log_likelihood, masked_color_error
from amvur.models.landmark_trunk import LandmarkTrunk
from amvur.models.texture import GlobalColors, TextureConfig, TextureHead, VertexEvidence, take

SEED = 17
EVERY = 4
"""Held-out errors are measured at every fourth vertex."""
PIXELS = 768
"""Pixels of skin kept of every picture, for the loss on the rendered picture."""
POSE_STD, TURN_STD, SHAPE_STD, SHIFT_PX, DEPTH_STD, EXACT = 0.06, 0.05, 0.5, 2.5, 0.02, 0.2
"""Largest errors of the meshes (one sigma); each picture has a share of them, a fifth none."""
NAMES = ("images", "intrinsics", "global_orient", "hand_pose", "betas", "transl")


def with_errors(labels: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Return parameters with errors like a fit's: up to a few pixels in the picture."""
    count = len(labels["betas"])
    share = torch.rand(count, 1, generator=generator)
    share = torch.where(torch.rand(count, 1, generator=generator) < EXACT, 0.0, share)

    def moved(name: str, std: float) -> Tensor:
        value = labels[name]
        return value + share * std * torch.randn(value.shape, generator=generator)

    depth, focal = labels["transl"][:, 2:], labels["intrinsics"][:, 0, :1]
    shift = share * SHIFT_PX * depth / focal * torch.randn(count, 2, generator=generator)
    farther = share * DEPTH_STD * depth * torch.randn(count, 1, generator=generator)
    return {
        "global_orient": moved("global_orient", TURN_STD),
        "hand_pose": moved("hand_pose", POSE_STD),
        "betas": moved("betas", SHAPE_STD),
        "transl": labels["transl"] * (1 + farther / depth) + torch.cat([shift, torch.zeros(count, 1)], 1),
    }


def features(args: argparse.Namespace) -> None:
    """Write evidence and labels of shards of pictures."""
    hand, trunk = HandModel(load_hand_model("open")), LandmarkTrunk()
    shards = sorted((args.work / "pool").glob("*.safetensors"))[: args.shards]
    for shard in shards[args.part :: args.parts]:
        path = args.texture / f"{shard.stem}.safetensors"
        if path.exists():
            continue
        generator = torch.Generator().manual_seed(SEED + int(shard.stem))
        stored = load_file(shard)
        count = args.held_out if int(shard.stem) < 2 else len(stored["betas"])
        labels = {name: tensor[:count] for name, tensor in stored.items()}
        parameters = with_errors(labels, generator)
        with torch.no_grad():
            vertices = hand(*(parameters[n] for n in NAMES[2:])).vertices
        rows = [
            row
            for i in range(count)
            if (row := one_picture({n: t[i] for n, t in labels.items()}, vertices[i], hand, trunk, generator))
        ]
        write({n: torch.stack([row[n] for row in rows]) for n in rows[0]}, path)


def one_picture(
    label: dict[str, Tensor],
    vertices: Tensor,
    hand: HandModel,
    trunk: LandmarkTrunk,
    generator: torch.Generator,
) -> dict[str, Tensor] | None:
    """Return what is stored of one picture; None where its mesh, with errors, is not in it."""
    camera = label["intrinsics"]
    view = look_at_hand(label["images"].numpy(), vertices.numpy(), hand.faces.numpy(), camera.numpy())
    if view is None or not view.raster.mask.any():
        return None
    evidence = vertex_evidence(view, hand.v_template, trunk)
    count = len(vertices)
    return {
        "features": evidence.features[0].half(),
        "colors": (evidence.colors[0] * 255).round().to(torch.uint8),
        "visible": evidence.visible[0],
        "pooled": evidence.pooled[0].half(),
        "truth": label["vertex_colors"],
        "shown": bits(label["unoccluded_vertices"], count),
        **skin_pixels(view, bits(label["mask"], label["images"].shape[0] ** 2), generator),
    }


def bits(packed: Tensor, count: int) -> Tensor:
    """Return packed bits as booleans."""
    return torch.from_numpy(np.unpackbits(packed.numpy())[:count].astype(bool))


def skin_pixels(view: HandView, mask: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Return some pixels that show the hand: corners and weights in the mesh, and the picture's color.

    Where fewer are in sight they are repeated; where none is, their weights are 0.
    """
    y, x = view.raster.mask[0].nonzero(as_tuple=True)
    side = int(len(mask) ** 0.5)
    places = view.crop.invert_points(torch.stack([x, y], 1).double().numpy() + 0.5)
    column, row = np.floor(places).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < side) & (row < side)
    shows = inside & mask.view(side, side).numpy()[row.clip(0, side - 1), column.clip(0, side - 1)]
    chosen = torch.from_numpy(np.flatnonzero(shows))
    usable = len(chosen) > 0
    chosen = chosen if usable else torch.arange(len(x))
    chosen = chosen[torch.randint(len(chosen), (PIXELS,), generator=generator)]
    y, x = y[chosen], x[chosen]
    return {
        "corners": view.faces[view.raster.pix_to_face[0, y, x]].to(torch.int16),
        "weights": (view.raster.bary_coords[0, y, x] * usable).half(),
        "pixels": (view.image[0, :, y, x].T * 255).round().to(torch.uint8),
    }


def write(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(f".{os.getpid()}.tmp")
    save_file({n: t.contiguous() for n, t in tensors.items()}, staged)
    os.replace(staged, path)
    print(path.name, time.strftime("%H:%M:%S"), flush=True)


class Stored:
    """Evidence and labels in memory."""

    def __init__(self, paths: list[Path]) -> None:
        """Read shards."""
        shards = [load_file(path) for path in paths]
        self.tensors = {name: torch.cat([s.pop(name) for s in shards]) for name in list(shards[0])}

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.tensors["pooled"])

    def __getitem__(self, rows: Tensor | slice) -> Sample:
        """Return some pictures."""
        part = {name: tensor[rows] for name, tensor in self.tensors.items()}
        evidence = VertexEvidence(
            part["features"].float(), part["colors"] / 255, part["visible"], part["pooled"].float()
        )
        weights, corners = part["weights"].float(), part["corners"].long()
        return Sample(evidence, part["truth"] / 255, part["shown"], corners, weights, part["pixels"] / 255)


@dataclass(frozen=True)
class Sample:
    """Evidence with labels: true colors, which vertices the picture shows, pixels of skin."""

    evidence: VertexEvidence
    truth: Tensor
    shown: Tensor
    corners: Tensor
    weights: Tensor
    pixels: Tensor


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


def schedule(done: float) -> float:
    """Return the share of the learning rate: a short rise, then half a cosine."""
    return min(done / 0.02, 1.0) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


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
    card = {
        "data": f"synthetic hands, {len(data)} pictures of scripts/train_shipped.py, other than synth-v1",
        "steps": steps,
        "batch": args.batch,
        "minutes": args.minutes,
        "held_out": found,
        "licence": "Apache-2.0",
        "amvur": version("amvur"),
    }
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


def run(
    network: torch.nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    count: int,
    args: argparse.Namespace,
    report: Callable[[], object],
) -> int:
    """Take steps until the minutes are over; return how many."""
    optimizer = torch.optim.AdamW(network.parameters(), args.rate, weight_decay=args.decay)
    generator = torch.Generator().manual_seed(args.seed)
    began, step, told = time.monotonic(), 0, time.monotonic()
    while (done := max((time.monotonic() - began) / (60 * args.minutes), step / args.steps)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = args.rate * schedule(max(done, 1e-4))
        loss = loss_of(torch.randint(count, (args.batch,), generator=generator))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        if time.monotonic() - told > args.tell:
            told = time.monotonic()
            print(f"{step} {told - began:.0f} s loss {float(loss.detach()):.4f} {report()}", flush=True)
            began += time.monotonic() - told  # reports are not training
            told = time.monotonic()
    return step


def main() -> None:
    """Run a stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["features", "train", "baseline"])
    parser.add_argument("--work", type=Path, default=Path("runs/shipped-work"), help="has pool/")
    parser.add_argument("--texture", type=Path, help="folder of evidence (WORK/texture)")
    parser.add_argument("--shards", type=int, default=9, help="of 512 pictures; two are held out")
    parser.add_argument("--held-out", type=int, default=96, help="pictures of a held-out shard")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/texture"))
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pixels", type=int, default=64, help="pixels of a picture and step")
    parser.add_argument("--queries", type=int, default=128, help="further vertices")
    parser.add_argument("--keys", type=int, default=256)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tell", type=float, default=300.0, help="seconds between reports")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.texture = args.texture or args.work / "texture"
    torch.set_num_threads(args.threads)
    {"features": features, "train": train, "baseline": baseline}[args.stage](args)


if __name__ == "__main__":
    main()
