"""The networks in a user's own `hand_landmarker.task` file, a zip of TFLite files, made into ONNX."""

from __future__ import annotations

from pathlib import Path

from amvur.detect.tflite_conversion import to_onnx
from amvur.errors import DetectorError
from amvur.reading import open_regular, open_zip, read_member, reading

_MEMBERS = ("hand_detector.tflite", "hand_landmarks_detector.tflite")
_LARGEST_MEMBER = 50_000_000
"""Bytes; the networks have 2 to 6 million, so anything much larger is not one of them."""
_REMEDY = "Give the path of such a file, or leave it out to use the networks that ship with amvur."


def read_task(task: Path) -> tuple[bytes, bytes]:
    """Return the palm and the landmark network of a `hand_landmarker.task` file as ONNX models.

    At most 100 MB are unpacked. Raises `DetectorError` where the file is missing, is no zip, or holds other
    things, or where the packages that read TFLite files are not installed.
    """
    wanted = "a hand_landmarker.task file (a zip with " + " and ".join(_MEMBERS) + ")"
    with reading(task, wanted, _REMEDY, DetectorError):
        with open_regular(task) as stream, open_zip(stream) as archive:
            missing = [name for name in _MEMBERS if name not in archive.namelist()]
            if missing:
                raise ValueError(f"it lacks {' and '.join(missing)}")
            palm, hand = (read_member(archive, archive.getinfo(name), _LARGEST_MEMBER) for name in _MEMBERS)
        return (
            to_onnx(palm, f"{task}:{_MEMBERS[0]}").SerializeToString(),
            to_onnx(hand, f"{task}:{_MEMBERS[1]}").SerializeToString(),
        )
