"""What a run measures meanwhile: its averaged network on the held-out pictures."""

from __future__ import annotations

import math
import time
from pathlib import Path

from torch import nn

from amvur.hand.model import HandModel
from amvur.training.held_out import HeldOutErrors, draw_held_out, held_out_errors
from amvur.training.pool import PoolConfig
from amvur.training.preparation import Preparation
from amvur.training.run_state import HELD_OUT, Progress
from amvur.training.sources import SkippedSamples, Source
from amvur.training.targets import LabelledImages
from amvur.training.upright_views import upright_by_labels


class Validation:
    """Held-out pictures on the training device, and what was measured on them last."""

    def __init__(self, hand: HandModel, progress: Progress) -> None:
        """Begin without pictures; what is measured is kept in `progress`."""
        self.hand, self.progress = hand, progress
        self._images: LabelledImages | None = None

    def draw(
        self,
        source: Source,
        config: PoolConfig,
        folder: Path,
        upright: bool,
        skipped: SkippedSamples,
        preparation: Preparation,
    ) -> None:
        """Make the pictures, or take those of the folder; with `upright` they are turned by their labels.

        Raises `TimeIsUp`.
        """
        found = draw_held_out(source, config, folder / HELD_OUT, skipped, preparation)
        if found is not None:
            found = found.to(self.hand.v_template.device)
            self._images = upright_by_labels(found, self.hand) if upright else found

    def measure(self, network: nn.Module) -> dict[str, float | int]:
        """Measure a network; returns what the log says of it."""
        if self._images is None:
            return {}
        began, progress = time.monotonic(), self.progress
        found = held_out_errors(network, self._images, self.hand)
        progress.held_out_mm, progress.held_out_2d_percent = found.pa_mpjpe_mm, found.error_2d_percent
        progress.held_out_prior_mm = found.prior_pa_mpjpe_mm
        progress.measuring_s = time.monotonic() - began
        return self.row()

    def row(self) -> dict[str, float | int]:
        """Return what was measured last, by the names of the log's columns."""
        values = {
            "held_out_pa_mpjpe_mm": self.progress.held_out_mm,
            "held_out_2d_percent": self.progress.held_out_2d_percent,
            "held_out_prior_pa_mpjpe_mm": self.progress.held_out_prior_mm,
        }
        return {name: value for name, value in values.items() if value is not None}

    def errors(self) -> HeldOutErrors:
        """Return what was measured last."""
        progress = self.progress
        return HeldOutErrors(progress.held_out_mm, progress.held_out_2d_percent, progress.held_out_prior_mm)

    def is_best(self) -> bool:
        """Whether what was measured last is better than all before, and remember it."""
        figure, best = self.errors().figure, self.progress.best
        if figure is None or not math.isfinite(figure) or (best is not None and figure >= best):
            return False
        self.progress.best = figure
        return True
