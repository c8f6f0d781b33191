"""Which files in a folder of results are this program's own: nothing else is replaced or removed.

Every result bears a mark (a GLB its generator, OBJ and PLY a comment, an overlay a text chunk, a report its
schema) and a seal (`amvur.seals`). So results of other runs, and of one that was killed before it wrote its
report, are known too. A file that was put in a result's place bears none, and a result that was edited or
saved by another program is no longer as it was sealed: both are the user's.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from amvur.errors import OutputError
from amvur.export.gltf import GENERATOR
from amvur.export.report import SCHEMA, read_report
from amvur.seals import SEAL, is_sealed, sealed
from amvur.whole_files import check_place

_MARKS = {
    ".glb": (b"glTF", b'"generator":"' + GENERATOR.encode() + b'"'),
    ".json": (b"{", f'"schema": "{SCHEMA}"'.encode()),
    ".obj": (b"# amvur", b""),
    ".ply": (b"ply\n", b"comment amvur"),
    ".png": (b"\x89PNG", b"Software\x00amvur"),
}


@dataclass(frozen=True)
class Earlier:
    """What an earlier run left of a photograph of the same name: its path, and the files that it wrote."""

    photograph: str | None = None
    files: tuple[Path, ...] = ()


def overlay_bytes(pixels: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """Return an overlay as a PNG with mark and seal."""
    info, png = PngInfo(), io.BytesIO()
    info.add_text("Software", f"amvur {SEAL}")
    # the level of zlib that takes a third of the time, for files a tenth larger
    Image.fromarray(pixels).save(png, "PNG", pnginfo=info, compress_level=3)
    return sealed(png.getvalue())


def is_ours(path: Path) -> bool:
    """Whether a result file was written by this program and is as it was written; links are not."""
    mark = _MARKS.get(path.suffix)
    return mark is not None and is_sealed(path, *mark)


def check_replaceable(paths: Iterable[Path]) -> None:
    """Raise `OutputError` for the first of `paths` that exists and is not this program's, or cannot exist."""
    for path in paths:
        check_place(path)
        if os.path.lexists(path) and not is_ours(path):
            raise OutputError(
                f"{path} exists and was not written by this version of amvur, or was changed since, so it is "
                "not overwritten. Move it away or choose another folder with --output."
            )


def earlier_results(folder: Path, stem: str) -> Earlier:
    """Return what an earlier report says; raises `OutputError` if the file is somebody else's."""
    path = folder / f"{stem}.json"
    check_replaceable([path])
    if not os.path.lexists(path):
        return Earlier()
    content = read_report(path)
    # a report from elsewhere must not reach for other files than its photograph's
    names = [name for name in content.get("files", []) if name.startswith(f"{stem}_")]
    own = tuple(folder / name for name in names if Path(name).name == name)
    return Earlier(content["image"]["path"], own)


def remove_stale(paths: Iterable[Path], current: Iterable[Path]) -> None:
    """Remove those of `paths` that are this program's and not among the `current` ones."""
    for path in set(paths) - set(current):
        if is_ours(path):
            path.unlink(missing_ok=True)
