"""The pictures of a step: the pool they are drawn from, and what is done to them before they are shown."""

from __future__ import annotations

import torch

from amvur.hand.model import HandModel
from amvur.training.augment import augment
from amvur.training.config import TrainingConfig
from amvur.training.pool import RANK_STRIDE, PoolConfig, SamplePool
from amvur.training.run_options import RunOptions
from amvur.training.sources import Source
from amvur.training.targets import LabelledImages
from amvur.training.upright_views import upright_view


def make_pool(
    source: Source,
    image_px: int,
    config: TrainingConfig,
    run: RunOptions,
    rank: int,
    threaded: bool,
    device: torch.device,
) -> SamplePool:
    """Return the empty pool of one of a run's processes."""
    return SamplePool(
        source,
        PoolConfig(
            config.pool_size,
            image_px,
            start=rank * RANK_STRIDE if threaded else 0,
            workers=run.workers,
            threaded=threaded,
            replace=threaded and run.replace_pictures,
        ),
        device,
    )


def augmented(
    images: LabelledImages, hand: HandModel, generator: torch.Generator, run: RunOptions
) -> LabelledImages:
    """Return pictures as a run wants them: augmented, and upright for a network of upright hands."""
    if run.augment is None:
        return images
    return (upright_view if run.upright else augment)(images, hand, generator, run.augment)
