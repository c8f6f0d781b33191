"""Compiled functions without a place for their cache."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

import amvur
from amvur.compiled import _warn_once, compiled


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


@pytest.fixture
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    _warn_once.cache_clear()
    yield tmp_path / "cache"
    _warn_once.cache_clear()


def double(x):
    return 2 * x


def kept(folder):
    return sorted(path for path in folder.rglob("*.nb?"))


def test_a_function_is_kept_and_read_again(cache_dir):
    assert compiled(double)(3) == 6
    assert [path.suffix for path in kept(cache_dir)] == [".nbc", ".nbi"]
    again = compiled(double)
    assert again(4) == 8
    assert sum(again.stats.cache_hits.values()) == 1


@pytest.mark.parametrize("damage", [b"", b"\x80\x04 no pickle", None])
def test_a_damaged_cache_costs_time_only_and_is_made_anew(cache_dir, damage):
    assert compiled(double)(3) == 6
    for path in kept(cache_dir):
        path.write_bytes(path.read_bytes()[:-9] if damage is None else damage)
    assert compiled(double)(4) == 8
    again = compiled(double)
    assert again(5) == 10
    assert sum(again.stats.cache_hits.values()) == 1


def test_a_disk_that_is_full_when_a_function_is_kept_is_told_once(cache_dir):
    code = (
        "import resource, signal\n"
        "from amvur.compiled import compiled\n"
        "from test_compiled import double\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "assert compiled(double)(3) == 6 and compiled(double)(3.0) == 6\n"
    )
    source = Path(amvur.__file__).parents[1]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache_dir), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(source), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be kept") == 1


@pytest.mark.parametrize("options", [{}, {"error_model": "numpy"}])
def test_options_of_numba_are_kept(cache_dir, options):
    divide = compiled(**options)(lambda x, y: x / y)
    if options:
        assert np.isinf(divide(1.0, 0.0))
    else:
        with pytest.raises(ZeroDivisionError):
            divide(1.0, 0.0)
