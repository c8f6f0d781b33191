"""What a texture head learns from: evidence at vertices of synthetic hands, with labels."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from shards import bits, pending, write_rows
from torch import Tensor

from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.inference.estimator.posterior import projected_std
from amvur.inference.silhouette.segmentation import Segmentation, shipped_segmentation
from amvur.inference.texture.evidence import vertex_evidence
from amvur.inference.view import HandView, look_at_hand
from amvur.models.texture import VertexEvidence

SEED = 17
PIXELS = 768
"""Pixels of skin kept of every picture, for the loss on the rendered picture."""
POSE_STD, TURN_STD, SHAPE_STD, SHIFT_PX, DEPTH_STD, EXACT = 0.06, 0.05, 0.5, 2.5, 0.02, 0.2
"""Largest errors of the meshes (one sigma); each picture has a share of them, a fifth none."""
NAMES = ("images", "intrinsics", "global_orient", "hand_pose", "betas", "transl")


def error_shares(count: int, generator: torch.Generator) -> Tensor:
    """Return how large a share of the largest errors each of `count` pictures has."""
    share = torch.rand(count, 1, generator=generator)
    return torch.where(torch.rand(count, 1, generator=generator) < EXACT, 0.0, share)


def with_errors(
    labels: dict[str, Tensor], generator: torch.Generator, share: Tensor | None = None
) -> dict[str, Tensor]:
    """Return parameters with errors like a fit's: up to a few pixels in the picture."""
    count = len(labels["betas"])
    share = error_shares(count, generator) if share is None else share

    def moved(name: str, std: float) -> Tensor:
        value = labels[name]
        return value + share * std * torch.randn(value.shape, generator=generator)

    depth, focal = labels["transl"][:, 2:], labels["intrinsics"][:, 0, :1]
    shift = share * SHIFT_PX * depth / focal * torch.randn(count, 2, generator=generator)
    farther = share * DEPTH_STD * depth * torch.randn(count, 1, generator=generator)
    return {
        "intrinsics": labels["intrinsics"],
        "global_orient": moved("global_orient", TURN_STD),
        "hand_pose": moved("hand_pose", POSE_STD),
        "betas": moved("betas", SHAPE_STD),
        "transl": labels["transl"] * (1 + farther / depth) + torch.cat([shift, torch.zeros(count, 1)], 1),
    }


@torch.no_grad()
def spread_px(
    parameters: dict[str, Tensor], share: Tensor, hand: HandModel, generator: torch.Generator, draws: int = 12
) -> Tensor:
    """Return the vertices' standard deviations (px) under errors of such a share: what a fit would state."""
    drawn = [with_errors(parameters, generator, share) for _ in range(draws)]
    meshes = torch.stack([hand(*(found[n] for n in NAMES[2:])).vertices for found in drawn])
    return torch.stack(
        [
            torch.from_numpy(projected_std(meshes[:, i].numpy(), k.numpy()))
            for i, k in enumerate(parameters["intrinsics"])
        ]
    )


def features(args: argparse.Namespace) -> None:
    """Write evidence and labels of shards of pictures."""
    hand, segmentation = HandModel(load_hand_model("open")), shipped_segmentation()
    shards = sorted((args.work / "pool").glob("*.safetensors"))[: args.shards]
    for shard, path in pending(shards, args.texture, args.part, args.parts):
        generator = torch.Generator().manual_seed(SEED + int(shard.stem))
        stored = load_file(shard)
        count = args.held_out if int(shard.stem) < 2 else len(stored["betas"])
        labels = {name: tensor[:count] for name, tensor in stored.items()}
        parameters = with_errors(labels, generator)
        with torch.no_grad():
            vertices = hand(*(parameters[n] for n in NAMES[2:])).vertices
        pictures = ({name: values[i] for name, values in labels.items()} for i in range(count))
        posed = zip(pictures, vertices, strict=True)
        write_rows((one_picture(*picture, hand, segmentation, generator) for picture in posed), path)


def one_picture(
    label: dict[str, Tensor],
    vertices: Tensor,
    hand: HandModel,
    segmentation: Segmentation,
    generator: torch.Generator,
) -> dict[str, Tensor] | None:
    """Return what is stored of one picture; None where its mesh, with errors, is not in it."""
    camera = label["intrinsics"]
    view = look_at_hand(label["images"].numpy(), vertices.numpy(), hand.faces.numpy(), camera.numpy())
    if view is None or not view.raster.mask.any():
        return None
    view = segmentation.with_maps(view)
    assert view.maps is not None
    evidence = vertex_evidence(view, hand.arrays.v_template, view.maps)
    count = len(vertices)
    return {
        "features": torch.from_numpy(evidence.features).half(),
        "colors": torch.from_numpy((evidence.colors * 255).round().astype(np.uint8)),
        "visible": torch.from_numpy(evidence.visible),
        "pooled": torch.from_numpy(evidence.pooled).half(),
        "truth": label["vertex_colors"],
        "shown": bits(label["unoccluded_vertices"], count),
        **skin_pixels(view, bits(label["mask"], label["images"].shape[0] ** 2), generator),
    }


def shows_hand(view: HandView, mask: Tensor) -> np.ndarray:
    """Return which of the pixels that the mesh covers (row-major) show the hand; `mask` is the picture's."""
    y, x = view.raster.mask.nonzero()
    side = int(len(mask) ** 0.5)
    places = view.crop.invert_points(np.column_stack([x, y]) + 0.5)
    column, row = np.floor(places).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < side) & (row < side)
    shows: np.ndarray = (
        inside & mask.view(side, side).numpy()[row.clip(0, side - 1), column.clip(0, side - 1)]
    )
    return shows


def skin_pixels(view: HandView, mask: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Return some pixels that show the hand: corners and weights in the mesh, and the picture's color.

    Where fewer are in sight they are repeated; where none is, their weights are 0.
    """
    y, x = view.raster.mask.nonzero()
    chosen = torch.from_numpy(np.flatnonzero(shows_hand(view, mask)))
    usable = len(chosen) > 0
    chosen = chosen if usable else torch.arange(len(x))
    chosen = chosen[torch.randint(len(chosen), (PIXELS,), generator=generator)]
    y, x = y[chosen.numpy()], x[chosen.numpy()]
    return {
        "corners": torch.from_numpy(view.faces[view.raster.pix_to_face[y, x]]).to(torch.int16),
        "weights": torch.from_numpy(view.raster.bary_coords[y, x] * usable).half(),
        "pixels": torch.from_numpy(view.picture[y, x]),
    }


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
