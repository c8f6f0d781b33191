"""What a run leaves to be read: a CSV table that grows line by line, TensorBoard where it is installed."""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from amvur.errors import OutputError
from amvur.reading import read_bytes, reading
from amvur.training.preparation import Preparation
from amvur.whole_files import whole_file

LOG = "log.csv"
LOG_BYTES = 2**25
COLUMNS = (
    "step",
    "loss",
    "learning_rate",
    "seconds",
    "images_per_s",
    "pool",
    "skipped",
    "skipped_samples",
    "held_out_pa_mpjpe_mm",
    "held_out_2d_percent",
)


class RunLog:
    """Rows of numbers in `log.csv`, and the same as TensorBoard scalars under `tensorboard/`."""

    def __init__(self, folder: Path, resumed_step: int = 0) -> None:
        """Go on with the table of `folder`; rows after `resumed_step` are of steps done again: dropped.

        A table has at most `LOG_BYTES` and takes up to 40 times its size. Raises `OutputError` where it
        cannot be read or written.
        """
        self.path = folder / LOG
        self._columns: list[str] = []
        if self.path.exists():
            self._keep_until(resumed_step)
        self._board = _make_board(folder, resumed_step)  # last: it starts a thread

    def write(self, row: Mapping[str, float | int]) -> None:
        """Append a row; its names beyond `COLUMNS` become columns when the table is begun."""
        if not self._columns:
            self._columns = [*COLUMNS, *(name for name in row if name not in COLUMNS)]
            self._append(self._columns)
        self._append([_text(row.get(name)) for name in self._columns])
        if self._board is not None:
            for name, value in row.items():
                if name != "step":
                    self._board.add_scalar(name, value, int(row["step"]))
            self._board.flush()

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def _append(self, values: Sequence[str]) -> None:
        """Add a line to the table."""
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        try:
            with self.path.open("a", newline="") as stream:
                stream.write(line.getvalue())
        except OSError as error:
            raise OutputError(f"Cannot write {self.path}: {error.strerror or error}.") from error

    def _keep_until(self, step: int) -> None:
        """Drop rows after `step`, and half a row that a killed run left."""
        rows = read_log(self.path)
        if not rows:
            return
        self._columns = rows[0]
        kept = [
            row
            for row in rows[1:]
            if len(row) == len(rows[0]) and row[0].isdecimal() and len(row[0]) < 16 and int(row[0]) <= step
        ]
        with whole_file(self.path) as staged, staged.open("w", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([self._columns, *kept])


def read_log(path: Path) -> list[list[str]]:
    """Return the rows of a table, none where there is none; raises `OutputError` for any other file."""
    if not os.path.lexists(path):
        return []
    with reading(path, "the log of a run", "Move it away or choose another folder.", OutputError):
        text = read_bytes(path, LOG_BYTES).decode(errors="replace")
        # a line at a time: a quote that is not closed would run through all others
        rows = [row for line in text.splitlines() for row in csv.reader([line])]
    if rows and rows[0][:2] != list(COLUMNS[:2]):
        raise OutputError(
            f"{path} exists and is no log of amvur, so it is not overwritten. Move it away or choose another "
            "folder."
        )
    return rows


class Window:
    """The steps since the last row."""

    def __init__(self, batch_size: int) -> None:
        """Begin without steps."""
        self._batch_size = batch_size
        self._losses: list[float] = []
        self._began = time.monotonic()

    def add(self, loss: float) -> None:
        """Count a step."""
        self._losses.append(loss)

    def close(self) -> dict[str, float]:
        """Return mean loss and speed, and begin anew."""
        now, count = time.monotonic(), len(self._losses)
        speed = count * self._batch_size / max(now - self._began, 1e-9)
        loss = sum(self._losses) / max(count, 1)
        self._losses, self._began = [], now
        return {"loss": loss, "images_per_s": speed}


def step_bar(step: int, steps: int, shown: bool | None) -> tqdm:
    """Return a bar of steps on stderr, none without a stderr; `shown` None: on a terminal."""
    there = sys.stderr is not None and not sys.stderr.closed
    hidden = True if not there else None if shown is None else not shown
    return tqdm(total=steps, initial=step, unit="step", disable=hidden)


def show_step(bar: tqdm, row: Mapping[str, float | int], step: int, preparation: Preparation) -> None:
    """Show a step's row (which may lack all but what was measured) by the bar, or by lines without one."""
    if "loss" in row:
        bar.set_postfix(_shown_of(row))
    if bar.disable:
        limit = "" if preparation.limit_s is None else f" of {preparation.limit_s:.0f}"
        seconds = time.monotonic() - preparation.began
        preparation.say_now_and_then(f"step {step}, {seconds:.0f}{limit} s")


def _shown_of(row: Mapping[str, float | int | None]) -> dict[str, str]:
    """Return what a progress bar shows of a row."""
    shown = {"loss": f"{row['loss']:.4g}", "img/s": f"{row['images_per_s']:.0f}"}
    if row.get("held_out_pa_mpjpe_mm") is not None:
        shown["PA-MPJPE mm"] = f"{row['held_out_pa_mpjpe_mm']:.2f}"
    if row.get("held_out_2d_percent") is not None:
        shown["2D %"] = f"{row['held_out_2d_percent']:.2f}"
    if row["skipped"]:
        shown["skipped"] = str(row["skipped"])
    return shown


def _text(value: float | int | None) -> str:
    """Return a number with six digits; nothing for what was not measured."""
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _make_board(folder: Path, step: int) -> Any:
    """Return TensorBoard's writer, None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
