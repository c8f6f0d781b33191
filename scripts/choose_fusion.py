"""How a network's word is best weighed beside the detector's, found on synthetic pictures alone.

    python scripts/choose_fusion.py CHECKPOINT --count 300

Detector and network look once at synthetic hands of a seed that no training uses; the hands are then fitted
with every pair of the fusion's two scales, and without the network. Prints the mean error after alignment of
each; no photograph and no label is read. `calibrate_uncertainty.py --scale-3d A --scale-2d B` stores one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from calibrate_uncertainty import Case, detections_of, synthetic_cases

from amvur.geometry.procrustes import align_similarity
from amvur.inference.camera import make_camera
from amvur.inference.evidence import merge_runs
from amvur.inference.reconstructor import Reconstructor

SCALES_3D = (1.0, 2.0, 3.0, 5.0, 8.0)
SCALES_2D = (2.0, 4.0, 8.0, 100.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=4_000_000, help="number of the first picture")
    args = parser.parse_args()
    reconstructor = Reconstructor(checkpoint=args.checkpoint)
    asked = replace(reconstructor.trained.fusion, beside_detector=True)
    reconstructor.trained = replace(reconstructor.trained, fusion=asked)
    cases = synthetic_cases(reconstructor, args.seed, args.count, detections_of)
    rows = [("without the network", mean_error_mm(reconstructor, cases, None))]
    for scale_3d in SCALES_3D:
        for scale_2d in SCALES_2D:
            fusion = replace(asked, network_scale_3d=scale_3d, network_scale_2d=scale_2d)
            rows.append(((scale_3d, scale_2d), mean_error_mm(reconstructor, cases, fusion)))
            print(rows[-1], flush=True)
    result = {"hands": len(cases), "pa_mpjpe_mm": [[str(name), round(value, 3)] for name, value in rows]}
    print(json.dumps(result, indent=1))


def mean_error_mm(reconstructor: Reconstructor, cases: Sequence[Case], fusion: object | None) -> float:
    """Return the mean over hands of the joints' error after alignment."""
    if fusion is not None:
        reconstructor.trained = replace(reconstructor.trained, fusion=fusion)
    errors = []
    for case in cases:
        camera = make_camera(case.size_px, case.size_px, hand_sizes_px=[merge_runs(case.detection).size_px])
        view = None if fusion is None else case.view
        hand = reconstructor.fit([case.detection], camera, case.size_px, [view])[0]
        state, model = hand.posterior.state, hand.posterior.model
        like = model.v_template
        mesh = model.from_matrices(state.rotations.to(like), state.betas.to(like), state.transl.to(like))
        joints = mesh.joints[0].double() * torch.as_tensor(hand.flip)
        errors.append(float((align_similarity(joints, case.joints) - case.joints).norm(dim=-1).mean()))
    return 1000 * float(np.mean(errors))


if __name__ == "__main__":
    main()
