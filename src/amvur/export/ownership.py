"""Which files in a folder of results are this program's own: nothing else is replaced or removed.

Every result bears a mark: a GLB its generator, OBJ and PLY a comment, an overlay a text chunk, a report its
schema. So a run that was killed before it wrote its report, and results of other runs, are known too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from amvur.errors import InputError, OutputError
from amvur.export.gltf import GENERATOR
from amvur.export.report import read_report
from amvur.reading import open_regular

OVERLAY_MARK = {"Software": "amvur"}
"""What an overlay's PNG says of itself."""
_HEAD_BYTES = 4096
_MARKS = {
    ".glb": (b"glTF", b'"generator":"' + GENERATOR.encode() + b'"'),
    ".obj": (b"# amvur", b""),
    ".ply": (b"ply\n", b"comment amvur"),
    ".png": (b"\x89PNG", b"Software\x00amvur"),
}


def is_ours(path: Path) -> bool:
    """Whether a result file was written by this program; at most 4 kB of a mesh or picture are read."""
    if path.suffix == ".json":
        try:
            read_report(path)
        except InputError:
            return False
        return True
    start, mark = _MARKS.get(path.suffix, (b"", b""))
    try:
        with open_regular(path) as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return False
    return bool(start) and head.startswith(start) and mark in head


def check_replaceable(paths: Iterable[Path], known: Iterable[Path] = ()) -> None:
    """Raise `OutputError` for the first of `paths` that exists and is not this program's.

    `known` are files that an earlier report says are: overlays of earlier versions bear no mark.
    """
    known = set(known)
    for path in paths:
        if os.path.lexists(path) and path not in known and not is_ours(path):
            raise OutputError(
                f"{path} exists and was not written by amvur, so it is not overwritten. Move it away or "
                "choose another folder with --output."
            )


def remove_stale(folder: Path, names: Iterable[str], current: Iterable[Path]) -> None:
    """Remove this program's files `names` of a folder that are not among the `current` ones."""
    for path in {folder / Path(name).name for name in names} - set(current):
        if is_ours(path):
            path.unlink(missing_ok=True)
