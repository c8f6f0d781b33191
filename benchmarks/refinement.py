"""What comes after the fit to landmarks, and what it brings on synthetic pictures; prints JSON.

    python benchmarks/refinement.py [--count 320] [--seed 772] [--checkpoint DIR]

Every picture's hand is fitted to landmarks alone, then with fingers that may not enter each other, then to
its outline too: joints and vertices after alignment (mm), vertices in the picture (median over the hand, %
of its size), how deep the mesh enters itself (mm; `amvur.data.synthetic.penetration`), and the time of a
fit (ms, in turn). "detector" are the hands that the detector finds, "box" all of them in boxes about their
joints. No training saw these seeds; constants were chosen on seed 771 and with the labelled photographs in
sight.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from timing import machine

from amvur.data.synthetic.generator import SyntheticHands
from amvur.data.synthetic.penetration import ContactModel, make_contact_model, penetration_depth_mm
from amvur.detect.given import GivenBoxes
from amvur.geometry.procrustes import align_similarity
from amvur.hand.model import HandModel
from amvur.inference.assemble import FittedHand
from amvur.inference.camera import make_camera
from amvur.inference.frames import enter, lies_on, merge_passes
from amvur.inference.reconstructor import Reconstructor
from amvur.structures import HandDetection

SIZE_PX = 256
NAMES = ("joints_mm", "vertices_mm", "vertices_percent_of_size", "penetration_mm", "fit_ms")
PLACE, DEPTH = NAMES.index("vertices_percent_of_size"), NAMES.index("penetration_mm")
WAYS = ("solid", "outline")


@dataclass
class Scores:
    """Rows of `NAMES` for the same hands, by `WAYS`."""

    rows: dict[str, list[list[float]]] = field(default_factory=lambda: {way: [] for way in WAYS})

    def summary(self) -> dict[str, object]:
        """Means (the time: the median), and how many hands lie better in the picture by their outlines."""
        rows = {way: np.array(found) for way, found in self.rows.items()}
        result: dict[str, object] = {"hands": len(rows["solid"])}
        for way, found in rows.items():
            means = [*found[:, :-1].mean(0), np.median(found[:, -1])]
            result[way] = {name: round(float(x), 2) for name, x in zip(NAMES, means, strict=True)}
            result[way]["share_deeper_than_4_mm"] = round(float((found[:, DEPTH] > 4).mean()), 3)
        ratio = rows["outline"][:, PLACE] / rows["solid"][:, PLACE]
        result["share_better_placed_by_outline"] = round(float((ratio < 1).mean()), 3)
        result["share_worse_placed_by_a_tenth"] = round(float((ratio > 1.1).mean()), 3)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=320)
    parser.add_argument("--seed", type=int, default=772)
    parser.add_argument("--checkpoint", default="default")
    args = parser.parse_args()
    torch.set_num_threads(1)
    reconstructor, boxes = Reconstructor(checkpoint=args.checkpoint), GivenBoxes()
    model = HandModel(reconstructor.arrays, torch.float64)
    contacts = make_contact_model(model)
    scores = {"detector": Scores(), "box": Scores()}
    for pictures in SyntheticHands(args.seed, size_px=SIZE_PX).batches(count=args.count, batch_size=16):
        for i in range(len(pictures)):
            image, joints_2d = pictures.images[i].numpy(), pictures.joints_2d[i].numpy()
            side = "left" if pictures.is_left[i] else "right"
            truth = [x[i].double() for x in (pictures.joints, pictures.vertices, pictures.intrinsics)]
            low, high = joints_2d.min(0), joints_2d.max(0)
            margin = 0.05 * (high - low).max()
            box = np.concatenate([low - margin, high + margin]).astype(np.float64)
            seen = reconstructor.detector.detect(image)
            found = [d for d in seen if d.side == side and lies_on(d, joints_2d)]
            for name, detections in (
                ("detector", found[:1]),
                ("box", boxes.detect(image, boxes=box[None], side=side)),
            ):
                for detection in detections:
                    compare(reconstructor, image, detection, truth, scores[name], model, contacts)
    print(json.dumps({**machine(), **{name: s.summary() for name, s in scores.items()}}, indent=1))


def compare(
    reconstructor: Reconstructor,
    image: np.ndarray,
    detection: HandDetection,
    truth: list[torch.Tensor],
    scores: Scores,
    model: HandModel,
    contacts: ContactModel,
) -> None:
    """Fit one hand in all `WAYS`."""
    camera = make_camera(SIZE_PX, SIZE_PX, hand_sizes_px=[merge_passes(detection).size_px])
    views = reconstructor.trained.look(enter(image, camera, [detection]))
    for way, picture in zip(WAYS, (None, image), strict=True):
        frames = enter(picture, camera, [detection])
        started = time.perf_counter()
        (hand,) = reconstructor.fit(frames, views)
        spent = 1000 * (time.perf_counter() - started)
        vertices = torch.from_numpy(hand.posterior.mesh().vertices)
        depth = float(penetration_depth_mm(vertices, model, contacts)[0])
        scores.rows[way].append([*errors_of(hand, camera.intrinsics, truth), depth, spent])


def errors_of(hand: FittedHand, intrinsics: np.ndarray, truth: list[torch.Tensor]) -> list[float]:
    """Return the first three of `NAMES`."""
    mesh = hand.posterior.mesh()
    joints, vertices = (torch.as_tensor(x[0] * hand.frame.flip) for x in (mesh.joints, mesh.vertices))
    aligned = [
        1000 * float((align_similarity(x, y) - y).norm(dim=-1).mean())
        for x, y in ((joints, truth[0]), (vertices, truth[1]))
    ]
    ours, true = (
        (x @ k.T)[:, :2] / (x @ k.T)[:, 2:]
        for x, k in ((vertices, torch.as_tensor(intrinsics)), (truth[1], truth[2]))
    )
    size = (true.amax(0) - true.amin(0)).max()
    return [*aligned, 100 * float((ours - true).norm(dim=-1).median() / size)]


if __name__ == "__main__":
    main()
