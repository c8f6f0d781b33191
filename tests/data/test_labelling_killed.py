"""`amvur label` killed in the middle: the file is whole or not there, and the next run goes on with it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COUNT, SAVED = 45, 20

PROGRAM = """
import os, signal, sys
from pathlib import Path
import numpy as np
from amvur.cli import main
from amvur.data.real import labelling
from amvur.detect import base
from amvur.structures import HandDetection

folder, kind, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
calls = {"detect": 0, "replace": 0}

def count(what):
    calls[what] += 1
    if (what, calls[what]) == (kind, number):
        os.kill(os.getpid(), signal.SIGKILL)

class Told:
    def detect(self, image, **_):
        count("detect")
        with open(Path(folder).parent / "calls.txt", "a") as stream:
            stream.write(f"{image[0, 0, 0]}\\n")
        joints = np.linspace(5, 25, 42).reshape(1, 21, 2) + image[0, 0, 0] % 7
        box = np.array([2.0, 2.0, 30.0, 30.0])
        return [HandDetection("right", 0.9, box, joints, np.ones(21), convention="mediapipe")]

replace = os.replace
labelling.os.replace = lambda *paths: (count("replace"), replace(*paths))
base.make_detector = lambda choice: Told()
main(["label", folder])
"""


def label(folder, kind="none", number=0):
    """Run the program; returns its status and which photographs the detector looked at."""
    calls = folder.parent / "calls.txt"
    calls.unlink(missing_ok=True)
    command = [sys.executable, "-c", PROGRAM, folder, kind, str(number)]
    ended = subprocess.run(command, capture_output=True, timeout=120)
    assert ended.returncode in (0, -9), ended.stderr.decode()
    return ended.returncode, [int(line) for line in calls.read_text().split()]


def photographs(folder):
    folder.mkdir(parents=True)
    for number in range(COUNT):
        Image.fromarray(np.full((32, 32, 3), number, np.uint8)).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = photographs(tmp_path_factory.mktemp("whole") / "photos")
    assert label(folder) == (0, list(range(COUNT)))
    return (folder / "labels.json").read_bytes()


@pytest.mark.parametrize(
    ("kind", "number", "saved"),
    [("detect", 33, SAVED), ("replace", 1, 0), ("replace", 2, SAVED)],
    ids=["while detecting", "in the first writing", "in the second writing"],
)
def test_killed_and_run_again(tmp_path, uninterrupted, kind, number, saved):
    folder = photographs(tmp_path / "photos")
    assert label(folder, kind, number)[0] == -9
    output = folder / "labels.json"
    assert output.exists() == bool(saved)
    if saved:
        assert len(json.loads(output.read_bytes())["images"]) == saved
    assert label(folder) == (0, list(range(saved, COUNT))), "what was saved is not labelled again"
    assert output.read_bytes() == uninterrupted
    names = {path.name for path in Path(folder).iterdir() if path.suffix != ".png"}
    assert names == {"labels.json"}, "no half-written file stays"
