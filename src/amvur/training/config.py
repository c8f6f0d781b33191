"""The settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from amvur.errors import InputError

Precision = Literal["auto", "32-true", "bf16-mixed"]
Optimizer = Literal["adamw", "adam"]
Schedule = Literal["cosine", "constant"]


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; part of a preset.

    `batch_size` counts pictures over all processes together. `adam` has no weight decay; both warm up, and
    `cosine` then falls to a hundredth. `augment` changes pictures before every step. With `ema_decay` 0 the
    weights that are kept are those of the last step. `precision` "auto" is bf16-mixed on a GPU and
    32-true on a CPU. `pool_start` pictures are there before the first step; without a filling thread the
    pool then grows by `pool_per_step` a step up to `pool_size`.
    """

    steps: int = 20_000
    batch_size: int = 128
    learning_rate: float = 5e-4
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "cosine"
    augment: bool = True
    weight_decay: float = 0.01
    warmup_steps: int = 500
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    precision: Precision = "auto"
    pool_size: int = 20_000
    pool_start: int = 512
    pool_per_step: int = 16
    seed: int = 0
    save_every_s: float = 120.0
    log_every: int = 50
    evaluate_every: int = 1000
    held_out: int = 256

    def __post_init__(self) -> None:
        """Raise `InputError` for numbers that make no sense."""
        for name in (
            "steps",
            "batch_size",
            "pool_size",
            "pool_start",
            "log_every",
            "evaluate_every",
        ):
            if getattr(self, name) < 1:
                raise InputError(
                    f"{name} wants at least 1, found {getattr(self, name)}. Give a larger number."
                )
        for name in ("warmup_steps", "seed", "weight_decay", "pool_per_step", "save_every_s", "held_out"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"{name} wants at least 0, found {getattr(self, name)}. Give a larger number."
                )
        if not (self.learning_rate > 0 and self.clip_norm > 0 and 0 <= self.ema_decay < 1):
            raise InputError(
                "Wanted learning_rate > 0, clip_norm > 0 and 0 <= ema_decay < 1, found "
                f"{self.learning_rate}, {self.clip_norm} and {self.ema_decay}. Correct the preset."
            )
