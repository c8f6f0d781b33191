"""Where MediaPipe's two hand networks come from: the wheel of mediapipe, or a `hand_landmarker.task` file."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from amvur.errors import DetectorError
from amvur.reading import brief, open_regular, open_zip, read_member, reading

_TASK_MEMBERS = ("hand_detector.tflite", "hand_landmarks_detector.tflite")
_LARGEST_MEMBER = 50_000_000
"""Bytes; the networks have 2 to 6 million, so anything much larger is not one of them."""


def wheel_models() -> tuple[Path, Path]:
    """The palm and the landmark network in the installed wheel of mediapipe.

    Looks without importing mediapipe, which takes a second. Raises `DetectorError` where it is missing or a
    release without models.
    """
    spec = find_spec("mediapipe")
    folder = Path(spec.origin).parent / "modules" if spec is not None and spec.origin else None
    if folder is not None:
        models = (
            folder / "palm_detection" / "palm_detection_full.tflite",
            folder / "hand_landmark" / "hand_landmark_full.tflite",
        )
        if all(model.is_file() for model in models):
            return models
    found = "is not installed" if folder is None else f"has no hand networks in {folder}"
    raise DetectorError(
        f"The detector needs the hand networks in the wheel of mediapipe, but mediapipe {found}. Install it "
        f"with: pip install mediapipe==0.10.21"
    )


def extract_task(task: Path, folder: Path) -> tuple[Path, Path]:
    """Unpack the palm and the landmark network of a `hand_landmarker.task` file (a zip) into `folder`.

    Each may have 50 MB and takes as much memory. Raises `DetectorError` where the file is missing, is no
    zip, or holds other things.
    """
    wanted = "The detector wants a hand_landmarker.task file (a zip with " + " and ".join(_TASK_MEMBERS) + ")"
    remedy = "Give the path of such a file, or none to use the networks in the wheel of mediapipe."
    if not os.path.isfile(task):
        kind = "is a folder" if os.path.isdir(task) else "does not exist"
        raise DetectorError(f"{wanted}, but {task} {kind}. {remedy}")
    with (
        reading(task, "a zip file", f"{wanted}. {remedy}", DetectorError),
        open_regular(task) as stream,
        open_zip(stream) as archive,
    ):
        there = {info.filename: info for info in archive.infolist()}
        if not there.keys() >= set(_TASK_MEMBERS):
            names = ", ".join(brief(name).strip("'") for name in list(there)[:5]) or "nothing"
            raise DetectorError(f"{wanted}, but {task} holds {names}. {remedy}")
        for member in _TASK_MEMBERS:
            (folder / member).write_bytes(read_member(archive, there[member], _LARGEST_MEMBER))
    return folder / _TASK_MEMBERS[0], folder / _TASK_MEMBERS[1]
