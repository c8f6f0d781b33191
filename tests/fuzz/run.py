"""`make fuzz`: damaged files for every reader, from a fixed seed: a value or an error of ours, bounded, naming the file.

Every reader runs in a process of its own. A case is told by its reader and number: `python tests/fuzz/run.py --only
mesh.glb --first 1234 --cases 1` repeats it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
from mutate import mutate
from readers import Reader, readers

WRITING = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree",
           "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.bind"}  # fmt: skip


class TooLong(BaseException):
    """A case took more than its time."""


@dataclass
class Tally:
    """What happened to one reader."""

    cases: int = 0
    values: int = 0
    slowest_s: float = 0.0
    slowest: int = 0
    peak_mb: float = 0.0
    written: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def main() -> int:
    """Run all readers, or with --only one in this process; return 1 if there was a fault."""
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=60.0, help="for all readers together")
    options.add_argument("--only", help="one reader, in this process")
    options.add_argument("--first", type=int, default=0)
    options.add_argument("--cases", type=int, default=None)
    given = options.parse_args()
    if given.only is not None:
        reader = next(reader for reader in readers() if reader.name == given.only)
        return told(reader, run(reader, given.seconds, given.first, given.cases, None), given.seconds)
    warnings.simplefilter("ignore")  # of zips with two members of one name
    import timm  # noqa: F401
    import torch

    torch.set_num_threads(1)
    every = readers()
    print(
        f"{'reader':22}{'cases':>8}{'per s':>8}{'values':>8}{'slowest':>16}{'peak MB':>9}  faults", flush=True
    )
    return max([alone(reader, given.seconds / len(every)) for reader in every])


def alone(reader: Reader, seconds: float) -> int:
    """Run a reader in a process of its own; one that dies or hangs is told with its last case."""
    with tempfile.TemporaryDirectory() as folder:
        progress, output = Path(folder) / "case", Path(folder) / "output"
        child = os.fork()  # so that what readers import is imported once
        if child == 0:
            status = 2
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries in C talk of what they find
            try:
                with output.open("w") as stream, contextlib.redirect_stdout(stream):
                    status = told(reader, run(reader, seconds, 0, None, progress), seconds)
            except BaseException:
                output.write_text(f"{reader.name}: {traceback.format_exc()[-3000:]}")
            finally:
                os._exit(status)
        ends = time.monotonic() + seconds + 120
        done, status = 0, 0
        while not done and time.monotonic() < ends:
            done, status = os.waitpid(child, os.WNOHANG)
            time.sleep(0.02)
        if not done:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        text = output.read_text() if output.exists() else ""
        if status not in (0, 256) or not done:
            case = progress.read_text() if progress.exists() else "none"
            text += (
                f"{reader.name}: ended with {status} at case {case}"
                if done
                else f"{reader.name}: {case} hangs"
            )
        print(text.rstrip(), flush=True)
        return int(status != 0 or not done)


def told(reader: Reader, tally: Tally, seconds: float) -> int:
    """Print a reader's line and faults; return whether there are any."""
    print(line(reader.name, tally, seconds), *tally.faults, sep="\n", flush=True)
    return int(bool(tally.faults))


def run(reader: Reader, seconds: float, first: int, cases: int | None, progress: Path | None) -> Tally:
    """Damage a reader's file until time or cases are over."""
    tally, active = Tally(), [False]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if active[0] and (writes or event in WRITING) and arguments[0] not in ("/dev/null", -1):
            tally.written.append(f"{event} {arguments[0]!r}")

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "seed"
        root.mkdir()
        path = root / reader.name
        reader.make(path)
        files = sorted(path.glob(reader.damaged)) if reader.damaged else [path]
        kept = Path(folder) / "kept"
        shutil.copytree(root, kept)
        reader.read(path)  # the seed itself is sound
        sys.addaudithook(watch)
        limit = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + (reader.megabytes + 300) * 2**20, limit))
        signal.signal(signal.SIGPROF, _too_long)
        ends = time.monotonic() + seconds
        number = first
        while number < first + cases if cases is not None else time.monotonic() < ends:
            if progress is not None:
                progress.write_text(str(number))
            _case(reader, path, root, kept, files, number, tally, active)
            number += 1
            if len(tally.faults) > 20:
                break
    return tally


def _case(reader, path, root, kept, files, number, tally, active) -> None:
    """Write, read and judge one damaged file."""
    rng = random.Random(f"{reader.name} {number}")
    file = rng.choice(files)
    file.write_bytes(mutate(file.name, (kept / file.relative_to(root)).read_bytes(), rng))
    if reader.repair is not None and rng.random() < 0.8:
        reader.repair(path)
    before = _reset_peak()
    started = time.process_time()  # others may be busy on the same machine
    signal.setitimer(signal.ITIMER_PROF, reader.seconds)
    active[0] = not reader.writes
    fault = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
        tally.values += 1
    except TooLong:
        fault = f"more than {reader.seconds} s"
    except BaseException as error:
        fault = _judge(error, path, file)
    finally:
        active[0] = False
        signal.setitimer(signal.ITIMER_PROF, 0)
    took, peak = time.process_time() - started, (_memory("VmHWM") - before) / 2**20
    if took > tally.slowest_s:
        tally.slowest_s, tally.slowest = took, number
    tally.peak_mb = max(tally.peak_mb, peak)
    tally.cases += 1
    if tally.written:
        fault = fault or f"it wrote: {tally.written}"
        tally.written.clear()
    if peak > reader.megabytes:
        fault = fault or f"{peak:.0f} MB"
    if fault:
        tally.faults.append(f"  {reader.name}, case {number}: {fault}")
    for touched in files if reader.repair is None and not reader.writes else root.rglob("*"):
        source = kept / touched.relative_to(root)
        if touched.is_file():
            shutil.copyfile(source, touched) if source.exists() else touched.unlink()


def _judge(error: BaseException, path: Path, file: Path) -> str:
    """Return what is wrong with an error, if anything."""
    from amvur.errors import AmvurError

    text = str(error)
    if isinstance(error, AmvurError):
        if str(path) not in text and str(file) not in text:
            return f"does not name the file: {text[:300]}"
        return "" if len(text) < 5000 else f"a message of {len(text)} letters"
    where = traceback.extract_tb(error.__traceback__)
    own = [place for place in where if "amvur" in place.filename] or where
    return f"{type(error).__name__}: {text[:200]} at {own[-1].filename}:{own[-1].lineno}"


def _too_long(*_: object) -> None:
    raise TooLong


def _memory(name: str) -> int:
    """Return a line of this process's status in bytes."""
    for entry in Path("/proc/self/status").read_text().splitlines():
        if entry.startswith(f"{name}:"):
            return 1024 * int(entry.split()[1])
    raise KeyError(name)


def _reset_peak() -> int:
    """Let the peak of memory begin anew; return what is in use."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def line(name: str, tally: Tally, seconds: float) -> str:
    """Return a reader's line of the table."""
    slowest = f"{tally.slowest_s:.2f} s (#{tally.slowest})"
    return (
        f"{name:22}{tally.cases:8}{tally.cases / seconds:8.0f}{tally.values:8}{slowest:>16}{tally.peak_mb:9.0f}"
        f"  {len(tally.faults)}"
    )


if __name__ == "__main__":
    sys.exit(main())
