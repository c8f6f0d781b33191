"""Task files of enemies: nothing large is unpacked, and each is named."""

import zipfile

import pytest
from limits import refused

from amvur.detect.model_files import read_task
from amvur.errors import DetectorError

NAMES = ("hand_detector.tflite", "hand_landmarks_detector.tflite")


def task(path, content=b"x" * 100, how=zipfile.ZIP_DEFLATED, names=NAMES):
    with zipfile.ZipFile(path, "w", how) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def test_large_members_and_other_packings_are_refused(tmp_path):
    with refused(DetectorError, r"a\.task is not read: .*bytes", megabytes=30):
        read_task(task(tmp_path / "a.task", bytes(10**8)))
    with refused(DetectorError, r"a\.task is not read: .*packed"):
        read_task(task(tmp_path / "a.task", how=zipfile.ZIP_LZMA))
    assert [path.name for path in tmp_path.iterdir()] == ["a.task"]


@pytest.mark.parametrize("at", [0, 35, 150, -10, -40])
def test_a_damaged_task_is_named(tmp_path, at):
    path = task(tmp_path / "a.task", how=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    with refused(DetectorError, r"a\.task"):
        read_task(path)
