"""What goes to the terminal: any locale, no stream at all, and no control characters from file names."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from typing import Any


class StreamError(Exception):
    """What was to be told cannot be, such as where the disk is full."""


def prepare_streams() -> None:
    """Let output streams show what they cannot encode as escapes; stand in for streams that are missing."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream.closed:  # a program without a console
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Return a text as one line without control characters: a name may hold any."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(*lines: str) -> None:
    """Write lines to stderr, between the lines of a progress bar if there is one."""
    from tqdm import tqdm

    if sys.stderr is None:  # called from Python, in a program without a console
        return
    with suppress(OSError, ValueError):  # there is nowhere to tell it
        tqdm.write("\n".join(map(printable, (f"amvur: {lines[0]}", *lines[1:]))), file=sys.stderr)
        sys.stderr.flush()


def tell(*lines: str) -> None:
    """Write lines to stdout; raises `BrokenPipeError` where nobody reads them any more, and `StreamError`."""
    try:
        print(*map(printable, lines), sep="\n", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        with suppress(OSError, ValueError):  # what is left in the stream would be tried again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise StreamError(f"Cannot write to stdout: {error.strerror or error}.") from error


@contextmanager
def told_warnings() -> Iterator[None]:
    """Tell warnings as all else is told, in a line each and without the place in the code."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd metadata, which are not used
        warnings.showwarning = lambda message, *_, **__: say(" ".join(str(message).split()))
        yield


@contextmanager
def escaped(*texts: str) -> Iterator[None]:
    """Escape what another library writes to stderr meanwhile, if `texts`, which it may quote, need it."""
    if all(map(str.isprintable, texts)):
        yield
        return
    try:
        with redirect_stderr(io.StringIO()) as written:
            yield
    finally:
        for line in written.getvalue().split("\n"):
            print(printable(line), file=sys.stderr)


def progress(things: Any = None, **options: Any) -> Any:
    """Return tqdm's bar over things, or to be updated; it shows on a terminal only."""
    from tqdm import tqdm

    return tqdm(
        things, disable=True if sys.stderr is None or sys.stderr.closed else None, leave=False, **options
    )
