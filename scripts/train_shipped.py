"""The weights that ship: heads on frozen hand features, trained on synthetic hands with two CPU cores.

    python scripts/train_shipped.py render --count 45056      # pictures with labels, by several processes
    python scripts/train_shipped.py features                  # what the frozen backbone sees in each
    python scripts/train_shipped.py train --setting prior --output runs/prior
    python scripts/train_shipped.py train --start runs/prior --output runs/shipped

Every stage may be stopped and started again (`train` with `--start`), and `render` and `features` may run
in several processes at once (`--part I --parts N`). The features of a picture are computed once for each of
a few views of it, turned upright like the crops that the network gets for a detected hand; the heads then
learn from stored features. With `--tuned` the last third of the backbone learns too, from the stored maps
before it (`features --tuned`): better on synthetic hands, worse on photographs
(docs/experiments/network_training.md).
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import torch
from shipped_data import SEED, Stored, features, open_data, render
from torch import Tensor

from amvur.checkpoint import load_checkpoint, save_checkpoint
from amvur.checkpoint_folder import add_onnx
from amvur.geometry.procrustes import align_similarity
from amvur.hand.model import HandModel
from amvur.models.amvur import AmvurHead
from amvur.models.features import Features
from amvur.models.landmark_backbone import LANDMARK_BACKBONE, TUNED_BACKBONE, LandmarkBackbone
from amvur.models.network import HandNetwork, NetworkConfig, Prediction, make_network
from amvur.models.prior_net import PriorNetConfig
from amvur.pretrained import networks_of
from amvur.training.objective import Objective
from amvur.training.optimization import AveragedNetwork, learning_rate, make_optimizer
from amvur.training.presets import PRESETS
from amvur.training.targets import targets_of

NETWORK = NetworkConfig(
    backbone=LANDMARK_BACKBONE,
    feature_width=512,
    amvur_hidden=128,
    amvur_base="prior",
    amvur_training_vertices=215,
    prior_net=PriorNetConfig(hidden=1024),
    crop="upright",
)


def predict(network: HandNetwork, kept: list[Tensor], tune: bool) -> Prediction:
    """Return the prediction from the stored map or features."""
    backbone = network.backbone
    assert isinstance(backbone, LandmarkBackbone)
    if len(kept) == 1:
        with torch.set_grad_enabled(tune):
            kept = list(backbone.trunk.late(kept[0]))
    return network.estimate(Features(backbone.combine(*kept), kept[-1]))


@torch.no_grad()
def errors_mm(network: HandNetwork, data: Stored) -> tuple[float, float]:
    """Return PA-MPJPE of the network and of its prior-net in mm."""
    network.eval()
    found = []
    for first in range(0, len(data), 128):
        kept, labels = data[first : first + 128]
        truth = targets_of(labels, network.hand).joints
        seen = predict(network, kept, False)
        joints = torch.stack([seen.joints.loc, seen.prior_joints.loc])
        aligned = align_similarity(joints, truth.expand_as(joints))
        found.append(torch.linalg.vector_norm(aligned - truth, dim=-1).mean(-1))
    network.train()
    own, prior = 1000 * torch.cat(found, 1).mean(1)
    return float(own), float(prior)


def open_network(args: argparse.Namespace) -> HandNetwork:
    """Make the network, with the weights of `--start` where they fit."""
    torch.manual_seed(args.seed)
    backbone = TUNED_BACKBONE if args.tuned else LANDMARK_BACKBONE
    base = "template" if args.setting == "amvur" else "prior"  # alone, it knows of no other hand
    prior_net = replace(NETWORK.prior_net, dropout=args.dropout)
    network = make_network(
        replace(NETWORK, setting=args.setting, backbone=backbone, amvur_base=base, prior_net=prior_net)
    )
    if args.start:
        missing = network.load_state_dict(start_weights(args.start, args.shares), strict=False)
        print("new:", len(missing.missing_keys), "unused:", len(missing.unexpected_keys))
    if args.setting == "prior":
        network.hand = thinned(network.hand)
    if args.learns != "all":
        assert isinstance(network.amvur, AmvurHead), "a prior-net has no head"
        network.requires_grad_(False)
        network.backbone.eval()  # its norms keep their statistics
        network.amvur.requires_grad_(True)
        network.amvur.mean.requires_grad_(args.learns == "head")  # at first its offsets are 0
    return network


def start_weights(folders: list[Path], shares: list[float] | None) -> dict[str, Tensor]:
    """Return the weighted mean (None: all alike) of checkpoints; what only some hold, of their first."""
    states = [load_checkpoint(folder).state for folder in folders]
    shares = shares or [1 / len(states)] * len(states)
    if len(shares) != len(states) or abs(sum(shares) - 1) > 1e-6:
        raise SystemExit(f"--shares wants {len(states)} numbers with the sum 1, found {shares}.")
    mean: dict[str, Tensor] = {}
    for name in {name for state in states for name in state}:
        values = [state.get(name) for state in states]
        known = [value for value in values if value is not None]
        alike = len(known) == len(states) and known[0].is_floating_point()
        mean[name] = (
            torch.stack([w * v for w, v in zip(shares, known, strict=True)]).sum(0) if alike else known[0]
        )
    return mean


def thinned(hand: HandModel, others: int = 150) -> HandModel:
    """Return the hand with the vertices that make the joints and some others: a step takes half the time.

    Joints are the same, a mean over vertices stands for that over all.
    """
    used = (hand.joint_regressor != 0).any(0)
    used[hand.tip_vertices.flatten()] = True
    rest = (~used).nonzero()[:, 0]
    chosen = torch.randperm(len(rest), generator=torch.Generator().manual_seed(0))[:others]
    rows = torch.cat([used.nonzero()[:, 0], rest[chosen]]).sort().values
    thin = copy.deepcopy(hand)
    for name in ("v_template", "shapedirs", "posedirs", "lbs_weights"):
        setattr(thin, name, getattr(hand, name)[rows].contiguous())
    thin.joint_regressor = hand.joint_regressor[:, rows].contiguous()
    thin.tip_vertices = torch.searchsorted(rows, hand.tip_vertices)
    return thin


def objective_of(args: argparse.Namespace, network: HandNetwork) -> Objective:
    """Return the objective of the preset that the options ask for."""
    scheme = "weak" if args.weak else "supervised"
    return Objective(
        PRESETS[scheme + ("" if args.setting == "final" else f"-{args.setting}")].objective, network
    )


def train(args: argparse.Namespace) -> None:
    """Train for a number of minutes and write a checkpoint, now and then and at the end."""
    network = open_network(args)
    objective = objective_of(args, network)
    config = replace(PRESETS["default"].training, learning_rate=args.rate, warmup_steps=200)
    optimizer = make_optimizer(network, config)
    trunk = {id(p) for p in network.backbone.trunk.parameters()}
    groups = [
        {**g, "params": [p for p in g["params"] if (id(p) in trunk) == own], "part": part}
        for g in optimizer.param_groups
        for own, part in ((False, 1.0), (True, args.trunk_rate))
    ]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"] and g["part"]])
    network.backbone.trunk.requires_grad_(args.trunk_rate > 0 and args.learns == "all")
    average = AveragedNetwork(network, 0.998)
    data, held_out = open_data(args)
    generator = torch.Generator().manual_seed(args.seed)
    began = told = time.monotonic()
    step, loss = 0, torch.zeros(())
    while (done := (time.monotonic() - began) / (60 * args.minutes)) < 1 and step < args.steps:
        rate = learning_rate(config, step, max(done, step / args.steps))
        for group in optimizer.param_groups:
            group["lr"] = rate * group["part"]
        kept, labels = data[torch.randint(len(data), (args.batch,), generator=generator)]
        targets = targets_of(labels, network.hand)
        targets = targets.only_2d() if args.weak else targets
        loss, _ = objective(predict(network, kept, args.trunk_rate > 0), targets, step, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        optimizer.step()
        step += 1
        average.update(network, step)
        if time.monotonic() - told > 60 * args.tell:
            told = time.monotonic()
            report(args, average.module, held_out, step, told - began, float(loss.detach()))
    report(args, average.module, held_out, step, time.monotonic() - began, float(loss.detach()))


def report(
    args: argparse.Namespace,
    network: HandNetwork,
    held_out: Stored,
    step: int,
    seconds: float,
    loss: float,
) -> None:
    """Print where a training is, and write its checkpoint."""
    own, prior = errors_mm(network, held_out)
    print(
        f"{step} steps {seconds:.0f} s loss {loss:.3f} PA-MPJPE {own:.2f} mm (prior-net {prior:.2f} mm)",
        flush=True,
    )
    card = {
        "data": f"SyntheticHands, seed {SEED}",
        "steps": step,
        "batch": args.batch,
        "minutes": round(seconds / 60, 1),
        "weak": args.weak,
        "started_from": [folder.name for folder in args.start],
        "held_out_pa_mpjpe_mm": round(own, 3),
        "amvur": version("amvur"),
    }
    save_checkpoint(
        args.output,
        asdict(network.config),
        network.state_dict(),
        hand_model="open",
        hand_model_sha256=network.hand.arrays.sha256,
        card=card,
        dtype="float16",
        shard_bytes=15_000_000,
    )
    add_onnx(args.output, networks_of(args.output))


def main() -> None:
    """Run a stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["render", "features", "train"])
    parser.add_argument("--work", type=Path, default=Path("runs/shipped-work"))
    parser.add_argument("--count", type=int, default=45_056)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/shipped"))
    parser.add_argument(
        "--start",
        type=Path,
        nargs="*",
        default=[],
        help="checkpoints to begin with, of any setting; the mean of several",
    )
    parser.add_argument("--shares", type=float, nargs="*", help="of the mean of several checkpoints")
    parser.add_argument("--tuned", action="store_true", help="the last third of the backbone learns too")
    parser.add_argument(
        "--trunk-rate", type=float, default=0.2, help="of a tuned backbone, in units of --rate"
    )
    parser.add_argument("--tell", type=float, default=3.0, help="minutes between reports")
    parser.add_argument("--setting", choices=["prior", "amvur", "final"], default="final")
    parser.add_argument(
        "--learns",
        choices=["all", "head", "scale"],
        default="all",
        help="with --start: all, the AMVUR head beside a fixed prior-net, or only its standard deviations",
    )
    parser.add_argument("--dropout", type=float, default=0.0, help="of the prior-net's hidden layers")
    parser.add_argument("--weak", action="store_true", help="learn from 2D joints alone")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=1_000_000, help="use at most so many feature files")
    parser.add_argument(
        "--first-shard",
        type=int,
        default=2,
        help="learn from this shard of pictures on: scales from such as the prior-net did not learn from",
    )
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    {"render": render, "features": features, "train": train}[args.stage](args)


if __name__ == "__main__":
    main()
