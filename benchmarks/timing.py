"""Timing as every benchmark here does it."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable

import torch


def median_ms(function: Callable[[], object], repeats: int) -> float:
    """Median wall time of `repeats` calls in milliseconds, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return round(1000 * statistics.median(times), 2)


def machine() -> dict[str, object]:
    """What a figure depends on beside the code: the machine, threads, load and torch."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
    }
