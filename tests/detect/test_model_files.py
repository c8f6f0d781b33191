"""Task files of enemies: nothing large is unpacked, nothing is written elsewhere."""

import zipfile

import pytest
from limits import refused

from amvur.detect import networks
from amvur.detect.model_files import extract_task
from amvur.detect.networks import check_runs
from amvur.errors import DetectorError

NAMES = ("hand_detector.tflite", "hand_landmarks_detector.tflite")


def task(path, content=b"x" * 100, how=zipfile.ZIP_DEFLATED, names=NAMES):
    with zipfile.ZipFile(path, "w", how) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def test_a_task_is_unpacked(tmp_path):
    models = extract_task(task(tmp_path / "a.task"), tmp_path)
    assert [model.name for model in models] == list(NAMES)
    assert models[0].read_bytes() == b"x" * 100


def test_large_members_and_other_packings_are_refused(tmp_path):
    with refused(DetectorError, r"a\.task is not read: .*bytes", megabytes=30):
        extract_task(task(tmp_path / "a.task", bytes(10**8)), tmp_path)
    with refused(DetectorError, r"a\.task is not read: .*packed"):
        extract_task(task(tmp_path / "a.task", how=zipfile.ZIP_LZMA), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.task"]


@pytest.mark.parametrize("at", [0, 35, 150, -10, -40])
def test_a_damaged_task_is_named(tmp_path, at):
    path = task(tmp_path / "a.task", how=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    with refused(DetectorError, r"a\.task"):
        extract_task(path, tmp_path)


def test_names_with_escapes_are_shown_as_they_are_not(tmp_path):
    with refused(DetectorError, r"holds \\x1b\[31m") as told:
        extract_task(task(tmp_path / "a.task", names=("\x1b[31m",)), tmp_path)
    assert str(told.value).isprintable()


def test_a_network_that_ends_the_program_is_an_error(tmp_path, monkeypatch):
    model = tmp_path / "x.tflite"
    model.write_bytes(b"x")
    check_runs(model, 224, (63, 1, 1, 63))  # no network at all is an error of `Network`
    monkeypatch.setenv("PYTHONFAULTHANDLER", "0")
    monkeypatch.setattr(networks.sys, "executable", "/bin/false")
    check_runs(model, 224, (63,))
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nkill -ABRT $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(networks.sys, "executable", str(killed))
    with refused(DetectorError, r"x\.tflite is damaged: running it ends with -6"):
        check_runs(model, 224, (63,))
