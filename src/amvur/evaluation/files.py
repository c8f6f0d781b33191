"""Reading the files of the official evaluations: predictions and ground truth.

Samples are decoded one by one into arrays, so that a file takes about twice its own size in memory (the whole
of it as Python's numbers would take six times that). Files may have 200 bytes for every point of the samples
that the ground truth has (of joints, the first that is read: of 100,000 samples); more is not read.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from amvur.errors import InputError
from amvur.reading import brief, open_regular, open_zip, read_bytes, read_member, reading

JOINTS, VERTICES = 21, 778

_JOINTS_REMEDY = "Write all 21 joints of every sample, metres, in the dataset's own order."
_VERTICES_REMEDY = (
    "The official evaluations know MANO's 778 vertices only: reconstruct with a MANO hand model "
    "(--hand-model MANO_RIGHT.pkl)."
)
_LARGEST = 1e6  # metres; the squares of much larger numbers overflow
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_END = re.compile(r"\][ \t\r\n]*\]")
"""Where a sample ends: two brackets."""
POINT_BYTES, SAMPLE_BYTES, SLACK_BYTES, MOST_SAMPLES = 200, 2**20, 2**20, 100_000
"""The longest text of a point (three numbers of 25 letters, indented) on average, of a sample and beside the
samples; and the largest number of samples of a data set."""


@dataclass(frozen=True)
class HandSet:
    """Hands of a whole set, in the dataset's order of samples, metres, absolute in the camera's frame."""

    joints: Float[np.ndarray, "S 21 3"]
    vertices: Float[np.ndarray, "S 778 3"]


def read_truth(folder: Path) -> HandSet:
    """Read evaluation_xyz.json and evaluation_verts.json of `folder` (or of its `ref`).

    Raises `InputError` if one is missing, broken, of wrong shapes or has values that are not finite.
    """
    names = ("evaluation_xyz.json", "evaluation_verts.json")
    inner = not os.path.exists(folder / names[0]) and os.path.isdir(folder / "ref")
    place = folder / "ref" if inner else folder
    missing = [name for name in names if not os.path.isfile(place / name)]
    if missing:
        raise InputError(
            f"Ground truth wanted: {' and '.join(names)} in {folder}; missing: {', '.join(missing)}. "
            "Give the folder that holds both (the datasets publish them beside the evaluation pictures)."
        )
    joints = _read_list(place / names[0], JOINTS, _JOINTS_REMEDY)
    vertices = _read_list(place / names[1], VERTICES, _VERTICES_REMEDY, len(joints))
    if len(joints) != len(vertices):
        raise InputError(
            f"The ground truth in {place} has {len(joints)} samples of joints but {len(vertices)} of "
            "vertices. Take both files from the same release of the dataset."
        )
    return HandSet(joints, vertices)


def read_predictions(path: Path, count: int) -> HandSet:
    """Read predictions `[joints, vertices]` of `count` samples from pred.json or a zip with it.

    A folder may be given that holds pred.json, pred.zip or just one .json. Raises `InputError` that names
    the file, the sample and the remedy for anything that the official evaluations could not score.
    """
    name, text = _prediction_text(_prediction_file(path), count)
    parser = _Parser(text, name)
    del text
    parser.take("[", "a list of two: [joints, vertices]")
    joints = parser.samples("joints", JOINTS, _JOINTS_REMEDY)
    parser.take(",", "the list of vertices after that of joints")
    vertices = parser.samples("vertices", VERTICES, _VERTICES_REMEDY)
    parser.take("]", "the end after joints and vertices")
    parser.finish()
    for what, found in (("joints", joints), ("vertices", vertices)):
        if len(found) != count:
            raise InputError(
                f"{name} holds {what} of {len(found)} samples, the ground truth has {count}. Predict every "
                "sample once, in the dataset's order, and check that both belong to the same dataset."
            )
    return HandSet(joints, vertices)


def _prediction_file(path: Path) -> Path:
    """Return the file to read: `path`, or the only candidate in it."""
    if not os.path.exists(path):
        raise InputError(f"There are no predictions at {path}. Give the path of pred.json or pred.zip.")
    if not os.path.isdir(path):
        return path
    for name in ("pred.json", "pred.zip"):
        if (path / name).is_file():
            return path / name
    found = sorted(path.glob("*.json"))
    if len(found) != 1:
        raise InputError(
            f"The folder {path} holds neither pred.json nor pred.zip, and {len(found)} other .json files. "
            "Give the path of the file itself."
        )
    return found[0]


def _prediction_text(path: Path, count: int) -> tuple[str, str]:
    """Return what to call the file in messages, and its text."""
    limit = SLACK_BYTES + count * (JOINTS + VERTICES) * POINT_BYTES
    with reading(path, "a pred.json or a zip with it", "Make it again: zip -j pred.zip pred.json."):
        with open_regular(path) as stream:
            packed = zipfile.is_zipfile(stream)
            if not packed and path.suffix.lower() == ".zip":
                raise InputError(f"{path} is no zip file or is cut off. Write or copy it again.")
            if packed:
                with open_zip(stream) as archive:
                    member = _prediction_member(path, archive.namelist())
                    data = read_member(archive, archive.getinfo(member), limit)
                    name = f"{path}:{brief(member).strip(chr(39))}"
                    return name, _decode(data, name)
        return str(path), _read_text(path, limit)


def _prediction_member(path: Path, names: list[str]) -> str:
    """Return the name of the prediction file in a zip."""
    files = [n for n in names if n.endswith(".json") and not n.startswith("__MACOSX/")]
    named = [n for n in files if PurePosixPath(n).name == "pred.json"]
    if len(named or files) != 1:
        raise InputError(
            f"{path} should hold one pred.json, found {brief(names[:5])}. "
            "Make it again: zip -j pred.zip pred.json."
        )
    return (named or files)[0]


def _read_text(path: Path, limit_bytes: int) -> str:
    """Return a file's text; raises `InputError`."""
    with reading(path, "a JSON text", "Check the path and its permissions."):
        return _decode(read_bytes(path, limit_bytes), str(path))


def _decode(data: bytes, name: str) -> str:
    """Return lists of numbers as text, a byte a letter."""
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode("ascii")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not a JSON text ({error}). Give pred.json or a zip with it.") from error


def _read_list(path: Path, points: int, remedy: str, most: int = MOST_SAMPLES) -> Float[np.ndarray, "S N 3"]:
    """Read a file that is one list of at most `most` samples."""
    parser = _Parser(_read_text(path, SLACK_BYTES + most * points * POINT_BYTES), str(path))
    found = parser.samples("points", points, remedy)
    parser.finish()
    return found


class _Parser:
    """Reads lists of samples out of a JSON text from front to back."""

    def __init__(self, text: str, name: str) -> None:
        self._text, self._name, self._at = text, name, 0

    def take(self, char: str, wanted: str) -> None:
        """Step over `char`; raises `InputError` that says what was wanted if it is not there."""
        if self._peek() != char:
            self._fail(wanted)
        self._at += 1

    def finish(self) -> None:
        """Raise `InputError` unless the text is at its end."""
        if self._peek():
            self._fail("the end of the file")

    def samples(self, what: str, points: int, remedy: str) -> Float[np.ndarray, "S N 3"]:
        """Read a list of samples of (points, 3) numbers each."""
        self.take("[", f"the list of {what}")
        samples: list[np.ndarray] = []
        if self._peek() == "]":
            self._fail(f"at least one sample of {what}")
        while True:
            samples.append(self._sample(f"sample {len(samples)} of {what}", points, remedy))
            if self._peek() == "]":
                self._at += 1
                return np.stack(samples)
            self.take(",", f"the next sample of {what}")

    def _sample(self, which: str, points: int, remedy: str) -> Float[np.ndarray, "N 3"]:
        self._peek()
        start = self._at
        end = _END.search(self._text, start, start + SAMPLE_BYTES)
        part = self._text[start : end.end() if end else start + SAMPLE_BYTES]
        try:
            value, length = _DECODER.raw_decode(part)
            self._at = start + length
        except (ValueError, RecursionError) as error:
            broken = start + getattr(error, "pos", 0)
            raise InputError(
                f"{self._name} is broken in {which}, at character {broken:,} of {len(self._text):,}: "
                "it was cut off or is no JSON. Write or copy it again."
            ) from error
        array = np.empty(0, object)
        if '"' not in part:  # numpy would make all texts of a list as long as the longest
            with contextlib.suppress(ValueError):  # rows of different lengths
                array = np.asarray(value)
        if array.dtype.kind not in "iuf" or tuple(array.shape) != (points, 3):
            raise InputError(
                f"{self._name}: {which} should be {points} × 3 numbers, found {_describe(array, value)}. "
                f"{remedy}"
            )
        array = array.astype(np.float64, copy=False)
        if not (np.abs(array) < _LARGEST).all():  # false for NaN
            raise InputError(
                f"{self._name}: {which} has values that are not finite (NaN, infinite or beyond 1000 km). "
                "Find out why they were predicted; no evaluation can score them."
            )
        return array

    def _peek(self) -> str:
        """Return the next character that is no space, or nothing at the end."""
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at : self._at + 1]

    def _fail(self, wanted: str) -> None:
        found = self._text[self._at : self._at + 20]
        raise InputError(
            f"{self._name}: wanted {wanted} at character {self._at:,} of {len(self._text):,}, found "
            f"{found!r}" + ("." if found else ": the file is cut off.") + " Write it as the dataset's "
            "pred.py does: [[joints of every sample], [vertices of every sample]]."
        )


def _describe(array: np.ndarray, value: object) -> str:
    """Say what a sample is instead of numbers of the right shape."""
    if array.dtype.kind in "iuf":
        return " × ".join(map(str, array.shape)) or "one number"
    return f"a list of {len(value)} that are not rows of 3" if isinstance(value, list) else brief(value, 40)
