"""Which of four turns of a hand in a square is followed: rules compared on held-out synthetic hands.

    python scripts/choose_turn.py default [--count 1024]

The pictures are the first of the shipped network's seed, which its training leaves out. Every turn is
followed twice; each rule then chooses one; the last knows the box of the joints, with edges drawn badly (3 %
of the hand's size). Prints, for every rule, the share of hands that are lost (2D joints off by more than 0.3
crop units on average), PA-MPJPE and the error with wrist on wrist (mm).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from calibrate_uncertainty import BOX_ERROR
from shipped_data import SEED

from amvur.checkpoint_folder import default_checkpoint
from amvur.data.synthetic.generator import SyntheticHands
from amvur.detect.roll import box_overlap, likeliest_turn
from amvur.geometry.procrustes import align_similarity
from amvur.models.network import Prediction
from amvur.models.upright import follow_turns, four_turns, palm_vectors
from amvur.pretrained import load_network
from amvur.training.targets import as_right_hands, targets_of


def main() -> None:
    """Print a line for every rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="default, or the folder of a network of upright hands")
    parser.add_argument("--count", type=int, default=1024)
    args = parser.parse_args()
    folder = default_checkpoint() if args.checkpoint == "default" else Path(args.checkpoint)
    network, _ = load_network(folder, torch.device("cpu"))
    source, generator = SyntheticHands(SEED, "open", 224), torch.Generator().manual_seed(0)
    found: dict[str, list[torch.Tensor]] = {}
    with torch.no_grad():
        for batch in source.stream(0, args.count, 16):
            images = as_right_hands(batch)
            truth = targets_of(images, network.hand)
            looks = follow_turns(network, images.images.permute(0, 3, 1, 2).float() / 255, 2)
            errors = errors_of(looks[-1], truth)
            boxes = drawn_boxes(truth.joints_2d, generator)
            for name, turn in chosen(looks, errors, boxes).items():
                found.setdefault(name, []).append(errors[torch.arange(len(turn)), turn])
    for name, parts in found.items():
        flat, aligned, rooted = torch.cat(parts).unbind(-1)
        print(
            f"{name:30s} lost {(flat > 0.3).float().mean():6.1%}  PA {1000 * aligned.mean():.2f} mm  "
            f"wrist on wrist {1000 * rooted.mean():.1f} mm"
        )


def errors_of(seen: Prediction, truth) -> torch.Tensor:
    """Return (B, 4 turns, 3): 2D (crop units), after Procrustes and with wrist on wrist (m)."""
    joints, flat = truth.joints.repeat_interleave(4, 0), truth.joints_2d.repeat_interleave(4, 0)
    own = seen.joints.loc
    pairs = (
        (seen.joints_2d.loc, flat),
        (align_similarity(own, joints), joints),
        (own - own[:, :1], joints - joints[:, :1]),
    )
    return torch.stack([(a - b).norm(dim=-1).mean(-1) for a, b in pairs], -1).view(-1, 4, 3)


def drawn_boxes(joints_2d: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return (B, 4) boxes of joints (crop units) as a user draws them."""
    low, high = joints_2d.amin(1), joints_2d.amax(1)
    size = (high - low).amax(-1, keepdim=True)
    box = torch.cat([low, high], -1)
    return box + BOX_ERROR * size * torch.randn(box.shape, generator=generator)


def chosen(looks: list[Prediction], errors: torch.Tensor, boxes: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the turn (B,) that each rule takes."""
    count = len(errors)
    first, before, last = (look.joints_2d for look in looks)
    frames = four_turns(count, first.loc.device)
    up = palm_vectors(first.loc)
    lying = (frames[:, 1, :2] * up).sum(-1) / up.norm(dim=-1)  # y of a crop points down
    sights = (looks[0].prior_joints_2d, last, looks[-1].joints)
    stated = [x.scale.mean((1, 2)).view(count, 4) for x in sights]
    moved = (last.loc - before.loc).norm(dim=-1).mean(-1).view(count, 4)
    overlap = box_overlap(last.loc.view(count, 4, 21, 2).numpy(), boxes[:, None].numpy())
    return {
        "surest at first": stated[0].argmin(1),
        "most upright at first": lying.view(count, 4).argmin(1),
        "surest of places in the end": stated[1].argmin(1),
        "surest of joints in the end": stated[2].argmin(1),
        "settled": moved.argmin(1),
        "sure at first, settled": likeliest(stated[0], moved),
        "... and fills its box": likeliest(stated[0], moved, overlap),
        "sure in the end, settled": likeliest(stated[2], moved),
        "... and fills its box (taken)": likeliest(stated[2], moved, overlap),
        "best (by the truth)": errors[..., 0].argmin(1),
    }


def likeliest(stated: torch.Tensor, moved: torch.Tensor, overlap=None) -> torch.Tensor:
    """Return the turn (B,) of `likeliest_turn`."""
    return torch.as_tensor(likeliest_turn(stated.numpy(), moved.numpy(), overlap))


if __name__ == "__main__":
    main()
