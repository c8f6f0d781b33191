"""Seeds and generators that depend on a few numbers only, so that nothing of them need be stored."""

from __future__ import annotations

import numpy as np
import torch


def mixed_seed(*numbers: int) -> int:
    """Mix numbers into one seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint32)[0])


def make_generator(
    seed: int, step: int, rank: int, purpose: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return the generator of one purpose in one step."""
    return torch.Generator(device).manual_seed(mixed_seed(seed, step, rank, purpose))
