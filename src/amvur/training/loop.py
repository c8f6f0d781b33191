"""The training loop, explicit, on Lightning Fabric: one or many devices, resumable to the bit on a CPU.

Step t draws everything (pictures, augmentation, dropout) from generators seeded by the run's seed and t,
so a resumed run needs no generator's state.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from amvur.errors import InputError
from amvur.threads import threads_for
from amvur.training.augment import as_pixels
from amvur.training.batches import augmented, make_pool
from amvur.training.config import TrainingConfig
from amvur.training.logs import RunLog, Window, show_step, step_bar
from amvur.training.loss_module import Labels, LossModule
from amvur.training.optimization import AveragedNetwork, learning_rate, make_optimizer
from amvur.training.pool import PoolConfig, SamplePool
from amvur.training.preparation import NO_FURTHER_STEP, TimeIsUp, TrainingError
from amvur.training.randomness import make_generator, mixed_seed
from amvur.training.run_clock import RunClock
from amvur.training.run_options import Parts, Result, RunOptions, check_batch, leave_fabric, make_fabric
from amvur.training.run_state import (
    BEST,
    LAST,
    POOL,
    STATE,
    Progress,
    check_folder,
    load_state,
    save_average,
    save_state,
)
from amvur.training.sources import SkippedSamples, Source
from amvur.training.stopping import StopRequest, start_fork_server
from amvur.training.targets import targets_of
from amvur.training.validation import Validation

MAX_SKIPPED_IN_A_ROW = 50


def train(
    parts: Parts,
    config: TrainingConfig,
    output: Path,
    source: Source,
    held_out: Source | None,
    run: RunOptions | None = None,
) -> Result:
    """Train and leave `last/`, `state.pt` and `log.csv` in `output`; see `RunOptions`.

    `held_out` are pictures of another seed, or `HeldOut` of the same data; None measures nothing. Raises
    `InputError` for settings or data that cannot work, `OutputError` where the folder cannot be written or
    holds another run, `PoolError` if the making of pictures fails, and `TrainingError` after 50 steps in a
    row without a finite gradient, or for a run without any step.
    """
    run = run or RunOptions()
    if held_out is not None and source.identity() == held_out.identity():
        raise InputError("The held-out pictures are those of training. Give them another seed.")
    check_folder(output, run.resume)
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
        self.config, self.output, self.run, self.parts = config, output, run, parts
        self.fabric = make_fabric(run, config)
        self.clock = RunClock(run, self.fabric)
        self.device = self.fabric.device
        self.world, self.rank = self.fabric.world_size, self.fabric.global_rank
        check_batch(config, self.world)
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

    def begin(self, source: Source, held_out: Source | None) -> None:
        """Resume, make the pictures that the first step needs, and open the log.

        Without time left for it the run is over before its next step.
        """
        run = self.run
        if run.resume and (self.output / STATE).exists():
            self.progress = load_state(
                self.output, self.network, self.average, self._optimizer, self.parts.network_config
            )
        self.validation = Validation(self.hand, self.progress)
        self.clock.before = self.progress.seconds
        self._ready = not self._is_over(self.progress.seconds)
        if not self._ready:
            return
        run.preparation.limit_s, run.preparation.option = run.limit_s(self.progress.seconds)
        try:
            run.preparation.check()
            self._prepare(source, held_out)
        except TimeIsUp:
            self._ready = False
        self._ready = self._all_agree(self._ready)
        self._saved_at = time.monotonic()

    def _prepare(self, source: Source, held_out: Source | None) -> None:
        """Make the first pictures; raises `TimeIsUp`."""
        config, run, preparation = self.config, self.run, self.run.preparation
        self.pool = make_pool(source, self.parts.image_px, config, run, self.rank, self.threaded, self.device)
        self._pool_file = self.output / (POOL if self.rank == 0 else f"{self.rank}-{POOL}")
        self._pool_saved = 0
        if run.keep_pool and self.pool.load(self._pool_file):
            self._pool_saved = self.pool.rendered
        if run.workers:
            start_fork_server()
        if self.rank == 0:
            self.output.mkdir(parents=True, exist_ok=True)
            if held_out is not None:
                self._hold_out(held_out, self.pool.skipped)
        chunks = range(0, min(config.pool_start, config.pool_size), self.pool.config.chunk)
        for done in preparation.each(chunks, "first pictures, by sixteens", len(chunks)):
            self.pool.fill(min(done + self.pool.config.chunk, config.pool_start))
        if self.rank == 0:
            self.log = RunLog(self.output, self.progress.step)
            preparation.say(f"training begins after {time.monotonic() - preparation.began:.0f} s")

    def _hold_out(self, source: Source, skipped: SkippedSamples) -> None:
        """Make the held-out pictures and, before the first step, measure them."""
        preparation = self.run.preparation
        config = PoolConfig(self.config.held_out, self.parts.image_px, workers=self.run.workers)
        self.validation.draw(source, config, self.output, self.run.upright, skipped, preparation)
        if self.progress.step == 0:
            for _ in preparation.each((0,), "errors before the first step", 1):
                self.validation.measure(self.average.module)
            preparation.say(f"before the first step: {self.validation.errors() or 'nothing to measure'}")

    def run_steps(self) -> Result:
        """Make steps until the run's end, the end of its time or Ctrl-C; save at the end.

        Raises `TrainingError` for a run without a step.
        """
        progress, elapsed, stopped = self.progress, self.clock.elapsed(self.progress), False
        over = not self._ready or self._is_over(elapsed)
        if over and progress.step == 0:
            raise self.run.preparation.no_time()
        if over:
            self.run.preparation.say(NO_FURTHER_STEP)
            return self._result(elapsed, stopped)
        self._window = Window(self.config.batch_size)
        with StopRequest() as stop, threads_for(self.config.batch_size // self.world):
            shown = False if self.rank else self.run.show_progress
            with step_bar(progress.step, self.config.steps, shown) as bar:
                while not over and not stopped:
                    began = time.monotonic()
                    loss, terms = self._step(elapsed)
                    self.clock.step_s = time.monotonic() - began
                    self._window.add(loss)
                    bar.update()
                    elapsed = self.clock.elapsed(self.progress)
                    over = self._is_over(elapsed)
                    if self.rank == 0:
                        row = self._after_step(terms, last=over)
                        show_step(bar, row | self.validation.row(), progress.step, self.run.preparation)
                    stopped = not self._all_agree(not stop.made)
            if progress.step == progress.skipped:
                raise TrainingError(
                    f"None of {progress.step} steps was made: loss or gradient was never finite. Lower the "
                    "learning rate, or look at the pictures' labels."
                )
            if self.rank == 0 or self.run.keep_pool:
                self._save(self.clock.used(elapsed) if over else elapsed)
        return self._result(elapsed, stopped)

    def _result(self, elapsed: float, stopped: bool) -> Result:
        """Say how the run ended."""
        progress = self.progress
        finished = progress.step >= self.config.steps or self.clock.is_whole(elapsed)
        skipped = () if self.pool is None else self.pool.skipped.summary()
        held_out, interrupted = self.validation.errors(), stopped and not finished
        return Result(progress.step, elapsed, progress.skipped, held_out, finished, interrupted, skipped)

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
        images = augmented(images, self.hand, generator, self.run)
        # dropout has no generator of its own
        torch.manual_seed(mixed_seed(self.config.seed, step, self.rank, 2))
        pixels = as_pixels(images.images)
        if self.device.type == "cuda":
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        return pixels, Labels(targets_of(images, self.hand), step, generator)

    def _after_step(self, terms: dict[str, Tensor], last: bool) -> dict[str, float | int]:
        """Evaluate, report and save where it is time; returns the row of the log, if there is one."""
        config, progress = self.config, self.progress
        assert self.pool is not None
        assert self.log is not None
        row: dict[str, float | int] = {}
        if last or progress.step % config.evaluate_every == 0:
            row = self.validation.measure(self.average.module)
            if row and self.validation.is_best() and self.rank == 0:
                self._save_average(BEST)
        if last or row or progress.step % config.log_every == 0:
            row |= {
                "step": progress.step,
                "learning_rate": self._optimizer.param_groups[0]["lr"],
                "seconds": self.clock.here(),
                "pool": self.pool.rendered,
                "skipped": progress.skipped,
                "skipped_samples": len(self.pool.skipped),
                **self._window.close(),
                **{name: float(value.detach()) for name, value in terms.items()},
            }
            self.log.write(row)
        if not last and time.monotonic() - self._saved_at >= config.save_every_s:
            self._save(self.clock.here())
        return row

    def _save(self, elapsed: float) -> None:
        """Write state, averaged weights and, where it has grown, the pool."""
        assert self.pool is not None
        self.progress.seconds = elapsed
        if self.rank == 0:
            config = self.parts.network_config
            save_state(self.output, self.network, self.average, self._optimizer, self.progress, config)
            self._save_average(LAST)
        if self.run.keep_pool and min(self.pool.rendered, self.config.pool_size) > 1.25 * self._pool_saved:
            self.pool.save(self._pool_file)
            self._pool_saved = self.pool.rendered
        self._saved_at = time.monotonic()

    def _save_average(self, name: str) -> None:
        """Write the averaged weights as a checkpoint with its card."""
        assert self.pool is not None
        card = {"amvur": version("amvur"), "step": self.progress.step, **self.run.card}
        card |= self.validation.row()
        card["skipped_samples"] = self.pool.skipped.counts()
        hand = (self.hand.name, self.hand.arrays.sha256)
        save_average(self.output / name, self.average, self.parts.network_config, hand, card)

    def _is_over(self, elapsed: float) -> bool:
        """Say whether all steps are made or the time does not suffice for another one."""
        return self.progress.step >= self.config.steps or self.clock.is_over(elapsed)

    def _all_agree(self, good: bool) -> bool:
        """Say whether something is true in all processes."""
        if self.world == 1:
            return good
        bad = self.fabric.all_reduce(torch.tensor(float(not good), device=self.device), reduce_op="sum")
        return float(bad) == 0
