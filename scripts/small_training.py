"""The training loop of small heads on stored features: AdamW, a short rise and half a cosine."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from importlib.metadata import version

import torch
from torch import Tensor


def add_arguments(parser: argparse.ArgumentParser, minutes: float, decay: float, tell: float) -> None:
    """Add what `run` reads."""
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=decay)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tell", type=float, default=tell, help="seconds between reports")
    parser.add_argument("--threads", type=int, default=1)


def schedule(done: float) -> float:
    """Return the share of the learning rate: a short rise, then half a cosine."""
    return min(done / 0.02, 1.0) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


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


def card_of(
    args: argparse.Namespace, pictures: int, steps: int, held_out: dict[str, float]
) -> dict[str, object]:
    """Return what a checkpoint says of its training."""
    return {
        "data": f"synthetic hands, {pictures} pictures of scripts/train_shipped.py, other than synth-v1",
        "steps": steps,
        "batch": args.batch,
        "held_out": held_out,
        "licence": "Apache-2.0",
        "amvur": version("amvur"),
    }
