"""Network and objective as Fabric wants them: one module that takes tensors and returns one scalar."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amvur.training.run_options import Loss
from amvur.training.targets import Targets


class Labels:
    """Targets and generator on their way through wrappers that would take a dataclass apart."""

    def __init__(self, targets: Targets, step: int, generator: torch.Generator) -> None:
        """Keep what the objective is called with."""
        self.targets, self.step, self.generator = targets, step, generator


class LossModule(nn.Module):
    """Pixels and labels to the loss and its terms; the objective is computed in full precision."""

    def __init__(self, network: nn.Module, objective: Loss) -> None:
        """Put the two together."""
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, pixels: Tensor, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms."""
        prediction = self.network(pixels)
        with torch.autocast(pixels.device.type, enabled=False):
            return self.objective(prediction, labels.targets, labels.step, labels.generator)
