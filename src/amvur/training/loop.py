"""The training loop, explicit, on Lightning Fabric: one or many devices, resumable to the bit on a CPU.

Step t draws everything (pictures, augmentation, dropout) from generators seeded by the run's seed and t,
so a resumed run needs no generator's state.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from amvur.errors import InputError, OutputError
from amvur.models.upright import UprightNetwork
from amvur.training.augment import as_pixels, augment
from amvur.training.config import TrainingConfig
from amvur.training.held_out import draw_held_out, pa_mpjpe_mm
from amvur.training.logs import RunLog, shown_of
from amvur.training.loss_module import Labels, LossModule
from amvur.training.optimization import AveragedNetwork, learning_rate, make_optimizer
from amvur.training.pool import RANK_STRIDE, PoolConfig, SamplePool
from amvur.training.randomness import make_generator, mixed_seed
from amvur.training.run_options import Parts, Result, RunOptions, TrainingError, leave_fabric, make_fabric
from amvur.training.run_state import POOL, STATE, Progress, load_state, save_last, save_state
from amvur.training.sources import Source
from amvur.training.stopping import StopRequest, start_fork_server
from amvur.training.targets import targets_of
from amvur.training.upright_views import upright_view

MAX_SKIPPED_IN_A_ROW = 50


def train(
    parts: Parts,
    config: TrainingConfig,
    output: Path,
    source: Source,
    held_out: Source,
    run: RunOptions | None = None,
) -> Result:
    """Train and leave `last/`, `state.pt` and `log.csv` in `output`; see `RunOptions`.

    `held_out` are pictures of another seed. Raises `InputError` for settings or data that cannot work,
    `OutputError` where the folder cannot be written or holds another run, `PoolError` if the making of
    pictures fails, and `TrainingError` after 50 steps in a row without a finite gradient.
    """
    run = run or RunOptions()
    if source.identity() == held_out.identity():
        raise InputError("The held-out pictures are those of training. Give them another seed.")
    if (output / STATE).exists() and not run.resume:
        raise OutputError(f"{output} holds a run already. Add --resume to go on, or choose another folder.")
    trainer = Trainer(parts, config, output, run)
    try:
        trainer.begin(source, held_out)
        return trainer.run_steps()
    finally:
        trainer.close()


class Trainer:
    """One run: everything that lives from its first step to its last."""

    def __init__(self, parts: Parts, config: TrainingConfig, output: Path, run: RunOptions) -> None:
        """Start the run's processes and place the network; raises `InputError`."""
        self._started = time.monotonic()
        self.config, self.output, self.run, self.parts = config, output, run, parts
        self.fabric = make_fabric(run, config)
        self.device, self.world, self.rank = (
            self.fabric.device,
            self.fabric.world_size,
            self.fabric.global_rank,
        )
        if config.batch_size % self.world or config.batch_size < 2 * self.world:  # batch norm wants two
            raise InputError(
                f"A batch of {config.batch_size} cannot be shared among {self.world} processes, two or more "
                "each. Give a --batch-size that can."
            )
        self.threaded = self.device.type == "cuda" if run.threaded is None else run.threaded
        self.hand = parts.hand.to(self.device)
        self.network = parts.network.to(self.device).train()
        if self.device.type == "cuda":
            self.network.to(memory_format=torch.channels_last)
        self._optimizer = make_optimizer(self.network, config)
        self._module, self._wrapped = self.fabric.setup(
            LossModule(self.network, parts.objective), self._optimizer
        )
        self.average = AveragedNetwork(self.network, config.ema_decay)
        self.progress = Progress()
        self.pool: SamplePool | None = None
        self.log: RunLog | None = None

    def begin(self, source: Source, held_out: Source) -> None:
        """Resume, make the pictures that the first step needs, and open the log."""
        config, run = self.config, self.run
        if run.resume and (self.output / STATE).exists():
            self.progress = load_state(
                self.output, self.network, self.average, self._optimizer, self.parts.network_config
            )
        self._seconds_before = self.progress.seconds
        self.pool = SamplePool(
            source,
            PoolConfig(
                config.pool_size,
                self.parts.image_px,
                start=self.rank * RANK_STRIDE if self.threaded else 0,
                workers=run.workers,
                threaded=self.threaded,
                replace=self.threaded and run.replace_pictures,
            ),
            self.device,
        )
        self._pool_file = self.output / (POOL if self.rank == 0 else f"{self.rank}-{POOL}")
        self._pool_saved = 0
        if run.keep_pool and self.pool.load(self._pool_file):
            self._pool_saved = self.pool.rendered
        if run.workers:
            start_fork_server()
        if self.rank == 0:
            self.output.mkdir(parents=True, exist_ok=True)
            self._held_out = draw_held_out(held_out, config.held_out, self.parts.image_px, run.workers).to(
                self.device
            )
            self.log = RunLog(self.output, self.progress.step)
        self.pool.fill(config.pool_start)
        self._saved_at = time.monotonic()

    def run_steps(self) -> Result:
        """Make steps until the run's end, the end of its time or Ctrl-C; save at the end."""
        config, progress = self.config, self.progress
        hidden = True if self.rank else None if self.run.show_progress is None else not self.run.show_progress
        self._window: list[float] = []
        self._window_began = time.monotonic()
        elapsed, stopped = self._elapsed(), False
        over = self._is_over(elapsed)
        with StopRequest() as stop:
            with tqdm(total=config.steps, initial=progress.step, unit="step", disable=hidden) as bar:
                while not over and not stopped:
                    loss, terms = self._step(elapsed)
                    self._window.append(loss)
                    bar.update()
                    elapsed = self._elapsed()
                    over = self._is_over(elapsed)
                    if self.rank == 0:
                        self._after_step(bar, terms, last=over)
                    stopped = not self._all_agree(not stop.made)
            if self.rank == 0 or self.run.keep_pool:
                self._save(elapsed)
        return self._result(elapsed, stopped)

    def _result(self, elapsed: float, stopped: bool) -> Result:
        """Say how the run ended."""
        assert self.pool is not None
        progress = self.progress
        finished = self.run.share_done(progress.step / self.config.steps, elapsed) >= 1
        return Result(
            progress.step,
            elapsed,
            progress.skipped,
            progress.held_out_mm,
            finished,
            stopped and not finished,
            self.pool.skipped.summary(),
        )

    def close(self) -> None:
        """Stop threads and workers, close the log, leave the other processes."""
        for part in (self.pool, self.log):
            if part is not None:
                part.close()
        leave_fabric(self.fabric)

    def _step(self, elapsed: float) -> tuple[float, dict[str, Tensor]]:
        """Make one step; where loss or gradient is not finite, weights stay as they are."""
        config, step = self.config, self.progress.step
        rate = learning_rate(config, step, self.run.share_done(step / config.steps, elapsed))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        pixels, labels = self._batch(step)
        self._wrapped.zero_grad(set_to_none=True)
        loss, terms = self._module(pixels, labels)
        self.fabric.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        self.progress.step += 1
        if self._all_agree(bool(torch.isfinite(loss.detach()) & torch.isfinite(norm))):
            self._wrapped.step()
            self.average.update(self.network, self.progress.step)
            self.progress.skipped_in_a_row = 0
        else:
            self._skip()
        return float(loss.detach()), terms

    def _skip(self) -> None:
        """Count a step that was not made; raises `TrainingError` when there are too many."""
        self.average.restore_buffers(self.network)
        self.progress.skipped += 1
        self.progress.skipped_in_a_row += 1
        if self.progress.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f"Loss or gradient was not finite in {MAX_SKIPPED_IN_A_ROW} steps in a row, up to step "
                f"{self.progress.step}. Lower the learning rate; {self.output} holds the last good state."
            )

    def _batch(self, step: int) -> tuple[Tensor, Labels]:
        """Return this process's share of the pictures of a step, and their targets."""
        assert self.pool is not None
        size = self.config.batch_size // self.world
        if self.threaded:
            images = self.pool.sample(size, make_generator(self.config.seed, step, self.rank, 0))
        else:
            self.pool.fill(self.config.pool_start + step * self.config.pool_per_step)
            draw = make_generator(self.config.seed, step, 0, 0)
            places = torch.randint(len(self.pool), (self.config.batch_size,), generator=draw)
            images = self.pool.take(places[self.rank * size : (self.rank + 1) * size])
        generator = make_generator(self.config.seed, step, self.rank, 1, self.device)
        if self.run.augment is not None:
            if self.run.upright:
                images = upright_view(images, self.hand, generator, self.run.augment)
            else:
                images = augment(images, self.hand, generator, self.run.augment)
        # dropout has no generator of its own
        torch.manual_seed(mixed_seed(self.config.seed, step, self.rank, 2))
        pixels = as_pixels(images.images)
        if self.device.type == "cuda":
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        return pixels, Labels(targets_of(images, self.hand), step, generator)

    def _after_step(self, bar: tqdm, terms: dict[str, Tensor], last: bool) -> None:
        """Evaluate, report and save where it is time."""
        config, progress = self.config, self.progress
        row: dict[str, float | int] = {}
        if last or progress.step % config.evaluate_every == 0:
            network = self.average.module
            shown = UprightNetwork(network) if self.run.upright else network  # type: ignore[arg-type]
            progress.held_out_mm = float(pa_mpjpe_mm(shown, self._held_out, self.hand).mean())
            row["held_out_pa_mpjpe_mm"] = progress.held_out_mm
        if row or progress.step % config.log_every == 0:
            self._report(bar, terms, row)
        if not last and time.monotonic() - self._saved_at >= config.save_every_s:
            self._save(self._seconds_before + time.monotonic() - self._started)

    def _report(self, bar: tqdm, terms: dict[str, Tensor], row: dict[str, float | int]) -> None:
        """Write a line: the mean loss since the last one, the terms of this step."""
        assert self.pool is not None
        assert self.log is not None
        now, count = time.monotonic(), len(self._window)
        row |= {
            "step": self.progress.step,
            "loss": float(np.mean(self._window)),
            "learning_rate": self._optimizer.param_groups[0]["lr"],
            "seconds": self._seconds_before + now - self._started,
            "images_per_s": count * self.config.batch_size / max(now - self._window_began, 1e-9),
            "pool": self.pool.rendered,
            "skipped": self.progress.skipped,
            "skipped_samples": len(self.pool.skipped),
        }
        row |= {name: float(value.detach()) for name, value in terms.items()}
        self.log.write(row)
        bar.set_postfix(shown_of(row | {"held_out_pa_mpjpe_mm": self.progress.held_out_mm}))
        self._window, self._window_began = [], now

    def _save(self, elapsed: float) -> None:
        """Write state, averaged weights and, where it has grown, the pool."""
        assert self.pool is not None
        self.progress.seconds = elapsed
        if self.rank == 0:
            config = self.parts.network_config
            save_state(self.output, self.network, self.average, self._optimizer, self.progress, config)
            card = {"amvur": version("amvur"), "step": self.progress.step, **self.run.card}
            card["held_out_pa_mpjpe_mm"] = self.progress.held_out_mm
            card["skipped_samples"] = self.pool.skipped.counts()
            hand = (self.hand.name, self.hand.arrays.sha256)
            save_last(self.output, self.average, config, hand, card)
        if self.run.keep_pool and min(self.pool.rendered, self.config.pool_size) > 1.25 * self._pool_saved:
            self.pool.save(self._pool_file)
            self._pool_saved = self.pool.rendered
        self._saved_at = time.monotonic()

    def _elapsed(self) -> float:
        """Return the run's seconds, the same in all processes."""
        seconds = self._seconds_before + time.monotonic() - self._started
        if self.world == 1 or (self.run.max_seconds is None and self.run.stop_after_s is None):
            return seconds
        value = self.fabric.all_reduce(torch.tensor(seconds, device=self.device), reduce_op="max")
        return float(value)

    def _is_over(self, elapsed: float) -> bool:
        """Say whether all steps are made or the time is used up."""
        return self.progress.step >= self.config.steps or self.run.is_over(elapsed, self._seconds_before)

    def _all_agree(self, good: bool) -> bool:
        """Say whether something is true in all processes."""
        if self.world == 1:
            return good
        bad = self.fabric.all_reduce(torch.tensor(float(not good), device=self.device), reduce_op="sum")
        return float(bad) == 0
