"""Work side by side, one item a core."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_all_cores(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return what a function makes of items, in their order; its threads end with the call.

    Nothing is gained where the function holds Python's lock: numpy on large arrays, numba with `nogil` and
    onnxruntime do not.
    """
    cores = min(len(items), os.cpu_count() or 1)
    if cores <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(cores) as pool:
        return list(pool.map(function, items))
