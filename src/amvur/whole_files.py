"""All-or-nothing writing: a reader never meets half a file, nor half of a picture's results."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from amvur.errors import OutputError

_REMEDIES = {
    errno.ENOSPC: "The disk is full: free some space or choose a folder on another disk.",
    errno.EDQUOT: "The disk quota is used up: free some space or choose a folder on another disk.",
    errno.EACCES: "Change the permissions or choose a folder that you may write to.",
    errno.EPERM: "Change the permissions or choose a folder that you may write to.",
    errno.EROFS: "The disk is read-only: choose a folder on another one.",
    errno.ENOTDIR: "A part of the path is a file: choose another folder.",
    errno.EEXIST: "A part of the path is a file: choose another folder.",
    errno.EISDIR: "A folder has the name of the file: move it away or choose another name.",
    errno.ENAMETOOLONG: "The name is too long: choose a shorter one, or rename the photograph.",
}


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary place in `path`'s folder (made if missing), put on the disk as `path` at the end.

    After an error or Ctrl-C nothing is left. Raises `OutputError` where something cannot be written, so
    that only writing belongs inside.
    """
    check_place(path)
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(explain(path, error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write all files or, when one cannot be written, none of them.

    Everything is first written under temporary names in the files' own folders (a full disk shows
    here) and then renamed over the targets. Folders are made as needed. Raises `OutputError`.
    """
    for path in contents:
        check_place(path)
    staged: dict[Path, Path] = {}
    path = Path()
    try:
        for path, data in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            staged[path] = _temporary(path)
            staged[path].write_bytes(data)
        for path, temporary in staged.items():
            os.replace(temporary, path)
    except OSError as error:
        raise OutputError(explain(path, error)) from error
    finally:  # after an interrupt (Ctrl-C) too
        for temporary in staged.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_file(path: Path | str, data: bytes) -> None:
    """Write one file atomically: see `write_files`."""
    write_files({Path(path): data})


def check_place(path: Path) -> None:
    """Raise `OutputError` for a path that no file can have: too long, empty, below a file."""
    try:
        if not path.name:
            raise ValueError("it names no file")
        path.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # ValueError: also a NUL in the path
        raise OutputError(explain(path, error)) from error


def explain(path: Path, error: OSError | ValueError) -> str:
    """Say in one line which `path` could not be written, why, and what to do about it."""
    number, reason = (error.errno, error.strerror) if isinstance(error, OSError) else (None, None)
    remedy = _REMEDIES.get(number or 0, "Check the folder or choose another one.")
    return f"Cannot write {path}: {reason or error}. {remedy}"


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what a process that was killed left of file `name`, or of all files of a folder of its own."""
    of_which = _tag(name) if name is not None else "[0-9a-f]" * 8
    for leftover in folder.glob(f".amvur-{of_which}-{'[0-9a-f]' * 12}.tmp"):
        leftover.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    """Return a temporary name beside a file, short whatever the file's own is, and known as the file's."""
    return path.with_name(f".amvur-{_tag(path.name)}-{uuid4().hex[:12]}.tmp")


def _tag(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
