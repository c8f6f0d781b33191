"""The time of a run: what is used up, what its end still needs, and whether another step fits in."""

from __future__ import annotations

import time
from typing import Any

import torch

from amvur.training.run_options import RunOptions
from amvur.training.run_state import Progress


class RunClock:
    """Seconds of a run, its earlier parts and its preparation included; the same in all its processes."""

    def __init__(self, run: RunOptions, fabric: Any) -> None:
        """Begin with what the run's own clock says."""
        self.run, self._fabric = run, fabric
        self._began = run.preparation.began
        self.before = 0.0
        """Seconds of the earlier parts."""
        self.step_s = 0.0
        """How long the last step took."""
        self.reserve_s = 0.0
        """Seconds that another step and the last measuring would take."""

    def here(self) -> float:
        """Return this process's seconds."""
        return self.before + time.monotonic() - self._began

    def elapsed(self, progress: Progress) -> float:
        """Return the seconds, and note what to reserve."""
        seconds, self.reserve_s = self.here(), self.step_s + progress.measuring_s
        run, fabric = self.run, self._fabric
        if fabric.world_size == 1 or (run.max_seconds is None and run.stop_after_s is None):
            return seconds
        both = torch.tensor([seconds, self.reserve_s], device=fabric.device)
        seconds, self.reserve_s = (float(value) for value in fabric.all_reduce(both, reduce_op="max"))
        return seconds

    def is_over(self, elapsed: float) -> bool:
        """Say whether the time does not suffice for another step."""
        return self.run.is_over(elapsed + self.reserve_s, self.before)

    def is_whole(self, elapsed: float) -> bool:
        """Say whether the time of the whole run, not only of this part, is used up."""
        return self.run.share_done(0.0, elapsed + self.reserve_s) >= 1

    def used(self, elapsed: float) -> float:
        """Return the seconds to be kept: what is left but too little for another step is used up."""
        whole = self.run.max_seconds
        return elapsed if whole is None or not self.is_whole(elapsed) else max(elapsed, whole)
