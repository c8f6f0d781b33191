"""Weak training on photographs: the error on others of them before and after, from the box alone.

    python benchmarks/weak_photos.py ../shared/real_photos/labelled --minutes 10

The photographs with an even place in `labels.json` are labelled by the detector (`amvur label`) and trained
on (`amvur train --preset weak --start default`); those with an odd place are scored as
`real_photos.py --box-only` does. No label of the folder is read for training. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from real_photos import score_amvur

from amvur import Reconstructor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--synthetic", type=float, default=0.0, help="weight of synthetic hands beside 1")
    parser.add_argument("--steps", type=int, default=1500, help="at most; the rate falls over them")
    args = parser.parse_args()
    samples = json.loads((args.folder / "labels.json").read_text())["samples"]
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        (work / "photos").mkdir()
        for sample in samples[::2]:
            shutil.copy(args.folder / sample["image"], work / "photos")
        amvur("label", work / "photos")
        data = ["--data", work / "photos"]
        data += ["--data", f"synthetic={args.synthetic}"] if args.synthetic else []
        options = ["--preset", "weak", "--start", "default", "--batch-size", 32, "--steps", args.steps]
        options += ["--pool-size", 256, "--held-out", 64, "--max-seconds", 60 * args.minutes]
        amvur("train", *options, *data, "--output", work / "run")
        rows = (work / "run" / "log.csv").read_text().splitlines()
        result = {
            "trained_on": len(samples[::2]),
            "minutes": args.minutes,
            "synthetic": args.synthetic,
            "before": score("default", args.folder, samples[1::2]),
            "after": score(str(work / "run" / "last"), args.folder, samples[1::2]),
            "log": [rows[0], rows[-1]],
        }
    print(json.dumps(result, indent=1))


def amvur(*arguments: object) -> None:
    program = Path(sys.executable).with_name("amvur")
    subprocess.run([program, *map(str, arguments)], check=True, stdout=sys.stderr)


def score(checkpoint: str, folder: Path, samples: list[dict]) -> dict[str, float]:
    return score_amvur(Reconstructor(detector="none", checkpoint=checkpoint), folder, samples, True)


if __name__ == "__main__":
    main()
