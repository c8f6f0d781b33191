"""Time and memory of a reconstruction, stage by stage, models loaded: python benchmarks/speed.py

Prints one JSON object: median milliseconds on a 640x480 picture of one hand, ratios where a reference runs
in the same process, and the peak memory of the process.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import tempfile
from pathlib import Path

import numpy as np
import torch
from timing import median_ms

from amvur import Reconstructor, load_image
from amvur.cli.options import Reconstruct
from amvur.cli.reconstruct import run_reconstruct
from amvur.hand.model import HandModel
from amvur.inference.frames import enter
from amvur.inference.texture.sampling import sample_vertex_colors
from amvur.render import rasterize

SAMPLE = Path(__file__).parents[1] / "examples" / "open_palm.jpg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    n = parser.parse_args().repeats
    image = load_image(SAMPLE).pixels
    reconstructor = Reconstructor()
    detections = reconstructor.detector.detect(image)
    hand = reconstructor(image)[0]
    camera = hand.camera
    frames, blind = (enter(picture, camera, detections[:1]) for picture in (image, None))
    views = reconstructor.trained.look(frames)
    vertices, faces = torch.as_tensor(hand.vertices)[None], torch.as_tensor(hand.faces)
    # The camera of the square crop of the hand, at the 224 px that networks see.
    x0, y0 = hand.joints_2d.min(0) - 40
    scale = 224 / (np.ptp(hand.joints_2d, axis=0).max() + 80)
    crop = np.array([[scale, 0, -scale * x0], [0, scale, -scale * y0], [0, 0, 1]])
    intrinsics = torch.as_tensor(crop @ camera.intrinsics).float()[None]
    model = HandModel(reconstructor.arrays)
    pose = (torch.zeros(1, 3), torch.zeros(1, 45), torch.zeros(1, 10))
    one, alone = (
        median_ms(lambda hands=hands: reconstructor.fit(hands, views), n) for hands in (frames, blind)
    )
    batch = median_ms(lambda: reconstructor.fit(frames * 64, views * 64), max(n // 5, 3))
    given = detections[:1] * 64
    all_in = median_ms(lambda: reconstructor(image, detections=given), max(n // 5, 3))
    with tempfile.TemporaryDirectory() as folder:
        options = Reconstruct(paths=(SAMPLE,), output=Path(folder))
        everything = median_ms(lambda: run_reconstruct(options, reconstructor), n)
    result = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "everything_written_ms": everything,
        "detector_ms": median_ms(lambda: reconstructor.detector.detect(image), n),
        "fit_ms": one,
        "fit_without_outline_ms": alone,
        "fit_64_per_hand_ms": round(batch / 64, 2),
        "reconstruct_64_per_hand_ms": round(all_in / 64, 2),
        "fit_batch_speedup": round(64 * one / batch, 1),
        "reconstruct_ms": median_ms(lambda: reconstructor(image), n),
        "hand_model_ms": median_ms(lambda: model(*pose), n),
        "rasterize_224_ms": median_ms(lambda: rasterize(vertices, faces, intrinsics, 224, 224), n),
        "texture_ms": median_ms(
            lambda: sample_vertex_colors(image, hand.vertices, hand.faces, camera.intrinsics), n
        ),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
