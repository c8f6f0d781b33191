"""How good a network is on pictures it never learns from, told while it trains."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from amvur.geometry.procrustes import align_similarity
from amvur.hand.model import HandModel
from amvur.training.augment import as_pixels
from amvur.training.pool import PoolConfig, SamplePool
from amvur.training.sources import Source
from amvur.training.targets import LabelledImages, targets_of


@torch.no_grad()
def pa_mpjpe_mm(
    network: nn.Module, images: LabelledImages, hand: HandModel, batch_size: int = 64
) -> Float[Tensor, "B"]:
    """Return every picture's mean joint error in mm after alignment by a similarity (PA-MPJPE).

    Network, pictures and hand are on one device. The network is put into evaluation mode and back.
    """
    training = network.training
    network.eval()
    errors = []
    for first in range(0, len(images), batch_size):
        part = images[first : first + batch_size]
        truth = targets_of(part, hand).joints
        found = network(as_pixels(part.images)).joints.loc.float()
        # a network that diverged is infinitely wrong; the decomposition would not take its output
        valid = torch.isfinite(found).all(-1).all(-1)
        aligned = align_similarity(torch.where(valid[:, None, None], found, truth), truth)
        error = 1000 * torch.linalg.vector_norm(aligned - truth, dim=-1).mean(-1)
        errors.append(error.masked_fill(~valid, torch.inf))
    network.train(training)
    return torch.cat(errors)


def draw_held_out(source: Source, count: int, image_px: int, workers: int) -> LabelledImages:
    """Return the first pictures of a source."""
    pool = SamplePool(source, PoolConfig(count, image_px, workers=workers))
    try:
        pool.fill(count)
        return pool.take(torch.arange(count))
    finally:
        pool.close()
