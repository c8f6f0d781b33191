"""What a run does before its first step: told as it goes on, and ended by the run's time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from amvur.errors import AmvurError

TELL_EVERY_S = 5.0
NO_FURTHER_STEP = (
    "no further step: steps or time of this run are used up. Give more with --steps, --max-seconds or "
    "--stop-after."
)

T = TypeVar("T")


class TrainingError(AmvurError):
    """A run cannot go on."""


class TimeIsUp(TrainingError):
    """The time of a run went into its preparation."""


def silent(_: str) -> None:
    """Tell nobody."""


class Preparation:
    """The clock of a run from its first moment: says what is prepared and how far it is.

    `limit_s` is the time from then on (None: no limit), `option` what the user gave it by.
    """

    def __init__(
        self, say: Callable[[str], None] = silent, limit_s: float | None = None, option: str = "--max-seconds"
    ) -> None:
        """Start the clock."""
        self.began = time.monotonic()
        self.say, self.limit_s, self.option = say, limit_s, option
        self._spent: dict[str, float] = {}
        self._told = self.began

    def each(self, items: Iterable[T], what: str, total: int) -> Iterator[T]:
        """Yield items, tell how many of `total` are done, and count the time as spent on `what`.

        Raises `TimeIsUp` where the limit is passed.
        """
        began = self._told = time.monotonic()
        self.say(f"preparing: {what} ({total})")
        for done, item in enumerate(items):
            now = time.monotonic()
            self._spent[what] = now - began
            self.check()
            self.say_now_and_then(f"preparing: {what}, {done} of {total} after {now - began:.0f} s")
            yield item
        self._spent[what] = time.monotonic() - began
        self.check()

    def say_now_and_then(self, text: str) -> None:
        """Say something unless something was said a moment ago."""
        now = time.monotonic()
        if now - self._told >= TELL_EVERY_S:
            self.say(text)
            self._told = now

    def check(self) -> None:
        """Raise `TimeIsUp` where the limit is passed."""
        if self.limit_s is not None and time.monotonic() - self.began >= self.limit_s:
            raise self.no_time()

    def no_time(self) -> TimeIsUp:
        """Return the error that says where the time went."""
        parts = dict(self._spent)
        other = time.monotonic() - self.began - sum(parts.values())
        told = ", ".join(f"{what} {seconds:.0f} s" for what, seconds in parts.items())
        told = f"{told}, loading {other:.0f} s" if told else f"loading {other:.0f} s"
        return TimeIsUp(
            f"No step was made: the {self.limit_s or 0:.3g} s of {self.option} went into preparing ({told}). "
            f"Give more with {self.option}, or let less be prepared: a smaller --held-out, --batch-size or "
            "--pool-size, or --workers."
        )
