"""How good the texture is and what it costs; prints one JSON object.

python benchmarks/texture.py synthetic [--count 240] [--cache FILE] [--checkpoint DIR] [--baseline DIR]
python benchmarks/texture.py photos PATH... [--every 4] [--output DIR]   renderings of real photographs
python benchmarks/texture.py cost PHOTO [--threads 2]                    time of a hand, beside sampling

`synthetic` compares on the first pictures of synth-v1, with true meshes and with wrong ones, inside the
visible hand and (as "whole") over the picture with everything else copied; then colors of hidden vertices.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from texture_cases import (
    Canvas,
    Case,
    SyntheticCases,
    Ways,
    benchmark_data,
    crop_of_photo,
    mesh_of,
    spread_in_picture,
    whole_picture,
)
from texture_pictures import sheet
from timing import machine, median_ms

from amvur.data.synthetic.benchmark_set import OCCLUSION_EDGES
from amvur.image import find_images, load_image
from amvur.inference.estimator.posterior import STD_SAMPLES
from amvur.inference.reconstructor import Reconstructor
from amvur.inference.texture.regression import Texture, default_texture
from amvur.inference.texture.sampling import sample_vertex_colors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    tasks = {"synthetic": synthetic, "photos": photos, "cost": cost}
    parser.add_argument("task", choices=tasks)
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--cache", type=Path, help="file to keep the rendered pictures in")
    parser.add_argument("--checkpoint", type=Path, default=default_texture())
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--meshes", choices=["true", "wrong", "both"], default="both")
    parser.add_argument("--output", type=Path, help="folder for sheets of pictures")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(json.dumps({**machine(), **tasks[args.task](args)}, indent=1))


def synthetic(args: argparse.Namespace) -> dict[str, object]:
    ways = Ways(args.checkpoint, args.baseline)
    data = benchmark_data(args.count, args.cache)
    results: dict[str, object] = {"pictures": len(data["betas"])}
    for name, errors in (("true", False), ("wrong", True)):
        if args.meshes in (name, "both"):
            cases = SyntheticCases(data, errors)
            results[f"{name}_meshes"] = compare(cases, ways)
            if errors:
                results["wrong_by_px_of_256"] = round(float(np.mean(cases.errors_px)), 2)
    return results


def compare(cases: Iterable[Case], ways: Ways) -> dict[str, object]:
    """Score every way on every case: renderings, hidden colors by stratum, stated uncertainty."""
    rendered: dict[str, list[dict[str, float]]] = defaultdict(list)
    hidden: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    shown: dict[str, list[float]] = defaultdict(list)
    stated: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        assert case.shown is not None
        assert case.colors is not None
        canvas = whole_picture(case)
        found, texture = ways(case)
        for name, colors in found.items():
            error = 255 * np.abs(colors - case.colors).mean(1)
            hidden[name][stratum_of(case.occlusion)].append(float(error[~case.shown].mean()))
            if case.shown.any():
                shown[name].append(float(error[case.shown].mean()))
            if canvas is not None:
                rendered[name].append(canvas.scores(colors))
        if canvas is not None:
            rendered["bound"].append(canvas.scores(canvas.bound()))
        state(stated, texture, case)
    return {
        "rendered": {name: means(rows) for name, rows in rendered.items()},
        "hidden_error_of_255": {
            name: {s: round(float(np.mean(v)), 2) for s, v in sorted(by.items())}
            for name, by in hidden.items()
        },
        "shown_error_of_255": {name: round(float(np.mean(values)), 2) for name, values in shown.items()},
        "uncertainty": {name: round(float(np.mean(values)), 3) for name, values in stated.items()},
    }


def state(stated: dict[str, list[float]], texture: Texture, case: Case) -> None:
    """Note how often stated 90 % intervals of colors hold, and whether objects before the hand are known."""
    if texture.std is None or texture.seen is None:
        return
    assert case.colors is not None
    assert case.shown is not None
    held = (np.abs(texture.colors - case.colors) < 1.645 * texture.std[:, None]).mean(1)
    for name, mask in (("hidden_90", ~case.shown), ("shown_90", case.shown)):
        if mask.any():
            stated[name].append(float(held[mask].mean()))
    visible = texture.visible
    if visible.any():
        stated["visibility_right"].append(float(((texture.seen > 0.5) == case.shown)[visible].mean()))
        stated["visibility_right_if_all_are_seen"].append(float(case.shown[visible].mean()))


def stratum_of(occlusion: float) -> str:
    index = int(np.searchsorted(OCCLUSION_EDGES, occlusion, side="right")) - 1
    index = min(max(index, 0), len(OCCLUSION_EDGES) - 2)
    return f"{OCCLUSION_EDGES[index]:.1f}-{OCCLUSION_EDGES[index + 1]:.1f}"


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.nanmean([row[name] for row in rows])), 3) for name in rows[0]}


def hands_in(paths: list[Path], every: int = 1) -> Iterable[tuple[Path, Case]]:
    """Fit hands to photographs and yield the best of each."""
    reconstruct = Reconstructor(texture="sampled", checkpoint="default")
    for path in find_images(paths)[::every]:
        image = load_image(path).pixels
        for hand in reconstruct(image)[:1]:
            camera = hand.camera.intrinsics
            std_px = spread_in_picture(hand.sample(STD_SAMPLES).vertices, camera)
            yield path, Case.of(image, hand.vertices, hand.faces, camera, hand.side == "left", std_px)


def photos(args: argparse.Namespace) -> dict[str, object]:
    """PSNR and SSIM where the fitted mesh covers the photograph; with --output a sheet of every hand."""
    ways = Ways(args.checkpoint, args.baseline)
    rendered: dict[str, list[dict[str, float]]] = defaultdict(list)
    for path, case in hands_in(args.paths, args.every):
        canvas: Canvas | None = crop_of_photo(case)
        view = case.view
        if canvas is None or view is None:
            continue
        found, texture = ways(case)
        for name, colors in found.items():
            rendered[name].append(canvas.scores(colors))
        rendered["bound"].append(canvas.scores(canvas.bound()))
        if args.output is not None and texture.std is not None:
            args.output.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(sheet(view, texture, found["sampled"], case.left))
            picture.save(args.output / f"{path.parent.name}_{path.stem}.png")
    return {"hands": len(rendered["bound"]), "rendered": {n: means(rows) for n, rows in rendered.items()}}


def cost(args: argparse.Namespace) -> dict[str, object]:
    """Time of a hand by regression and by sampling, in turn; processor time where the machine is busy.

    As in `reconstruct`, the fit has looked at the hand before; and of a mesh for which nobody has.
    """
    regressor = Ways(args.checkpoint, None).regressor
    case = next(iter(hands_in(args.paths)))[1]
    assert case.view is not None
    (before,) = regressor.segmentation([case.view], [5.0])
    ways = {
        "regressed": lambda: regressor(*mesh_of(case), before),
        "regressed, mesh alone": lambda: regressor(*mesh_of(case), mesh_std_px=case.std_px),
        "sampled": lambda: sample_vertex_colors(*mesh_of(case)),
    }
    wall: dict[str, list[float]] = defaultdict(list)
    processor: dict[str, list[float]] = defaultdict(list)
    for _ in range(args.repeats):
        for name, way in ways.items():
            started = time.process_time()
            wall[name].append(median_ms(way, 3))
            processor[name].append(1000 * (time.process_time() - started) / 4)  # one call more warms up
    medians = {name: round(float(np.median(values)), 1) for name, values in processor.items()}
    return {
        "processor_ms": medians,
        "wall_ms": {name: round(float(np.median(values)), 1) for name, values in wall.items()},
        "ratio_of_processor_times": round(medians["regressed"] / medians["sampled"], 2),
    }


if __name__ == "__main__":
    main()
