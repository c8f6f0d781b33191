"""Folders of made-up labelled photographs, and a mixture of two of them with drawn pictures."""

import json

import numpy as np
from PIL import Image
from tiny_run import PX, TinySource

from amvur.data.real import open_dataset
from amvur.training.mixture import Mixture, Renders
from amvur.training.real_sources import Photos


def write_photos(folder, count, seed=0, size=48):
    """Write pictures of noise with one hand each, and `labels.json`; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    images, hands = [], []
    for number in range(count):
        name = f"{number:03d}.png"
        Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(folder / name)
        joints = np.column_stack([rng.uniform(8, size - 8, (21, 2)), np.full(21, 2)])
        images.append({"id": number, "file_name": name})
        side = ("left", "right")[number % 2]
        hands.append({"image_id": number, "side": side, "keypoints": joints.ravel().tolist()})
    (folder / "labels.json").write_text(json.dumps({"images": images, "annotations": hands}))
    return folder


def mixture_of(folder):
    """Two sets of photographs and drawn hands with 3D labels, in shares of 1, 2 and 1; they are made if new."""
    sets = []
    for number, count in enumerate((3, 5)):
        path = folder / f"set{number}"
        if not path.exists():
            write_photos(path, count, seed=number)
        sets.append(Photos(open_dataset(path, "training"), PX, with_3d=False, seed=number))
    return Mixture([*sets, Renders(TinySource(0))], [1.0, 2.0, 1.0], seed=3)
