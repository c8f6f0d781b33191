"""Writing predictions as the online evaluations of FreiHAND and HO3D take them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast

import numpy as np
from jaxtyping import Float

from amvur.data.joint_orders import flip_opengl, joints_to_dataset
from amvur.data.real.ho3d import LIST_BYTES
from amvur.errors import InputError
from amvur.evaluation.files import VERTICES
from amvur.evaluation.pictures import PictureSource
from amvur.evaluation.prediction_files import PredictionFolder
from amvur.reading import open_regular, open_zip, read_bytes, reading
from amvur.whole_files import whole_file

FREIHAND_COUNT = 3960
HO3D_V2_COUNT = 11524
DECIMALS = 7
"""Digits after the point: 0.1 µm, a third of the file that all digits would take."""

_FURTHEST = 10.0
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the same predictions give the same bytes


def write_submission(
    path: Path,
    joints: Float[np.ndarray, "S 21 3"],
    vertices: Float[np.ndarray, "S_mesh V 3"],  # as many samples: told in words if not
    protocol: Literal["freihand", "ho3d"],
    *,
    evaluation_list: Path | None = None,
) -> None:
    """Write a zip with pred.json that the online evaluation accepts.

    Joints in our order and vertices of MANO's mesh (V must be 778), metres, absolute, in OpenCV's camera
    frame, samples in the dataset's order. For HO3D they are written in its joint order and in OpenGL's
    frame. FreiHAND wants 3,960 samples and HO3D v2 11,524; with `evaluation_list` (HO3D's evaluation.txt,
    needed for v3) as many as it has lines. Numbers are rounded to 0.1 µm. The same hands give the same
    bytes, and a file that cannot be finished is not left behind.

    Raises `InputError` for hands that cannot be right and `OutputError` where nothing can be written.
    """
    _check_count(joints, vertices, protocol, evaluation_list)
    for what, points in (("joints", joints), ("vertices", vertices)):
        _check_points(what, points)
    if protocol == "ho3d":
        joints, vertices = (flip_opengl(points) for points in (joints, vertices))
    _write_zip(path, joints_to_dataset(joints, protocol), vertices)


def submit_predictions(path: Path, folder: PredictionFolder, source: PictureSource) -> None:
    """Write exported predictions of a data set's evaluation pictures as a submission: see `write_submission`.

    Raises also `InputError` for hands whose place before the camera is not known.
    """
    parts = [estimates for _, estimates in folder.read()]
    joints, vertices, placed = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("joints", "vertices", "placed")
    )
    if not placed.all():
        raise InputError(
            f"{source.name} gives neither camera nor wrist of {np.sum(~placed)} samples, so that their "
            "place is not known, which the online evaluations want."
        )
    protocol = cast(Literal["freihand", "ho3d"], source.protocol)
    write_submission(path, joints, vertices, protocol, evaluation_list=source.evaluation_list)


def check_mano(num_vertices: int) -> None:
    """Raise `InputError` unless meshes have MANO's number of vertices."""
    if num_vertices != VERTICES:
        raise InputError(
            f"The online evaluations take MANO's {VERTICES} vertices, found {num_vertices}. Train and "
            "reconstruct with a MANO hand model (--hand-model MANO_RIGHT.pkl)."
        )


def _check_count(joints: np.ndarray, vertices: np.ndarray, protocol: str, listed: Path | None) -> None:
    """Raise `InputError` unless the numbers of samples and vertices are the evaluation's."""
    check_mano(vertices.shape[1])
    if len(joints) != len(vertices):
        raise InputError(
            f"Joints of {len(joints)} samples but vertices of {len(vertices)}. Give both of every sample."
        )
    if protocol == "freihand":
        wanted, source = FREIHAND_COUNT, "FreiHAND's evaluation set"
    elif listed is None:
        wanted, source = HO3D_V2_COUNT, "HO3D v2's evaluation set (for v3 give evaluation_list)"
    else:
        wanted, source = _count_lines(listed), str(listed)
    if len(joints) != wanted:
        raise InputError(
            f"{source} has {wanted} samples, found {len(joints)}. Predict every one, in the dataset's order; "
            "where no hand is found, predict something anyway."
        )


def _count_lines(path: Path) -> int:
    """Return how many samples an evaluation.txt lists."""
    with reading(path, "a list of samples", "Give the path of HO3D's evaluation.txt."):
        return sum(
            1 for line in read_bytes(path, LIST_BYTES).decode("utf-8-sig").splitlines() if line.strip()
        )


def _check_points(what: str, points: Float[np.ndarray, "S N 3"]) -> None:
    """Raise `InputError` for values that are not finite, not metres or behind the camera."""
    finite = np.isfinite(points).all((1, 2))
    if not finite.all():
        raise InputError(
            f"The {what} of sample {int(np.argmin(finite))} are not finite ({np.sum(~finite)} such samples). "
            "Find out why they were predicted; the evaluation would fail on them."
        )
    size = float(np.median(np.abs(points).max((1, 2))))
    if size > _FURTHEST:
        raise InputError(f"The {what} are {size:.0f} m away: are they millimetres? Give metres.")
    behind = (points[..., 2] < 0).all(1)
    if behind.any():
        raise InputError(
            f"The {what} of sample {int(np.argmax(behind))} lie behind the camera ({np.sum(behind)} such "
            "samples). Give OpenCV's camera frame (z forward), absolute; OpenGL's is made here."
        )


def _write_zip(path: Path, joints: np.ndarray, vertices: np.ndarray) -> None:
    """Write pred.json into a zip, sample by sample, under a temporary name first."""
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        entry = zipfile.ZipInfo("pred.json", _FIXED_TIME)
        entry.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(entry, "w", force_zip64=True) as file:
            for text in _json_parts(joints, vertices):
                file.write(text.encode("ascii"))
        archive.comment = _comment(entry)


def _comment(entry: zipfile.ZipInfo) -> bytes:
    """Return by what a zip is known as it was written: the checksum of what it holds."""
    return f"amvur, crc32 {entry.CRC:08x}".encode()


def is_submission(path: Path) -> bool:
    """Whether a file is a submission that was written here and not changed since; links are not."""
    try:
        with reading(path, "a zip", ""), open_regular(path) as stream, open_zip(stream) as archive:
            entries = archive.infolist()
            known = [entry.filename for entry in entries] == ["pred.json"]
            return known and archive.comment == _comment(entries[0]) and not path.is_symlink()
    except InputError:
        return False


def _json_parts(joints: np.ndarray, vertices: np.ndarray) -> Iterator[str]:
    """Yield the text of [[joints of every sample], [vertices of every sample]]."""
    for start, points in (("[[", joints), ("], [", vertices)):
        for index, sample in enumerate(points):
            # adding 0 turns -0.0 into 0.0
            rounded = np.round(sample.astype(np.float64), DECIMALS) + 0.0
            yield (", " if index else start) + json.dumps(rounded.tolist())
    yield "]]"
