"""How many threads torch uses for work made of many small steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Let torch compute on one thread meanwhile, where `wanted`.

    Several threads wait for each other after every small step: on a busy machine that took ten times as
    long, and on a quiet one it gains next to nothing for a single hand.
    """
    before = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
