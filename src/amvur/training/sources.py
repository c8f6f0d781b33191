"""Where a pool's pictures come from, and what could not be used on the way."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from typing import Any, Protocol

from torch.utils.data import IterableDataset

from amvur.data.samples import HandBatch
from amvur.errors import AmvurError
from amvur.reading import parse_json
from amvur.settings import from_json
from amvur.training.targets import LabelledImages, as_right_hands

TOLD = 5
"""Samples of every data set whose faults are told; all are counted."""


@dataclass(frozen=True)
class Skipped:
    """A sample that cannot be used: its data set, its place there, and why (the file is named)."""

    dataset: str
    index: int
    reason: str


_FIELDS = tuple(field.name for field in fields(Skipped))


@dataclass(frozen=True)
class Delivery:
    """Pictures, and the samples that were passed over on the way to them."""

    images: LabelledImages
    skipped: tuple[Skipped, ...] = ()


class Source(Protocol):
    """Where pictures come from; `SyntheticHands` is one."""

    def stream(
        self, start: int, count: int | None, batch_size: int
    ) -> IterableDataset[HandBatch] | IterableDataset[Delivery]:
        """Return samples start, start + 1, ... as a dataset of batches, each worker its share."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return all that the samples depend on, in JSON's types."""
        ...


class RightHands(IterableDataset[Delivery | AmvurError]):
    """A stream of batches as right hands: workers send only what training needs.

    What a user can mend is sent as an error; raised in a worker, it would arrive as the text of a traceback.
    """

    def __init__(self, stream: IterableDataset[HandBatch] | IterableDataset[Delivery]) -> None:
        """Wrap a stream."""
        self.stream = stream

    def __iter__(self) -> Iterator[Delivery | AmvurError]:
        """Yield this worker's share."""
        try:
            for batch in self.stream:
                yield batch if isinstance(batch, Delivery) else Delivery(as_right_hands(batch))
        except AmvurError as error:
            yield error


class SkippedSamples:
    """The samples that a run could not use, each counted once however often it was met."""

    def __init__(self) -> None:
        """Begin with none."""
        self._met: dict[tuple[str, int], Skipped] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._met)

    def add(self, skipped: Iterable[Skipped]) -> None:
        """Count samples; the first of every data set are warned of at once."""
        for sample in skipped:
            if (sample.dataset, sample.index) not in self._met:
                self._met[sample.dataset, sample.index] = sample
                if self.counts()[sample.dataset] <= TOLD:
                    warnings.warn(f"skipped: {sample.reason}", stacklevel=2)

    def counts(self) -> dict[str, int]:
        """Return the number of samples of every data set that has some."""
        counts: dict[str, int] = {}
        for sample in list(self._met.values()):  # a thread may be adding
            counts[sample.dataset] = counts.get(sample.dataset, 0) + 1
        return counts

    def summary(self) -> tuple[tuple[str, ...], ...]:
        """Return lines for every data set that has some: how many, and why the first were skipped."""
        texts = []
        for name, count in self.counts().items():
            reasons = [s.reason for s in list(self._met.values()) if s.dataset == name][:TOLD]
            more = [f"  and {count - TOLD} more"] * (count > TOLD)
            told = "sample was" if count == 1 else "samples were"
            first = f"{name}: {count} {told} skipped in training:"
            texts.append((first, *(f"  {reason}" for reason in reasons), *more))
        return tuple(texts)

    def to_json(self) -> str:
        """Return them as text."""
        return json.dumps([astuple(sample) for sample in self._met.values()])


def skipped_from_json(text: str) -> tuple[Skipped, ...]:
    """Return what `SkippedSamples.to_json` wrote; raises `ValueError` or `TypeError` for anything else."""
    return tuple(from_json(Skipped, dict(zip(_FIELDS, row, strict=True))) for row in parse_json(text))
