"""What goes to the terminal: any locale, no stream at all, and no control characters from file names."""

from __future__ import annotations

import os
import sys


def prepare_streams() -> None:
    """Let output streams show what they cannot encode as escapes; stand in for streams that are missing."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # a program without a console
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Return a text as one line without control characters: a name may hold any."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(text: str) -> None:
    """Write a line to stderr, between the lines of a progress bar if there is one."""
    from tqdm import tqdm

    tqdm.write(printable(f"amvur: {text}"), file=sys.stderr)
    sys.stderr.flush()


def tell(text: str) -> None:
    """Write a line to stdout."""
    print(printable(text), flush=True)
