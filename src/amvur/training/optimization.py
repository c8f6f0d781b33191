"""Optimiser, learning rate and averaged weights of a run."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from amvur.training.config import TrainingConfig

FINAL_RATE = 0.01
"""The learning rate's last value, as a fraction of its highest."""


def make_optimizer(network: nn.Module, config: TrainingConfig) -> Optimizer:
    """Return Adam, or AdamW with weight decay on matrices and filters only, not on norms and biases."""
    wanted = [p for p in network.parameters() if p.requires_grad]
    if config.optimizer == "adam":
        return Adam(wanted, lr=config.learning_rate)
    groups = [
        {"params": [p for p in wanted if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in wanted if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=config.learning_rate)


def learning_rate(config: TrainingConfig, step: int, progress: float) -> float:
    """Return the rate of `step` (from 0): linear warm-up, then a cosine over `progress` in [0, 1], if any."""
    warm = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    if config.schedule == "constant":
        return config.learning_rate * warm
    cosine = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return config.learning_rate * warm * (FINAL_RATE + (1 - FINAL_RATE) * cosine)


class AveragedNetwork:
    """An exponential moving average of a network's weights; its buffers are those of the last good step."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Copy the network; the average is shorter at the beginning, so that it forgets the start."""
        self.module = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Follow the network after `step` (from 1)."""
        decay = min(self.decay, step / (step + 9))
        averages: list[Tensor] = list(self.module.parameters())
        values: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(averages, values, 1 - decay)
        _copy(_stored_buffers(network), _stored_buffers(self.module))

    @torch.no_grad()
    def restore_buffers(self, network: nn.Module) -> None:
        """Give the network the buffers of the last good step back."""
        _copy(_stored_buffers(self.module), _stored_buffers(network))


def _stored_buffers(network: nn.Module) -> dict[str, Tensor]:
    """Return buffers that belong to the weights (statistics of batch norms), not the hand model's arrays."""
    stored = set(network.state_dict(keep_vars=True))
    return {name: buffer for name, buffer in network.named_buffers() if name in stored}


def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    """Copy tensors by name."""
    for name, value in source.items():
        target[name].copy_(value)
