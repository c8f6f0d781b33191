"""A pool of labelled pictures on the training device: rendering is slow, a picture can be seen many times."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import safetensors.torch
import torch
from jaxtyping import Int64
from safetensors import SafetensorError, safe_open
from torch import Generator, Tensor
from torch.utils.data import DataLoader

from amvur.errors import AmvurError, InputError, OutputError
from amvur.reading import check_tensors, reading
from amvur.threads import threads_for
from amvur.training.label_checks import check_labels, check_stored, stored_count
from amvur.training.sources import Delivery, RightHands, SkippedSamples, Source, skipped_from_json
from amvur.training.stopping import ctrl_c_later
from amvur.training.targets import LabelledImages
from amvur.whole_files import whole_file

RANK_STRIDE = 2**24
"""Every process of a run with filling threads draws its own pictures: process r's begin at r times this."""

POOL_BYTES = 64 * 2**30
"""The largest stored pool: that of 400,000 pictures of 224 px."""
_NAMES = tuple(field.name for field in fields(LabelledImages))


@dataclass(frozen=True)
class PoolConfig:
    """`threaded`: a thread fills, and with `replace` goes on, the oldest pictures making room.

    Without it the caller decides by `fill(n)`; the pool then holds samples start to start + n - 1 exactly,
    whatever the number of workers.
    """

    size: int
    image_px: int
    start: int = 0
    workers: int = 0
    chunk: int = 16
    threaded: bool = False
    replace: bool = False


class PoolError(AmvurError):
    """Pictures for training could not be made."""


class SourceEndedError(PoolError):
    """A source has no more pictures."""


class SamplePool:
    """Pictures and parameters in tensors allocated once, from which batches are drawn uniformly."""

    def __init__(self, source: Source, config: PoolConfig, device: torch.device | str = "cpu") -> None:
        """Allocate nothing yet; the first `fill` does, and starts workers and thread."""
        self.config, self.device = config, torch.device(device)
        self.skipped = SkippedSamples()
        self._source = source
        self._store: LabelledImages | None = None
        self._rendered = 0
        """How many samples were taken from the source, from `config.start` on."""
        self._batches: Iterator[Delivery | AmvurError] | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._closing = False

    def __len__(self) -> int:
        """Return how many pictures are there."""
        return min(self._rendered, self.config.size)

    @property
    def rendered(self) -> int:
        """Return how many pictures were ever put in."""
        return self._rendered

    def fill(self, count: int, timeout_s: float | None = None) -> None:
        """Return when `count` pictures (at most the pool's size) are there.

        Raises `PoolError` when workers or thread failed or the time is over, `InputError` for labels that
        cannot be used.
        """
        count = min(count, self.config.size)
        if not self.config.threaded:
            while self._rendered < count:
                self._put(self._next())
            return
        self._begin()
        with self._changed:
            if not self._changed.wait_for(lambda: self._failure or len(self) >= count, timeout_s):
                raise PoolError(
                    f"Only {len(self)} of {count} pictures were made in {timeout_s:g} s. Give more --workers."
                )
            self._check()

    def sample(self, count: int, generator: Generator) -> LabelledImages:
        """Draw `count` pictures uniformly, with repetition; `generator` is on the CPU.

        Raises `PoolError` where the filling thread failed or the pool is empty.
        """
        return self.take(torch.randint(max(len(self), 1), (count,), generator=generator))

    def take(self, places: Int64[Tensor, "N"]) -> LabelledImages:
        """Return the pictures at these places of the pool."""
        with self._changed:
            self._check()
            if self._store is None:
                raise PoolError("The pool is empty. Call fill() first.")
            return self._store[places.to(self.device)]

    def save(self, path: Path | str) -> None:
        """Write all pictures to one file, whole or not at all; raises `OutputError`."""
        path = Path(path)
        with self._changed:
            if self._store is None:
                return
            kept = {name: getattr(self._store, name)[: len(self)].cpu() for name in _NAMES}
            note = {"identity": self._identity(), "rendered": str(self._rendered)}
            note["skipped"] = self.skipped.to_json()
        with whole_file(path) as staged:
            try:
                safetensors.torch.save_file(kept, staged, note)
            except SafetensorError as error:  # also where the disk is full
                raise OutputError(f"Cannot write the pool {path}: {error}. Free some space.") from error

    def load(self, path: Path | str) -> bool:
        """Take the pictures of a file; False where there is none, or one of other pictures or damaged.

        A file has at most `POOL_BYTES` and takes twice its size. To be called before the first `fill`.
        """
        try:
            with reading(path, "a pool of pictures", ""):
                check_tensors(Path(path), POOL_BYTES)
                with safe_open(path, "pt") as file:
                    note = file.metadata() or {}
                    if note.get("identity") != self._identity():
                        return False
                    tensors = {name: file.get_tensor(name) for name in _NAMES}
                check_stored(tensors, self.config.image_px)
                batch = LabelledImages(**tensors)
                check_labels(batch, self.config.image_px)
                rendered, skipped = (
                    stored_count(note["rendered"]),
                    skipped_from_json(note.get("skipped", "[]")),
                )
        except AmvurError:
            return False
        if rendered < len(batch):
            return False
        if len(batch) > self.config.size:
            # whoever wanted fewer gets the first ones; a ring that went round has none
            if rendered > len(batch):
                return False
            batch, rendered = batch[: self.config.size], self.config.size
        elif rendered > len(batch) and len(batch) < self.config.size:
            return False
        self._put(Delivery(batch, skipped))
        self._rendered = rendered
        return True

    def close(self) -> None:
        """Stop thread and workers."""
        self._closing = True
        if self._thread is not None:
            self._thread.join(timeout=30)
        self._batches = None

    def _identity(self) -> str:
        """Return what the pictures depend on, as text."""
        own = {"start": self.config.start, "image_px": self.config.image_px}
        return json.dumps({**self._source.identity(), **own}, sort_keys=True, default=str)

    def _check(self) -> None:
        """Tell of a failure of the filling thread."""
        if isinstance(self._failure, AmvurError):
            raise self._failure
        if self._failure is not None:
            raise PoolError(
                f"The making of pictures failed: {self._failure!r}. The first lines of this error say where; "
                "with --workers 0 it happens in this process."
            ) from self._failure

    def _next(self) -> Delivery:
        """Return the next batch of the source."""
        if self._batches is None:
            with ctrl_c_later():  # a worker that is given half of its orders ends with a traceback
                self._batches = iter(self._loader())
        try:
            with threads_for(1):  # what is drawn here is drawn in small steps
                found = next(self._batches)
        except StopIteration:
            raise SourceEndedError(
                f"The source ended after {self._rendered} pictures, wanted {self.config.size}. "
                "Give a smaller --pool-size."
            ) from None
        except Exception as error:
            raise PoolError(
                f"The making of pictures failed: {error}. With --workers 0 it happens in this process."
            ) from error
        if isinstance(found, AmvurError):
            raise found
        return found

    def _loader(self) -> DataLoader[Delivery | AmvurError]:
        """Return a loader that goes on where the pool ends."""
        first = self.config.start + self._rendered
        stream = self._source.stream(first, None, self.config.chunk)
        workers = self.config.workers
        return DataLoader(
            RightHands(stream),
            batch_size=None,
            num_workers=workers,
            generator=torch.Generator(),
            multiprocessing_context="forkserver" if workers else None,
            worker_init_fn=_one_thread if workers else None,
            prefetch_factor=4 if workers else None,
        )

    def _put(self, delivery: Delivery) -> None:
        """Check pictures and write them behind the last ones, in the ring of the pool."""
        batch = delivery.images
        self.skipped.add(delivery.skipped)
        check_labels(batch, self.config.image_px)
        if not self.config.replace:
            batch = batch[: self.config.size - self._rendered]
        with self._changed:
            if self._store is None:
                self._store = _allocate(batch, self.config.size, self.device)
            places = (self._rendered + torch.arange(len(batch))) % self.config.size
            for name in _NAMES:
                getattr(self._store, name)[places.to(self.device)] = getattr(batch, name).to(self.device)
            self._rendered += len(batch)
            self._changed.notify_all()

    def _begin(self) -> None:
        """Start the filling thread, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="amvur-pool", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        """Fill until full (or for ever), and keep what went wrong for whoever draws next."""
        try:
            while not self._closing and (self.config.replace or self._rendered < self.config.size):
                self._put(self._next())
        except BaseException as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        finally:
            self._batches = None


def _allocate(like: LabelledImages, size: int, device: torch.device) -> LabelledImages:
    """Return room for `size` pictures; raises `InputError` where memory does not suffice."""
    try:
        return LabelledImages(
            **{
                name: torch.zeros(
                    (size, *getattr(like, name).shape[1:]), dtype=getattr(like, name).dtype, device=device
                )
                for name in _NAMES
            }
        )
    except RuntimeError as error:
        need = size * sum(getattr(like, name)[0].nbytes for name in _NAMES) / 1e9
        raise InputError(
            f"A pool of {size} pictures needs {need:.1f} GB: {error}. Lower --pool-size."
        ) from error


def _one_thread(_: int) -> None:
    """Let a worker compute on one thread; many workers would otherwise fight for the cores.

    Ctrl-C reaches every process of a terminal: the training process alone decides what to do then.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
