"""How many hands are far off, and how many of them are told: a table of warnings and of intervals.

    python benchmarks/wildness.py ROWS.jsonl synthetic --count 2000 [--seed 616161] [--checkpoint none]
    python benchmarks/wildness.py ROWS.jsonl labelled ../shared/real_photos/labelled [--checkpoint ...]
    python benchmarks/wildness.py ROWS.jsonl photos PATH... [--checkpoint ...]
    python benchmarks/wildness.py ROWS.jsonl

Finds the hands of pictures as `amvur reconstruct` does (any side, any place; an assumed camera, no texture),
adds a line for each to ROWS.jsonl and prints the table of all of the file's lines. A second call goes on
where the first stopped; the last form prints only. `labelled` is for a folder with `labels.json`
(`benchmarks/real_photos.py`), `photos` for pictures or folders without labels. With `--cut 0.3` three of ten
pictures with labels end in the middle of the hand: a border takes 10 to 65 % of its length.

Hands are sorted by the mean error of their joints after alignment, of those whose joints lie on average
within 0.6 of the true hand's size in the picture; detections elsewhere are another line. "told" counts hands
with any warning, "unsure" those called unsure or not explaining what was seen. "outside" are hands with a
joint outside of twice the detection's box. Seed 515151 taught `scripts/fit_doubt.py`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from amvur import Reconstructor, load_image
from amvur.data.synthetic.generator import SyntheticHands
from amvur.detect.given import GivenBoxes
from amvur.image import find_images
from amvur.inference.assemble import assemble
from amvur.inference.camera import make_camera
from amvur.inference.estimator.similarity import align_similarity
from amvur.inference.frames import enter, merge_passes
from amvur.inference.texture.regression import Texture

RADIUS_90 = 2.5003  # of a 3D isotropic normal distribution, in standard deviations of an axis
ON_THE_HAND = 0.6
BATCH = 16
PIXELS = 256
CUT_SHARES, LEAST_PX = (0.1, 0.65), 64
BOX_ERROR, BOX_MARGIN = 0.03, 0.05  # of the hand's size, as in scripts/calibrate_uncertainty.py
ERRORS_MM = ((0, 10), (10, 15), (15, 20), (20, 1000), (15, 1000))


@dataclass(frozen=True)
class Truth:
    """A hand's joints in space (21,3; m) and in the picture (21,2; px), and whether it is a left one."""

    joints: np.ndarray
    joints_2d: np.ndarray
    left: bool


Picture = tuple[str, np.ndarray, Truth | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("source", nargs="?", choices=["synthetic", "labelled", "photos"])
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=616161)
    parser.add_argument("--checkpoint", default="default", help="none, default or a checkpoint's folder")
    parser.add_argument("--cut", type=float, default=0.0, help="share of pictures that cut the hand")
    parser.add_argument("--box-only", action="store_true", help="boxes as users draw them, no detector")
    args = parser.parse_args()
    rows = read_rows(args.rows)
    if args.source is not None:
        done = {row["picture"] for row in rows}
        pictures = {
            "synthetic": lambda: synthetic(args.seed, args.count, done, args.cut),
            "labelled": lambda: labelled(args.paths[0], done, args.cut),
            "photos": lambda: photos(args.paths, done),
        }[args.source]()
        detector = "none" if args.box_only else "mediapipe"
        rows += measure(Reconstructor(checkpoint=args.checkpoint, detector=detector), pictures, args.rows)
    print(table(rows))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the lines of an earlier run and cut off one that was not finished."""
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    return [json.loads(line) for line in whole.splitlines()]


def synthetic(seed: int, count: int, done: set[str], cut: float) -> Iterator[Picture]:
    """Yield synthetic pictures with their truths, a share of them cut."""
    hands = SyntheticHands(seed, size_px=PIXELS)
    for start in range(0, count, BATCH):
        todo = [i for i in range(start, min(start + BATCH, count)) if f"{seed}/{i}" not in done]
        if not todo:
            continue
        batch = hands.batch(todo)
        for k, i in enumerate(todo):
            joints, flat = batch.joints[k].double().numpy(), batch.joints_2d[k].double().numpy()
            picture = f"{seed}/{i}", batch.images[k].numpy(), Truth(joints, flat, bool(batch.is_left[k]))
            generator = np.random.default_rng([seed, i])
            yield cut_off(picture, generator) if generator.random() < cut else picture


def cut_off(picture: Picture, generator: np.random.Generator) -> Picture:
    """Move a border of the picture into the hand."""
    name, image, truth = picture
    share, side = generator.uniform(*CUT_SHARES), int(generator.integers(4))
    low, high = truth.joints_2d.min(0), truth.joints_2d.max(0)
    axis, first = side % 2, side < 2
    border = low[axis] + share * (high - low)[axis] if first else high[axis] - share * (high - low)[axis]
    length = image.shape[1 - axis]
    border = int(np.clip(border, *((0, length - LEAST_PX) if first else (LEAST_PX, length))))
    kept = slice(border, None) if first else slice(None, border)
    image = np.ascontiguousarray(image[:, kept] if axis == 0 else image[kept])
    moved = np.zeros(2)
    moved[axis] = border if first else 0
    return name, image, replace(truth, joints_2d=truth.joints_2d - moved)


def labelled(folder: Path, done: set[str], cut: float) -> Iterator[Picture]:
    """Yield labelled photographs, a share of them cut."""
    for i, sample in enumerate(json.loads((folder / "labels.json").read_text())["samples"]):
        if sample["image"] not in done:
            joints, flat = (np.array(sample[key], dtype=np.float64) for key in ("joints_3d", "joints_2d"))
            truth = Truth(joints, flat, sample["side"] == "left")
            picture = sample["image"], load_image(folder / sample["image"]).pixels, truth
            generator = np.random.default_rng(i)
            yield cut_off(picture, generator) if generator.random() < cut else picture


def photos(paths: list[Path], done: set[str]) -> Iterator[Picture]:
    """Yield photographs without labels."""
    for path in find_images(paths):
        if path.name not in done:
            yield path.name, load_image(path).pixels, None


def measure(reconstructor: Reconstructor, pictures: Iterator[Picture], path: Path) -> list[dict[str, Any]]:
    """Reconstruct pictures, and keep a row for every hand, or one for a picture without."""
    rows = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lines:
        for name, image, truth in pictures:
            found = [{"picture": name, **hand} for hand in hands_of(reconstructor, image, truth)]
            found = found or [{"picture": name}]
            lines.write("".join(json.dumps(row) + "\n" for row in found))
            lines.flush()
            rows += found
    return rows


def hands_of(reconstructor: Reconstructor, image: np.ndarray, truth: Truth | None) -> list[dict[str, Any]]:
    """Return what is stated of the hands of a picture, beside the truth."""
    if isinstance(reconstructor.detector, GivenBoxes):
        assert truth is not None
        box, side = drawn_box(truth, image.shape), "left" if truth.left else "right"
        detections = [] if box is None else reconstructor.detector.detect(image, boxes=box[None], side=side)
    else:
        detections = reconstructor.detector.detect(image)
    if not detections:
        return []
    height, width = image.shape[:2]
    camera = make_camera(width, height, hand_sizes_px=[merge_passes(d).size_px for d in detections])
    frames = enter(image, camera, detections)
    views = None if reconstructor.trained is None else reconstructor.trained.look(frames)
    rows = []
    for fitted in reconstructor.fit(frames, views):
        calibration = reconstructor.calibrations.of(fitted.by_network, fitted.frame.box_only)
        hand = assemble(fitted, calibration, _no_texture)
        widened = 1.0 if calibration.doubt is None else calibration.doubt.factor(fitted.features)
        row = {
            "features": fitted.features.tolist(),
            "widened": widened,
            "std_mm": 1000 * float(hand.joints_std.mean()),
            "outside": outside(hand.joints_2d, hand.box_xyxy_px),
            "warnings": list(hand.warnings),
            "box_only": fitted.frame.box_only,
        }
        rows.append(row if truth is None else row | compared(hand, truth))
    return rows


def drawn_box(truth: Truth, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return a box as a user draws it: near the joints, in the picture; None where too little is in it."""
    low, high = truth.joints_2d.min(0), truth.joints_2d.max(0)
    size = (high - low).max()
    noise = np.random.default_rng(int(1000 * size)).standard_normal((2, 2))
    low, high = (end + BOX_ERROR * size * off for end, off in zip((low, high), noise, strict=True))
    box = np.concatenate([low - BOX_MARGIN * size, high + BOX_MARGIN * size])
    inside = np.clip(box, 0, [*shape[1::-1]] * 2)
    enough = (inside[2:] - inside[:2]).min() > 0.3 * (box[2:] - box[:2]).min()
    return inside if enough else None


def compared(hand: Any, truth: Truth) -> dict[str, Any]:
    """Return how far a hand is off, in mm, in units of its own 90 % radii, and in the picture."""
    aligned = align_similarity(hand.joints[None].astype(np.float64), truth.joints[None])[0]
    errors = np.linalg.norm(aligned - truth.joints, axis=-1)
    size = np.ptp(truth.joints_2d, axis=0).max()
    beside = np.linalg.norm(hand.joints_2d - truth.joints_2d, axis=-1).mean() / size
    return {
        "error_mm": 1000 * float(errors.mean()),
        "radii": np.round(errors / (RADIUS_90 * hand.joints_std), 3).tolist(),
        "beside": float(beside),
        "side_right": (hand.side == "left") == truth.left,
    }


def outside(joints_2d: np.ndarray, box_xyxy_px: np.ndarray) -> bool:
    """Whether a joint lies outside of twice a box."""
    middle, half = (box_xyxy_px[:2] + box_xyxy_px[2:]) / 2, (box_xyxy_px[2:] - box_xyxy_px[:2]) / 2
    return bool((np.abs(joints_2d - middle) > 2 * half).any())


def _no_texture(image: Any, vertices: np.ndarray, *rest: Any) -> tuple[Texture, None]:
    """Return gray for a mesh."""
    gray = np.full((len(vertices), 3), 0.5, dtype=np.float32)
    return Texture(gray, np.zeros(len(vertices), dtype=bool)), None


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table as Markdown."""
    hands = [row for row in rows if "std_mm" in row]
    pictures, lost = len({row["picture"] for row in rows}), sum("std_mm" not in row for row in rows)
    silent = sum(row["outside"] and not row["warnings"] for row in hands)
    lines = [
        f"{pictures} pictures, {lost} without a hand, {len(hands)} hands, {sum(map(_told, hands))} told, "
        f"{sum(map(_unsure, hands))} unsure; outside twice their box {sum(r['outside'] for r in hands)}, "
        f"of these without a warning {silent}.",
        "",
        "| hands off by | hands | told | unsure | wrong side | stated σ, mm | in 90 % intervals |",
        "|---|---|---|---|---|---|---|",
    ]
    known = [row for row in hands if "error_mm" in row]
    on = [row for row in known if row["beside"] < ON_THE_HAND]
    for low, high in ERRORS_MM:
        name = f"{low} mm or more" if high == ERRORS_MM[-1][1] else f"{low} to {high} mm"
        lines.append(_line(name, [row for row in on if low <= row["error_mm"] < high]))
    lines += [_line("any", on), _line("elsewhere", [row for row in known if row["beside"] >= ON_THE_HAND])]
    return "\n".join(lines)


def _line(name: str, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return f"| {name} | 0 | | | | | |"
    shares = [f"{100 * np.mean([count(row) for row in rows]):.1f} %" for count in (_told, _unsure)]
    wrong = f"{100 * np.mean([not row['side_right'] for row in rows]):.1f} %"
    std = np.mean([row["std_mm"] for row in rows])
    held = 100 * np.mean([np.array(row["radii"]) <= 1 for row in rows])
    return f"| {name} | {len(rows)} | {' | '.join(shares)} | {wrong} | {std:.1f} | {held:.1f} % |"


def _told(row: dict[str, Any]) -> bool:
    return bool(row["warnings"])


def _unsure(row: dict[str, Any]) -> bool:
    return any("unsure" in text or "does not explain" in text for text in row["warnings"])


if __name__ == "__main__":
    main()
