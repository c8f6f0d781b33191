"""Compiled functions without a place for their cache."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import amvur


def test_without_a_place_for_a_cache_functions_are_compiled_in_memory(tmp_path):
    """A copy of the package that nobody may write to, and no home: told once, and the same result."""
    package = tmp_path / "amvur"
    shutil.copytree(
        Path(amvur.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "assets", "*.onnx")
    )
    (package / "hand" / "__pycache__").write_text("no folder")  # root may write into any folder
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    code = (
        "from amvur.hand import _kinematics_numba as k\n"
        "import numpy as np\n"
        "found = np.zeros((1, 1))\n"
        "spheres = np.array([[[0, 0, 0], [0, 0, 1.0]]])\n"
        "k.overlaps(spheres, np.full((1, 2), 0.6), np.array([[0, 1]]), 0.0, found)\n"
        "assert abs(found[0, 0] - 0.2) < 1e-12\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "HOME": str(blocked)}
    environment |= {"XDG_CACHE_HOME": str(blocked), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be kept") == 1
