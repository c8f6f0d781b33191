"""Which files in a folder of results are this program's own: nothing else is replaced or removed.

Every result bears a mark: a GLB its generator, OBJ and PLY a comment, an overlay a text chunk, a report its
schema. So a run that was killed before it wrote its report, and results of other runs, are known too. A file
that was put in a result's place, or saved by another program, bears none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL.PngImagePlugin import PngInfo

from amvur.errors import InputError, OutputError
from amvur.export.gltf import GENERATOR
from amvur.export.report import read_report
from amvur.reading import open_regular
from amvur.whole_files import check_place

_HEAD_BYTES = 4096
_MARKS = {
    ".glb": (b"glTF", b'"generator":"' + GENERATOR.encode() + b'"'),
    ".obj": (b"# amvur", b""),
    ".ply": (b"ply\n", b"comment amvur"),
    ".png": (b"\x89PNG", b"Software\x00amvur"),
}


@dataclass(frozen=True)
class Earlier:
    """What an earlier run left of a photograph of the same name: its path, and the files that it wrote.

    `unmarked` are those that bear no mark, as overlays of the first versions.
    """

    photograph: str | None = None
    files: tuple[Path, ...] = ()
    unmarked: tuple[Path, ...] = ()


def overlay_mark() -> PngInfo:
    """Return the text chunk by which an overlay is known as one."""
    info = PngInfo()
    info.add_text("Software", "amvur")
    return info


def is_ours(path: Path) -> bool:
    """Whether a result file was written by this program; at most 4 kB of a mesh or picture are read.

    Links are not: this program makes none.
    """
    if path.is_symlink():
        return False
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
    """Raise `OutputError` for the first of `paths` that exists and is not this program's, or cannot exist.

    `known` are this program's without a mark.
    """
    known = set(known)
    for path in paths:
        check_place(path)
        if os.path.lexists(path) and path not in known and not is_ours(path):
            raise OutputError(
                f"{path} exists and was not written by amvur, so it is not overwritten. Move it away or "
                "choose another folder with --output."
            )


def earlier_results(folder: Path, stem: str) -> Earlier:
    """Return what an earlier report says; raises `OutputError` if the file is somebody else's."""
    path = folder / f"{stem}.json"
    check_place(path)
    if not os.path.lexists(path):
        return Earlier()
    if not is_ours(path):
        raise OutputError(
            f"{path} exists and is no report of amvur, so it is not overwritten. "
            "Move it away or choose another folder with --output."
        )
    content = read_report(path)
    old = "files" not in content  # the first versions named meshes only
    names = [str(hand["mesh"]) for hand in content["hands"]] if old else content["files"]
    # a report from elsewhere must not reach for other files than its photograph's
    files = [folder / name for name in names if Path(name).name == name and name.startswith(f"{stem}_")]
    unmarked = (folder / f"{stem}_overlay.png",) if old else ()
    return Earlier(content["image"]["path"], tuple(files), unmarked)


def remove_stale(paths: Iterable[Path], current: Iterable[Path]) -> None:
    """Remove those of `paths` that are this program's and not among the `current` ones."""
    for path in set(paths) - set(current):
        if is_ours(path):
            path.unlink(missing_ok=True)
