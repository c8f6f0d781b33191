"""A limit of time and memory around what reads hostile files."""

import time
from contextlib import contextmanager
from pathlib import Path

import pytest


def _memory(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


@contextmanager
def within(seconds=3.0, megabytes=100):
    """Fail where more is taken; memory is what this process takes in addition (measured on Linux only)."""
    linux = Path("/proc/self/clear_refs").exists()
    if linux:
        Path("/proc/self/clear_refs").write_text("5")
        before = _memory("VmRSS")
    started = time.monotonic()
    yield
    took = time.monotonic() - started
    assert took < seconds, f"{took:.1f} s"
    if linux:
        assert _memory("VmHWM") - before < megabytes


@contextmanager
def refused(error, match, **limits):
    """Expect an error of ours within limits."""
    with within(**limits), pytest.raises(error, match=match) as told:
        yield told
    assert len(str(told.value)) < 20_000
