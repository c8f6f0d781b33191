"""How a network's word is best weighed beside the detector's: by synthetic hands or half of some photographs.

    python scripts/choose_fusion.py CHECKPOINT --count 300
    python scripts/choose_fusion.py CHECKPOINT --photographs ../shared/real_photos/labelled

Detector and network look once at every hand; the hands are then fitted with every setting of the fusion, and
without the network. Prints the mean error after alignment of each. Synthetic hands are of a seed that no
training uses. Of labelled photographs (`labels.json` as `benchmarks/real_photos.py` reads it) the second,
fourth, ... choose; the figures of the others are printed beside and take no part in the choice.
`calibrate_uncertainty.py --scale-3d A --scale-2d B` stores one (`--scale-2d inf`: the detector's 2D alone).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from calibrate_uncertainty import Case, detections_of, fusion_with, synthetic_cases
from rendered_hands import framed

from amvur import load_image
from amvur.geometry.procrustes import align_similarity
from amvur.inference.network.view import FusionSettings
from amvur.inference.reconstructor import Reconstructor

SCALES_3D = (1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
SCALES_2D = (2.0, 8.0, math.inf)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=4_000_000, help="number of the first picture")
    parser.add_argument("--photographs", type=Path, help="labelled photographs instead of synthetic hands")
    args = parser.parse_args()
    reconstructor = Reconstructor(checkpoint=args.checkpoint)
    asked = replace(reconstructor.trained.fusion, beside_detector=True)
    reconstructor.trained = replace(reconstructor.trained, fusion=asked)
    if args.photographs is None:
        cases = synthetic_cases(reconstructor, args.seed, args.count, detections_of)
    else:
        cases = photographed_cases(reconstructor, args.photographs)
    rows = [["without the network", *errors_mm(reconstructor, cases, None)]]
    for scale_3d in SCALES_3D:
        for scale_2d in SCALES_2D:
            fusion = fusion_with(asked, scale_3d, scale_2d)
            rows.append([f"3D {scale_3d:g}, 2D {scale_2d:g}", *errors_mm(reconstructor, cases, fusion)])
            print(rows[-1], flush=True)
    columns = ["pa_mpjpe_mm", "pa_mpjpe_mm_of_the_others"][: len(rows[0]) - 1]
    result = {name: {row[0]: row[1 + i] for row in rows} for i, name in enumerate(columns)}
    print(json.dumps({"hands": len(cases), **result}, indent=1))


def photographed_cases(reconstructor: Reconstructor, folder: Path) -> list[Case]:
    """Return the surest detection in every photograph, with the network's view and the labelled joints."""
    cases = []
    for sample in json.loads((folder / "labels.json").read_text())["samples"]:
        image = load_image(folder / sample["image"]).pixels
        (detection, *_) = sorted(reconstructor.detector.detect(image), key=lambda d: -d.score)
        frame = framed(image, detection)
        (view,) = reconstructor.trained.look([frame])
        joints = torch.tensor(sample["joints_3d"], dtype=torch.float64)
        cases.append(Case(frame, joints, view, labelled=True))
    return cases


def errors_mm(
    reconstructor: Reconstructor, cases: Sequence[Case], fusion: FusionSettings | None
) -> list[float]:
    """Return the mean over hands of the joints' error after alignment: of all, or of those that choose and
    of the others."""
    if fusion is not None:
        reconstructor.trained = replace(reconstructor.trained, fusion=fusion)
    errors = np.zeros(len(cases))
    for i, case in enumerate(cases):
        (hand,) = reconstructor.fit([case.frame], [None if fusion is None else case.view])
        mesh = hand.posterior.mesh()
        joints = torch.as_tensor(mesh.joints[0] * case.frame.flip)
        errors[i] = (align_similarity(joints, case.joints) - case.joints).norm(dim=-1).mean()
    chosen = [errors[1::2], errors[::2]] if cases[0].labelled else [errors]
    return [round(1000 * float(part.mean()), 3) for part in chosen]


if __name__ == "__main__":
    main()
