"""How many threads torch uses: one rule for everything that is computed for a few hands at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

MANY_HANDS = 16
"""From here on a batch is worth several threads."""


@contextmanager
def threads_for(hands: int) -> Iterator[None]:
    """Let torch compute on one thread meanwhile, unless the work is for `MANY_HANDS` or more at once.

    Several threads wait for each other after every small step: on a busy machine that took ten times as
    long, and on a quiet one it gains next to nothing for a single hand. The number of threads is the user's
    again afterwards (`torch.set_num_threads`).
    """
    before = torch.get_num_threads()
    if hands < MANY_HANDS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
