"""Writing a file as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from amvur.errors import OutputError

_TEMPORARY = ".amvur-{}.tmp"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary place in `path`'s folder (made if missing), renamed to `path` at the end.

    After an error or Ctrl-C nothing is left. Raises `OutputError` where something cannot be written, so
    that only writing belongs inside.
    """
    temporary = path.with_name(_TEMPORARY.format(uuid4().hex[:12]))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {error.strerror or error}. Choose another place or free some space."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of a process that was killed."""
    for leftover in folder.glob(_TEMPORARY.format("*")):
        leftover.unlink(missing_ok=True)
