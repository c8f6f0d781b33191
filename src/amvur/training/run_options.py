"""What is trained, where and how long, and how it ended; Fabric made from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from amvur.errors import InputError
from amvur.hand.model import HandModel
from amvur.training.augment import AugmentConfig
from amvur.training.config import TrainingConfig
from amvur.training.held_out import HeldOutErrors
from amvur.training.preparation import Preparation
from amvur.training.targets import Targets

try:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy
except ImportError:  # the same code inside the larger package
    from lightning.fabric import Fabric
    from lightning.fabric.strategies import DDPStrategy


class Loss(Protocol):
    """What `Objective` is to the loop."""

    def __call__(
        self, prediction: Any, targets: Targets, step: int, generator: torch.Generator | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its terms."""
        ...


@dataclass(frozen=True)
class Parts:
    """What is trained: network, its configuration in JSON's types, hand model and objective."""

    network: nn.Module
    network_config: dict[str, Any]
    image_px: int
    hand: HandModel
    objective: Loss


@dataclass(frozen=True)
class RunOptions:
    """Where and how long to run.

    `device` "auto" takes a GPU where there is one. `max_seconds` limits the whole run, resumed parts
    included, and the learning rate follows it; `stop_after_s` only pauses this part. `threaded` lets a
    thread fill the pool, which with `replace_pictures` never ends (faster, not reproducible; None: on a
    GPU); `keep_pool` saves it in the folder. `augment` None switches augmentation off; `upright`: the network
    learns from crops turned so that the fingers point up. `show_progress` None: on a terminal. `card` goes
    into the checkpoint. `preparation` has the clock of this part, which may have started before.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    workers: int = 0
    resume: bool = False
    max_seconds: float | None = None
    stop_after_s: float | None = None
    threaded: bool | None = None
    replace_pictures: bool = True
    keep_pool: bool = False
    augment: AugmentConfig | None = field(default_factory=AugmentConfig)
    upright: bool = False
    show_progress: bool | None = None
    card: dict[str, Any] = field(default_factory=dict)
    preparation: Preparation = field(default_factory=Preparation)

    def limit_s(self, seconds_before: float) -> tuple[float | None, str]:
        """Return how long this part may last, and which option says so."""
        whole = None if self.max_seconds is None else self.max_seconds - seconds_before
        if self.stop_after_s is not None and (whole is None or self.stop_after_s < whole):
            return self.stop_after_s, "--stop-after"
        return whole, "--max-seconds"

    def is_over(self, seconds: float, seconds_before: float) -> bool:
        """Say whether the time of the run, or of this part (it began after `seconds_before`), is used up."""
        whole, part = self.max_seconds, self.stop_after_s
        if whole is not None and seconds >= whole:
            return True
        return part is not None and seconds - seconds_before >= part

    def share_done(self, by_steps: float, seconds: float) -> float:
        """Return how much of the run is done, by steps or by time, whichever is more."""
        return by_steps if self.max_seconds is None else max(by_steps, seconds / self.max_seconds)


@dataclass(frozen=True)
class Result:
    """How a run ended; `held_out` is how wrong the averaged network is (known to the first process).

    `skipped` counts steps, `skipped_samples` tells, in lines, of every data set with unusable samples that
    this process met: how many, and why the first. `interrupted`: Ctrl-C ended this part; its state is saved.
    """

    step: int
    seconds: float
    skipped: int
    held_out: HeldOutErrors
    finished: bool
    interrupted: bool = False
    skipped_samples: tuple[tuple[str, ...], ...] = ()


def make_fabric(run: RunOptions, config: TrainingConfig) -> Fabric:
    """Start the run's processes; raises `InputError` for a device that is not there."""
    has_gpu = torch.cuda.is_available()
    if run.device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device wants auto, cpu or cuda, found {run.device!r}.")
    if run.device == "cuda" and not has_gpu:
        raise InputError("--device cuda: torch finds no GPU here. Use --device cpu, or install a driver.")
    on_gpu = has_gpu and run.device != "cpu"
    if on_gpu and run.devices > torch.cuda.device_count():
        raise InputError(f"--devices {run.devices}: there are {torch.cuda.device_count()} GPUs here.")
    precision = ("bf16-mixed" if on_gpu else "32-true") if config.precision == "auto" else config.precision
    if precision == "bf16-mixed" and not on_gpu:
        raise InputError("bf16-mixed on a CPU is many times slower than 32-true. Use precision auto.")
    strategy: Any = run.strategy
    if run.devices * run.nodes > 1 and strategy in ("auto", "ddp"):
        # some settings of the network leave a part without gradient; batch norms stay each process's own
        strategy = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)
    fabric = Fabric(
        accelerator="cuda" if on_gpu else "cpu",
        devices=run.devices,
        num_nodes=run.nodes,
        strategy=strategy,
        precision=precision,
    )
    fabric.launch()
    return fabric


def check_batch(config: TrainingConfig, world: int) -> None:
    """Raise `InputError` for a batch that cannot be shared among a run's processes."""
    if config.batch_size % world or config.batch_size < 2 * world:  # batch norm wants two
        raise InputError(
            f"A batch of {config.batch_size} cannot be shared among {world} processes, two or more each. "
            "Give a --batch-size that can."
        )


def leave_fabric(fabric: Fabric) -> None:
    """Leave the group of a run's processes: its threads sometimes abort a process that ends with them."""
    if fabric.world_size > 1 and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
