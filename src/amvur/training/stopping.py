"""Ctrl-C while a network is trained: the run ends between two steps, so that what is saved is whole."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from multiprocessing import forkserver
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """Within it, the first Ctrl-C only sets `made`; the second one raises `KeyboardInterrupt`.

    Does nothing outside the main thread, to which signals belong, and where Ctrl-C is ignored (a run in the
    background of a shell).
    """

    def __init__(self) -> None:
        """Begin without a request."""
        self.made = False
        self._before: Any = None

    def __enter__(self) -> StopRequest:
        """Take over Ctrl-C."""
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give Ctrl-C back."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.made = True


@contextlib.contextmanager
def ctrl_c_later() -> Iterator[None]:
    """Let what is within it be done before Ctrl-C has its effect."""
    with StopRequest() as stop:
        yield
    if stop.made:
        signal.raise_signal(signal.SIGINT)


def start_fork_server() -> None:
    """Start the process that workers come from with Ctrl-C ignored, as they then do from their first moment.

    A terminal sends Ctrl-C to all processes; workers that end by it leave a traceback each and a run that
    cannot finish its step. Does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)
