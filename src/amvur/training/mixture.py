"""Sets of numbered pictures, mixed by weight, as the source that a pool is filled from.

Picture i of a source depends on its seed and i alone, so that workers, pauses and restarts change nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from amvur.data.samples import HandBatch
from amvur.errors import AmvurError, InputError
from amvur.training.sources import Delivery, Skipped
from amvur.training.targets import LabelledImages, as_right_hands

MAX_BAD_IN_A_ROW = 50
MIN_GROUPS = 5
"""Of fewer samples that show something different none are held out; of more a fifth at most."""


class Pictures(Protocol):
    """Pictures by number."""

    def picture(self, number: int) -> Delivery:
        """Return picture `number` (from 0) as a batch of one."""
        ...


class Numbered(Pictures, Protocol):
    """Pictures by number, without end."""

    def identity(self) -> dict[str, Any]:
        """Return all that the pictures depend on."""
        ...


class ShuffledSet(ABC):
    """A stored set in an order drawn anew for every round; samples that cannot be used are passed over."""

    def __init__(self, name: str, count: int, seed: int) -> None:
        """Remember what skipped samples are told by, and the number of samples."""
        self.name, self.count, self.seed = name, count, seed
        self.places = np.arange(count)
        """The samples that are trained on."""

    @abstractmethod
    def image(self, index: int) -> LabelledImages:
        """Return a sample as a batch of one; raises `AmvurError` for one that cannot be used."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return all that the pictures depend on."""

    def group(self, index: int) -> str:
        """Return what a sample has in common with others that show the same: each is its own by default."""
        return str(index)

    def hold_out(self, count: int) -> tuple[int, ...]:
        """Take about `count` samples out of those trained on, and return them.

        Groups go as a whole, chosen by a hash of seed and name (so that new samples change little); never
        more than a fifth of them, so that none are held out of a set of fewer than five.
        """
        groups = np.array([self.group(index) for index in range(self.count)])
        names = sorted(set(groups.tolist()), key=lambda n: sha256(f"{self.seed}/{n}".encode()).digest())
        held = np.zeros(self.count, bool)
        for name in names[: len(names) // MIN_GROUPS]:
            if held.sum() >= count:
                break
            held |= groups == name
        self.places = np.flatnonzero(~held)
        found = np.flatnonzero(held)
        spread = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
        return tuple(found[spread].tolist())

    def picture(self, number: int) -> Delivery:
        """Return a picture, or the next usable one; raises `InputError` after 50 bad ones in a row."""
        skipped: list[Skipped] = []
        for k in range(number, number + MAX_BAD_IN_A_ROW):
            count = len(self.places)
            index = int(self.places[_order(count, self.seed, k // count)[k % count]])
            try:
                return Delivery(self.image(index), tuple(skipped))
            except AmvurError as error:
                skipped.append(Skipped(self.name, index, str(error)))
        raise InputError(
            f"{self.name}: {MAX_BAD_IN_A_ROW} samples in a row cannot be used. The last: {skipped[-1].reason}"
        )


class Rendered(Protocol):
    """What renders hands: `SyntheticHands`."""

    def batch(self, indices: Sequence[int]) -> HandBatch:
        """Return hands by number."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return all that the pictures depend on."""
        ...


@dataclass(frozen=True)
class Renders:
    """Synthetic hands as one of the sets of a mixture."""

    hands: Rendered

    def picture(self, number: int) -> Delivery:
        """Render a picture."""
        return Delivery(as_right_hands(self.hands.batch([number])))

    def identity(self) -> dict[str, Any]:
        """Return all that the pictures depend on."""
        return self.hands.identity()


class Mixture:
    """Pictures of several sets, each drawn with a probability proportional to its weight; a `Source`."""

    def __init__(self, sets: Sequence[Numbered], weights: Sequence[float], seed: int = 0) -> None:
        """Weights are above 0 and need not sum to 1."""
        self.sets, self.seed = tuple(sets), seed
        self.shares = np.asarray(weights, dtype=np.float64) / np.sum(weights)

    @property
    def count(self) -> int | None:
        """The number of different pictures, where it is that of a single stored set; otherwise None."""
        (first, *others) = self.sets
        return len(first.places) if isinstance(first, ShuffledSet) and not others else None

    def choice(self, number: int) -> int:
        """Return the place of the set that picture `number` comes from."""
        draw = np.random.default_rng((self.seed, number)).random()
        return min(int(np.searchsorted(np.cumsum(self.shares), draw, "right")), len(self.sets) - 1)

    def picture(self, number: int) -> Delivery:
        """Return picture `number`: that of the same number of its set, which so is never counted through."""
        return self.sets[self.choice(number)].picture(number)

    def stream(self, start: int, count: int | None, batch_size: int) -> IterableDataset[Delivery]:
        """Return pictures start, start + 1, ... as a dataset of batches, each worker its share."""
        return NumberedStream(self, start, count, batch_size)

    def identity(self) -> dict[str, Any]:
        """Return all that the pictures depend on."""
        sets = [s.identity() for s in self.sets]
        return {"mixture": sets, "shares": self.shares.tolist(), "seed": self.seed}


class NumberedStream(IterableDataset[Delivery]):
    """Batches of numbered pictures, dealt to workers in turn."""

    def __init__(self, pictures: Pictures, start: int, count: int | None, batch_size: int) -> None:
        """Remember what to yield: `count` pictures from `start`, endless where it is None."""
        self._pictures, self._start, self._count, self._size = pictures, start, count, batch_size

    def __iter__(self) -> Iterator[Delivery]:
        """Yield this worker's share."""
        info = get_worker_info()
        turn, step = (0, 1) if info is None else (info.id, info.num_workers)
        end = None if self._count is None else self._start + self._count
        while end is None or self._start + turn * self._size < end:
            first = self._start + turn * self._size
            last = first + self._size if end is None else min(first + self._size, end)
            yield _join([self._pictures.picture(number) for number in range(first, last)])
            turn += step


def _join(parts: Sequence[Delivery]) -> Delivery:
    """Return several deliveries as one."""
    names = [field.name for field in fields(LabelledImages)]
    images = {name: torch.cat([getattr(part.images, name) for part in parts]) for name in names}
    return Delivery(LabelledImages(**images), tuple(sample for part in parts for sample in part.skipped))


@lru_cache(maxsize=8)
def _order(count: int, seed: int, turn: int) -> np.ndarray:
    """Return the order of a data set's samples in one round."""
    return np.random.default_rng((seed, count, turn)).permutation(count)
