"""How many training pictures a second one process reads from data sets as they are: is anything else needed?

    OMP_NUM_THREADS=1 python benchmarks/photo_reading.py [--count 300]

Writes made-up sets (own photographs of three sizes, the layouts of FreiHAND and HO3D, shards) in a temporary
folder, takes every picture of them once as training does (labels, decoding, crop) and prints one JSON object.
`per_cpu_second` says what it costs, `per_second` what it took here; files come from memory.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from datasets import write_lists
from PIL import Image, ImageFilter

from amvur.data.real import open_dataset
from amvur.data.synthetic.generator import SyntheticHands
from amvur.data.synthetic.shards import ShardPlan, write_shards
from amvur.training.mixture import ShuffledSet
from amvur.training.real_sources import Photos
from amvur.training.stored_hands import StoredHands

IMAGE_PX = 224


def write_picture(path: Path, width: int, height: int, number: int) -> None:
    """Write blobs with some noise: about the size of a photograph's file."""
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8))
    blobs = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC).filter(ImageFilter.BLUR))
    noisy = np.clip(blobs + rng.normal(0, 3, blobs.shape), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy).save(path, quality=92)


def write_photographs(folder: Path, count: int, width: int, height: int) -> None:
    """Write own photographs with the labels of `amvur label`'s form."""
    rng = np.random.default_rng(0)
    images, hands = [], []
    for number in range(count):
        name = f"{number:05d}.jpg"
        write_picture(folder / name, width, height, number)
        joints = rng.uniform(0.3, 0.7, (21, 2)) * (width, height)
        images.append({"id": number, "file_name": name})
        keypoints = np.column_stack([joints, np.full(21, 2)]).ravel().tolist()
        hands.append({"image_id": number, "side": "right", "keypoints": keypoints})
    (folder / "labels.json").write_text(json.dumps({"images": images, "annotations": hands}))


def write_freihand(folder: Path, count: int) -> None:
    """Write FreiHAND's lists and pictures of 224 pixels."""
    folder.mkdir()
    write_lists(folder, count // 4)
    for number in range(4 * (count // 4)):
        write_picture(folder / "training" / "rgb" / f"{number:08d}.jpg", 224, 224, number)


def write_ho3d(folder: Path, count: int, suffix: str) -> None:
    """Write a sequence of HO3D: pictures of 640×480 and a pickle for each."""
    rng, names = np.random.default_rng(0), [f"ABF1/{number:04d}" for number in range(count)]
    for number, name in enumerate(names):
        sequence, frame = name.split("/")
        write_picture(folder / "train" / sequence / "rgb" / f"{frame}.{suffix}", 640, 480, number)
        meta = {
            "camMat": np.array([[614.0, 0, 320], [0, 614, 240], [0, 0, 1]]),
            "handJoints3D": rng.uniform(-0.07, 0.07, (21, 3)) - [0, 0, 0.6],
            "handPose": rng.normal(0, 0.2, 48),
            "handBeta": rng.normal(0, 1, 10),
            "handTrans": np.zeros(3),
        }
        path = folder / "train" / sequence / "meta" / f"{frame}.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(meta, protocol=2))
    (folder / "train.txt").write_text("\n".join(names) + "\n")


def measure(pictures: ShuffledSet) -> dict[str, float]:
    """Take every picture once, after some for warming up."""
    for number in range(10):
        pictures.picture(number)
    wall, cpu = time.perf_counter(), time.process_time()
    for number in range(pictures.count):
        assert not pictures.picture(number).skipped
    return {
        "pictures": pictures.count,
        "per_second": round(pictures.count / (time.perf_counter() - wall), 1),
        "per_cpu_second": round(pictures.count / (time.process_time() - cpu), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--rendered", type=int, default=60, help="pictures in the synthetic set")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for width, height in ((4000, 3000), (640, 480), (224, 224)):
            count = options.count if width < 1000 else options.count // 10
            write_photographs(root / f"own{width}", count, width, height)
            results[f"own photographs {width}×{height} JPEG"] = _real(root / f"own{width}", False)
        write_freihand(root / "freihand", options.count)
        results["FreiHAND 224×224 JPEG, 3D labels"] = _real(root / "freihand", True)
        for suffix in ("png", "jpg"):
            write_ho3d(root / suffix, options.count, suffix)
            results[f"HO3D 640×480 {suffix.upper()}, 3D labels"] = _real(root / suffix, True)
        hands = SyntheticHands(0, size_px=IMAGE_PX)
        write_shards(hands, root / "shards", ShardPlan(options.rendered))
        stored = StoredHands("stored", root / "shards", IMAGE_PX, hands.model.arrays.sha256)
        results["shards 224×224 JPEG"] = measure(stored)
    results["load_average"] = round(os.getloadavg()[0], 2)
    print(json.dumps(results, indent=1, ensure_ascii=False))


def _real(folder: Path, with_3d: bool) -> dict[str, float]:
    found = measure(Photos(open_dataset(folder, "training"), IMAGE_PX, with_3d=with_3d))
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.suffix in (".jpg", ".png")]
    return found | {"kilobytes_each": round(sum(sizes) / len(sizes) / 1000, 1)}


if __name__ == "__main__":
    main()
