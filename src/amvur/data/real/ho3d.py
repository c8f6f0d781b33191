"""HO3D v2 and v3 (Hampali et al. 2020, 2021): lists of frames, a pickle for each, in our conventions.

Facts: axes are OpenGL's, metres; joints are MANO's 16 and then the tips; every hand is a right one; the
pose is relative to the flat hand. `train.txt` and `evaluation.txt` say which frames there are and in which
order. Evaluation frames have the wrist and a box only. The pickles are read by `amvur.hand.safe_pickle`:
nothing in them is run.
"""

from __future__ import annotations

import hashlib
import re
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

from amvur.data.real.ho3d_frames import LIMITS, Frame, read_frame
from amvur.data.real.layouts import HO3D, list_folder, require
from amvur.data.real.number_lists import NumberLists, sha256_of
from amvur.data.real.samples import HandSample
from amvur.errors import InputError
from amvur.reading import read_bytes, reading

_LINE = re.compile(r"[\w-][\w.-]*/[\w-]+")
_SUFFIXES = (".png", ".jpg", ".jpeg")
_FOLDERS = {"training": "train", "evaluation": "evaluation"}
_COUNTS = {11524: "v2", 20137: "v3"}
"""Evaluation frames of the two versions."""
LIST_BYTES = 2**23
"""The largest list of frames; that of HO3D v3 has a twentieth of it."""
_TRUTH = {"xyz": (21, 3), "verts": (778, 3)}


class Ho3d:
    """One split of HO3D v2 or v3; a frame is read when it is asked for."""

    protocol = "ho3d"

    def __init__(self, folder: Path, split: str) -> None:
        """Open `training` or `evaluation` of the folder HO3D_v2 or HO3D_v3.

        Raises `InputError` with the layout and the first thing missing, for lists that cannot be read or
        whose lengths disagree, and for missing pictures and pickles.
        """
        self.folder, self.split = folder, split
        part = _FOLDERS[split]
        self._list = folder / f"{part}.txt"
        require(folder, (f"{part}.txt", part), HO3D)
        self._frames = _read_list(self._list)
        self._pictures = _find_pictures(folder / part, self._frames)
        self.name = f"HO3D {self._version()}"
        paths = {} if split == "training" else {n: folder / f"evaluation_{n}.json" for n in _TRUTH}
        self._truth = {n: NumberLists(path, _TRUTH[n]) for n, path in paths.items() if path.exists()}
        for rows in self._truth.values():
            if len(rows) != len(self):
                raise InputError(
                    f"{rows.path} has {len(rows):,} entries, {self._list} {len(self):,} lines. Take the "
                    "ground truth of the same version (v2 and v3 differ)."
                )

    def __len__(self) -> int:
        """Return the number of lines of the split's list."""
        return len(self._frames)

    def __getitem__(self, index: int) -> HandSample:
        """Return frame `index` of the list; raises `InputError` that names the file with bad labels."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        truth = {name: rows[index] for name, rows in self._truth.items()}
        key = self._frames[index]
        sequence, number = key.split("/")
        folder = self.folder / _FOLDERS[self.split] / sequence
        frame = Frame(
            key,
            folder / "rgb" / f"{number}{self._pictures[index]}",
            folder / "meta" / f"{number}.pkl",
            self.split == "training",
        )
        return read_frame(frame, truth, self.folder / "evaluation_xyz.json")

    def group(self, index: int) -> str:
        """Return the sequence of a frame: its neighbors there look the same."""
        return self._frames[index].split("/")[0]

    def identity(self) -> dict[str, Any]:
        """Return hashes of the list, the pickles and the ground truth (pictures are not hashed)."""
        return self._identity

    @cached_property
    def _identity(self) -> dict[str, Any]:
        labels = hashlib.sha256()
        for key in self._frames:
            sequence, number = key.split("/")
            path = self.folder / _FOLDERS[self.split] / sequence / "meta" / f"{number}.pkl"
            with reading(path, "a frame's labels", "Copy or download it again."):
                labels.update(read_bytes(path, LIMITS.file_bytes))
        return {
            "set": self.name,
            "split": self.split,
            "samples": len(self),
            "sha256": {
                "list": sha256_of(self._list),
                "labels": labels.hexdigest(),
                **{name: sha256_of(rows.path) for name, rows in self._truth.items()},
            },
        }

    def _version(self) -> str:
        """Tell v3 from v2: by the count of the evaluation, by v3's own folders, by its JPEGs."""
        if self.split == "evaluation" and len(self) in _COUNTS:
            return _COUNTS[len(self)]
        own = any((self.folder / name).is_dir() for name in ("calibration", "manual_annotations"))
        return "v3" if own or self._pictures[0] != ".png" else "v2"


def _read_list(path: Path) -> list[str]:
    """Return the lines SEQUENCE/NUMBER of a list of at most `LIST_BYTES`; raises `InputError`.

    In memory it takes up to 50 times its size.
    """
    with reading(path, "a list of frames", "Copy or download it again."):
        lines = read_bytes(path, LIST_BYTES).decode("utf-8-sig").splitlines()
    frames = []
    for number, line in enumerate(lines, start=1):
        if not (line := line.strip()):
            continue
        # also keeps a list from leading out of the folder
        if not _LINE.fullmatch(line):
            raise InputError(
                f"{path}, line {number}: wanted SEQUENCE/NUMBER such as ABF10/0000, found {line[:60]!r}. "
                "Copy or download it again."
            )
        frames.append(line)
    if not frames:
        raise InputError(f"{path} lists no frames. Copy or download it again.")
    return frames


def _find_pictures(folder: Path, frames: list[str]) -> list[str]:
    """Return every frame's suffix of picture; raises `InputError` that names the first missing file."""
    there: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
    suffixes, missing = [], []
    for frame in frames:
        sequence, number = frame.split("/")
        if sequence not in there:
            there[sequence] = (
                list_folder(folder / sequence / "rgb", HO3D),
                list_folder(folder / sequence / "meta", HO3D),
            )
        pictures, labels = there[sequence]
        found = next((suffix for suffix in _SUFFIXES if number + suffix in pictures), None)
        if found is None:
            missing.append(f"{sequence}/rgb/{number}.png (or .jpg)")
        if f"{number}.pkl" not in labels:
            missing.append(f"{sequence}/meta/{number}.pkl")
        suffixes.append(sys.intern(found or ""))
    if missing:
        raise InputError(
            f"{folder} lacks {len(missing):,} files that its list names, first {missing[0]}. Unpack the "
            "archive again; expected is",
            *HO3D.splitlines(),
        )
    return suffixes
