"""What the synthetic hands cost and whether they are right; prints one JSON object.

python benchmarks/synthetic.py speed [--count 200]      images a second at 224×224, one process
python benchmarks/synthetic.py memory [--count 100000]  resident memory over many images
python benchmarks/synthetic.py labels [--count 100]     labels against independent computations
python benchmarks/synthetic.py judge [--count 300]      MediaPipe on unoccluded hands
python benchmarks/synthetic.py select                   choose synth-v1 anew (for a new version only)
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from timing import machine

from amvur.data.samples import HandBatch
from amvur.data.synthetic import benchmark_set
from amvur.data.synthetic.generator import SyntheticHands
from amvur.geometry.cameras import project
from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.render import rasterize

SEED = 1
CLEAR = 0.05
"""A hand of which at most this share is hidden counts as unoccluded."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    tasks = {"speed": speed, "memory": memory, "labels": labels, "judge": judge, "select": select}
    defaults = {"speed": 200, "memory": 100_000, "labels": 100, "judge": 300, "select": benchmark_set.COUNT}
    parser.add_argument("task", choices=tasks)
    parser.add_argument("--count", type=int)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(json.dumps({**machine(), **tasks[args.task](args.count or defaults[args.task])}, indent=1))


def speed(count: int) -> dict[str, object]:
    hands = SyntheticHands(SEED)
    hands.batch(range(4))  # compiles and fills caches
    seconds = []
    for index in range(4, 4 + count):
        started = time.perf_counter()
        hands.batch([index])
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    hands.batch(range(4, 4 + min(count, 64)))
    batch = time.perf_counter() - started
    return {
        "images": count,
        "images_per_second": round(count / sum(seconds), 2),
        "median_ms": round(1000 * float(np.median(seconds)), 1),
        "worst_ms": round(1000 * max(seconds)),
        "images_per_second_in_a_batch": round(min(count, 64) / batch, 2),
    }


def memory(count: int) -> dict[str, object]:
    hands, marks = SyntheticHands(SEED), {}
    started = time.perf_counter()
    every = max(count // 10, 1)
    for batch in hands.batches(0, count, 20):
        done = int(batch.index[-1]) + 1
        if done == 200 or done // every != (done - len(batch)) // every:
            marks[done] = resident_mb()
            print(f"{done} images: {marks[done]} MB resident", file=sys.stderr)
    return {"images": count, "seconds": round(time.perf_counter() - started), "resident_mb_after": marks}


def resident_mb() -> int:
    """Resident memory of this process (Linux)."""
    with open("/proc/self/statm") as file:
        return round(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20)


def labels(count: int) -> dict[str, object]:
    """Reprojection, mesh from parameters, masks and visibility, each computed in another way.

    The rays and the silhouette here know of no forearm: what it hides is counted as a difference.
    """
    hands = SyntheticHands(SEED)
    models = {left: HandModel(load_hand_model("open", side), torch.float64) for left, side in sides()}
    worst = {"reprojection_px": 0.0, "joints_mm": 0.0, "vertices_mm": 0.0}
    spilled, differences, unlike = 0, [], np.zeros(3)
    for number, batch in enumerate(hands.batches(0, count, 1)):
        model = models[bool(batch.is_left[0])]
        names = (batch.global_orient, batch.hand_pose, batch.betas, batch.transl)
        mesh = model(*(value.double() for value in names))
        places = project(mesh.joints, batch.intrinsics.double())
        keep_worst(worst, "reprojection_px", places - batch.joints_2d)
        keep_worst(worst, "joints_mm", 1000 * (mesh.joints - batch.joints))
        keep_worst(worst, "vertices_mm", 1000 * (mesh.vertices - batch.vertices))
        outside, share = compare_mask(batch, model.faces)
        spilled += outside
        differences.append(abs(float(batch.occlusion) - share))
        if number < 10:
            seen, label = visible_by_rays(batch.vertices[0].double(), model.faces), batch.visible_vertices[0]
            unlike += [float((label & ~seen).sum()), float((~label & seen).sum()), len(seen)]
    return {
        "images": count,
        "largest_difference": {name: float(f"{value:.3g}") for name, value in worst.items()},
        "mask_pixels_off_the_silhouette": spilled,
        "occlusion_difference_without_forearm": {
            "median": round(float(np.median(differences)), 4),
            "largest": round(max(differences), 4),
        },
        "vertices_visible_but_not_by_rays": round(unlike[0] / unlike[2], 4),
        "vertices_visible_by_rays_only": round(unlike[1] / unlike[2], 4),
    }


def sides() -> Iterator[tuple[bool, str]]:
    yield from ((False, "right"), (True, "left"))


def keep_worst(worst: dict[str, float], name: str, difference: torch.Tensor) -> None:
    worst[name] = max(worst[name], float(difference.abs().max()))


def compare_mask(batch: HandBatch, faces: torch.Tensor) -> tuple[int, float]:
    """Mask pixels more than one pixel off the silhouette, and the hidden share of the whole silhouette."""
    size = batch.images.shape[1]
    camera = batch.intrinsics.clone()
    camera[:, :2, 2] += size  # a canvas three times as wide holds what the frame cuts off
    whole = rasterize(batch.vertices, faces, camera, 3 * size, 3 * size).mask[0]
    inside = whole[size : 2 * size, size : 2 * size]
    grown = torch.nn.functional.max_pool2d(inside[None].float(), 3, 1, 1)[0] > 0
    return int((batch.mask[0] & ~grown).sum()), 1 - float(batch.mask.sum()) / float(whole.sum())


def visible_by_rays(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """Vertices that turn a face to the camera and that no other face hides: every ray, every face."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    towards = (torch.linalg.cross(b - a, c - a) * a).sum(-1) < 0
    faces_camera = torch.zeros(len(vertices), dtype=torch.bool)
    faces_camera[faces[towards].flatten()] = True
    hidden = torch.zeros(len(vertices), dtype=torch.bool)
    e1, e2 = b - a, c - a
    for vertex in faces_camera.nonzero()[:, 0].tolist():
        direction = vertices[vertex]
        p = torch.linalg.cross(direction.expand_as(e2), e2)
        determinant = (e1 * p).sum(-1)
        safe = torch.where(determinant.abs() < 1e-15, torch.inf, determinant)
        u = -(a * p).sum(-1) / safe
        q = torch.linalg.cross(-a, e1)
        v, t = (direction * q).sum(-1) / safe, (e2 * q).sum(-1) / safe
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 1e-6) & (t < 1 - 1e-6)
        hidden[vertex] = bool((hit & (faces != vertex).all(-1)).any())
    return faces_camera & ~hidden


def judge(count: int) -> dict[str, object]:
    """MediaPipe on hands of which at most 5 % is hidden, its nearest hand counting as the answer."""
    from amvur.detect.mediapipe_hands import MediaPipeDetector

    found, errors, sided, looked = 0, [], 0, 0
    with MediaPipeDetector() as detector:
        for batch in SyntheticHands(SEED).batches(0, None, 1):
            if float(batch.occlusion) > CLEAR or bool((batch.joint_states == 3).any()):
                continue
            looked += 1
            truth = batch.joints_2d[0].numpy()
            size = float(np.ptp(truth, axis=0).max())
            answers = []
            for hand in detector.detect(batch.images[0].numpy()):
                distance = np.linalg.norm(np.median(hand.joints_2d_px, axis=0) - truth, axis=-1)
                answers.append((float(distance.mean()), hand.side))
            best = min(answers, default=(np.inf, ""))
            if best[0] < 0.25 * size:
                found += 1
                errors.append(best[0])
                sided += best[1] == ("left" if batch.is_left[0] else "right")
            if looked == count:
                break
    return {
        "unoccluded_images": looked,
        "found": round(found / looked, 4),
        "mean_2d_error_px": round(float(np.mean(errors)), 2),
        "median_2d_error_px": round(float(np.median(errors)), 2),
        "side_right": round(sided / max(found, 1), 4),
    }


def select(count: int) -> dict[str, object]:
    membership, rendered = benchmark_set.select(count)
    benchmark_set.write_membership(membership)
    return {"images": count, "rendered_to_choose": rendered, "labels_sha256": membership.sha256()}


if __name__ == "__main__":
    main()
