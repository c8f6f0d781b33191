"""All-or-nothing writing: a reader never meets half a file, nor half of a picture's results."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
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
    errno.ENAMETOOLONG: "The name is too long: rename the photograph.",
}


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write all files or, when one cannot be written, none of them.

    Everything is first written under temporary names in the files' own folders (a full disk shows
    here) and then renamed over the targets. Folders are made as needed. Raises `OutputError`.
    """
    staged: dict[Path, Path] = {}
    path = Path()
    try:
        for path, data in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            staged[path] = path.with_name(f".amvur-{uuid4().hex[:12]}.tmp")
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


def explain(path: Path, error: OSError) -> str:
    """Say in one line which `path` could not be written, why, and what to do about it."""
    remedy = _REMEDIES.get(error.errno or 0, "Check the folder or choose another one.")
    return f"Cannot write {path}: {error.strerror or error}. {remedy}"
