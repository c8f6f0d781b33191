"""How long `amvur evaluate` takes on a set of FreiHAND's size, and in how much memory.

    python benchmarks/evaluate.py [--count 3960] [--protocol freihand]

Makes a set of random hands in the official format in a temporary folder (about 240 MB), scores it by the
command in a process of its own, and prints one JSON object. Other numbers of hands say how time and
memory grow.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def write_set(folder: Path, count: int) -> None:
    """Write ground truth and noisy predictions of `count` hands, sample by sample."""
    rng = np.random.default_rng(0)
    template = (rng.random((778, 3)) - 0.5) * [0.18, 0.09, 0.03]
    turns = np.linalg.qr(rng.standard_normal((count, 3, 3)))[0]
    paths = [folder / name for name in ("evaluation_xyz.json", "evaluation_verts.json", "pred.json")]
    truth = [np.round(template @ turn.T + [0, 0, 0.7], 7) for turn in turns]
    noisy = [np.round(v + 0.004 * rng.standard_normal(v.shape), 7) for v in truth]
    texts = [_list(v[:21] for v in truth), _list(truth), f"[{_list(v[:21] for v in noisy)}, {_list(noisy)}]"]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)


def _list(samples) -> str:
    return "[" + ", ".join(json.dumps(sample.tolist()) for sample in samples) + "]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=3960)
    parser.add_argument("--protocol", choices=("freihand", "ho3d"), default="freihand")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_set(folder, options.count)
        command = [sys.executable, "-c", "from amvur.cli import main; main()", "evaluate"]
        command += ["--protocol", options.protocol, "--predictions", str(folder / "pred.json")]
        started = time.perf_counter()
        done = subprocess.run([*command, "--ground-truth", name], check=True, capture_output=True)
        seconds = time.perf_counter() - started
        size = sum(path.stat().st_size for path in folder.iterdir())
    result = {
        "protocol": options.protocol,
        "samples": options.count,
        "seconds": round(seconds, 1),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
        "files_mb": round(size / 1e6),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
        "mesh_al_mean3d": json.loads(done.stdout)["mesh_al_mean3d"],
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
