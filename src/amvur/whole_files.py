"""All-or-nothing writing: a reader never meets half a file, nor half of a picture's results."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from amvur.errors import OutputError

_DAY_S = 24 * 3600
_TEMPORARY = re.compile(r"\.amvur-[0-9a-f]{8}-([0-9a-f]{8})-([0-9]{1,10})-[0-9a-f]{8}\.tmp")
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
    place = temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield place
        with place.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(place, path)
    except OSError as error:
        raise OutputError(explain(path, error)) from error
    finally:
        with contextlib.suppress(OSError):
            place.unlink(missing_ok=True)


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
            staged[path] = temporary(path)
            staged[path].write_bytes(data)
        for path, place in staged.items():
            os.replace(place, path)
    except OSError as error:
        raise OutputError(explain(path, error)) from error
    finally:  # after an interrupt (Ctrl-C) too
        for place in staged.values():
            with contextlib.suppress(OSError):
                place.unlink(missing_ok=True)


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
    """Remove what a process that was killed left of file or folder `name`, or of all files of a folder.

    A temporary file names its process and the machine; it is left alone while the process lives or may live,
    for a day since it was written to. What bears no such name, and links, stay.
    """
    of_which = _tag(name) if name is not None else "*"
    for leftover in folder.glob(f".amvur-{of_which}-*.tmp"):
        parts = _TEMPORARY.fullmatch(leftover.name)
        if parts is not None and not leftover.is_symlink() and _is_stale(leftover, *parts.groups()):
            with contextlib.suppress(OSError):  # another process is as quick, or it may not be removed
                _remove(leftover)


def temporary(path: Path) -> Path:
    """Return a temporary name beside a file or folder, short whatever its own is, by which it is known."""
    own = f"{_tag(path.name)}-{_machine()}-{os.getpid()}-{uuid4().hex[:8]}"
    return path.with_name(f".amvur-{own}.tmp")


def previous(folder: Path) -> Path:
    """Return where a folder lies for the moment in which it is replaced."""
    return folder.with_name(f".{folder.name}.previous")


def replace_folder(staged: Path, folder: Path, own: Callable[[Path], set[str]], names: str) -> None:
    """Put a finished folder in its place; whenever this is interrupted, there is a whole one, or `previous`.

    `own` says which files of a folder are this program's; the file `names` lets it know. Others stay.
    """
    _clear_previous(folder, own, names)
    if folder.exists():
        os.rename(folder, previous(folder))
    os.rename(staged, folder)
    _clear_previous(folder, own, names)


def _clear_previous(folder: Path, own: Callable[[Path], set[str]], names: str) -> None:
    """Remove what was replaced, after its other files were moved to `folder`."""
    old = previous(folder)
    if not old.is_dir():
        return
    if not folder.exists():  # the writer was killed between its two renames
        os.rename(old, folder)
        return
    ours = own(old)
    for path in old.iterdir():
        if path.name not in ours and not os.path.lexists(folder / path.name):
            os.rename(path, folder / path.name)
    for name in sorted(ours, key=names.__eq__):
        (old / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # where a file of the user's has the name of a new one, both are kept
        old.rmdir()


def _remove(leftover: Path) -> None:
    """Remove a file, or a folder that was being written; one that holds folders stays."""
    if leftover.is_dir():
        for path in leftover.iterdir():
            path.unlink()
        leftover.rmdir()
    else:
        leftover.unlink()


def _is_stale(leftover: Path, machine: str, process: str) -> bool:
    """Whether nobody writes a temporary file any more."""
    try:
        if time.time() - leftover.stat().st_mtime > _DAY_S:
            return True
        if machine == _machine() and os.name != "nt":  # there, asking for a process would end it
            os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        pass
    return False


def _machine() -> str:
    """Return what tells this machine since its start, and this container, from others: 8 digits."""
    known = [platform.node()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            known.append(os.readlink(path) if path.endswith("pid") else Path(path).read_text())
    return _tag(" ".join(known))


def _tag(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
