"""How long a FreiHAND training set takes to open and to read from, and in how much memory.

    python benchmarks/datasets.py [--entries 32560]

Writes lists of FreiHAND's size in a temporary folder (1.7 GB; the pictures are empty files), opens them and
reads 200 samples, and prints one JSON object. `cpu_seconds` say what it costs, `seconds` what it took here.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from amvur.data.real import open_dataset


def write_lists(folder: Path, entries: int) -> None:
    """Write the training lists, the same entry again and again, and empty pictures."""
    rng = np.random.default_rng(0)
    place = [0, 0, 0.6]
    rows = {
        "K": [[480.0, 0, 112], [0, 480.0, 112], [0, 0, 1]],
        "xyz": ((rng.random((21, 3)) - 0.5) * [0.15, 0.1, 0.05] + place).tolist(),
        "verts": ((rng.random((778, 3)) - 0.5) * [0.2, 0.15, 0.1] + place).tolist(),
        "mano": [rng.normal(size=61).tolist()],
        "scale": 0.03,
    }
    for name, row in rows.items():
        text = json.dumps(row)
        with (folder / f"training_{name}.json").open("w") as file:
            file.write(f"[{text}")
            file.writelines(f", {text}" for _ in range(entries - 1))
            file.write("]")
    pictures = folder / "training" / "rgb"
    pictures.mkdir(parents=True)
    for number in range(4 * entries):
        (pictures / f"{number:08d}.jpg").touch()


def measure(work: Callable[[], object]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": round(time.perf_counter() - wall, 4),
        "cpu_seconds": round(time.process_time() - cpu, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=32560)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write_lists(Path(name), options.entries)
        before, opened = _peak_mib(), []
        opening = measure(lambda: opened.append(open_dataset(Path(name), "training")))
        data, grown = opened[0], _peak_mib() - before
        chosen = np.linspace(0, len(data) - 1, 200).astype(int).tolist()
        result = {
            "samples": len(data),
            "files_mb": round(sum(path.stat().st_size for path in Path(name).glob("*.json")) / 1e6),
            "open": opening,
            "open_added_peak_mib": round(grown, 1),
            "read_200_samples": measure(lambda: [data[i] for i in chosen]),
            "identity": measure(data.identity),
            "load_average": round(os.getloadavg()[0], 2),
        }
    print(json.dumps(result, indent=1))


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
