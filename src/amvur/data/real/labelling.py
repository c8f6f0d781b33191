"""Photographs to 2D labels: a detector's hands as COCO-style JSON, resumable."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from amvur.data.real.photographs import LABELS_BYTES, is_id
from amvur.detect.base import Detector
from amvur.errors import AmvurError
from amvur.hand.joints import JOINT_NAMES, JOINT_PARENTS
from amvur.image import load_image
from amvur.reading import open_regular, parse_json, read_bytes, reading
from amvur.structures import HandDetection
from amvur.whole_files import remove_leftovers, write_file

LOW_CONFIDENCE = 0.5
_KEYS = ("info", "images", "annotations", "categories", "unreadable")
SAVE_EVERY = 20
"""Photographs between two writings of the file: what a killed run loses at most."""


@dataclass
class LabelTally:
    """What happened to the photographs of a run."""

    labelled: int = 0
    kept: int = 0
    hands: int = 0
    without_hand: int = 0
    failed: list[str] = field(default_factory=list)


def label_photographs(
    paths: Sequence[Path], output: Path, detector: Detector, say: Callable[[str], None] = print
) -> LabelTally:
    """Detect hands in photographs and write `output`; what it holds of unchanged files is kept.

    Photographs without a hand are recorded (an image without annotations), those that cannot be read are
    told by `say`, listed under `unreadable` and tried again by the next run. Raises `OutputError` where the
    file cannot be written and `InputError` where it holds something else.
    """
    before, more = _previous(output)
    remove_leftovers(output.parent, output.name)
    tally, records = LabelTally(), {}
    unsaved = 0
    for path in paths:
        name = os.path.relpath(path, output.parent)
        try:
            with open_regular(path) as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            old = before.get(name)
            if old is not None and old[0].get("sha256") == digest:
                records[name] = old
                tally.kept += 1
            else:
                records[name] = _label(path, name, digest, detector, say)
                tally.labelled += 1
                unsaved += 1
        except (AmvurError, OSError) as error:
            tally.failed.append(name)
            say(f"{path}: {error}")
            continue
        tally.hands += len(records[name][1])
        tally.without_hand += not records[name][1]
        if unsaved >= SAVE_EVERY:
            _write(output, {**before, **records}, tally.failed, more)
            unsaved = 0
    _write(output, records, tally.failed, more)
    return tally


Record = tuple[dict[str, Any], list[dict[str, Any]]]


def _label(path: Path, name: str, digest: str, detector: Detector, say: Callable[[str], None]) -> Record:
    """Return a photograph's entry and those of its hands; `say` tells what was odd about the file."""
    loaded = load_image(path)
    for warning in loaded.warnings:
        say(warning)
    pixels = loaded.pixels
    height, width = pixels.shape[:2]
    hands = detector.detect(pixels)
    image = {"file_name": name, "width": width, "height": height, "sha256": digest}
    return image, [_annotation(hand, number) for number, hand in enumerate(hands)]


def _annotation(hand: HandDetection, number: int) -> dict[str, Any]:
    """Return a hand in COCO's words; `v` is 1 for joints of low confidence, 2 otherwise."""
    joints = np.median(hand.joints_2d_px, axis=0) if len(hand.joints_2d_px) else np.zeros((21, 2))
    confidence = np.clip(hand.confidence, 0, 1) * bool(len(hand.joints_2d_px))
    state = np.where(confidence >= LOW_CONFIDENCE, 2, np.where(confidence > 0, 1, 0))
    triples = [v for (x, y), s in zip(joints, state, strict=True) for v in (_short(x), _short(y), int(s))]
    x0, y0, x1, y1 = (float(value) for value in hand.box_xyxy_px)
    return {
        "category_id": 1,
        "hand": number,
        "side": hand.side,
        "score": _short(hand.score, 4),
        "low_confidence": bool(hand.score < LOW_CONFIDENCE or (state < 2).any()),
        "bbox": [_short(value) for value in (x0, y0, x1 - x0, y1 - y0)],
        "area": _short((x1 - x0) * (y1 - y0)),
        "iscrowd": 0,
        "num_keypoints": int((state > 0).sum()),
        "keypoints": triples,
        "keypoints_confidence": [_short(value, 4) for value in confidence],
        "convention": hand.convention,
    }


def _short(value: float, digits: int = 2) -> float:
    return round(float(value), digits)


def _previous(output: Path) -> tuple[dict[str, Record], dict[str, Any]]:
    """Return what an earlier run wrote, by file name, and what a user added beside (licences, ...).

    Files have at most `LABELS_BYTES`.
    """
    if not output.exists():
        return {}, {}
    remedy = "It is not overwritten. Give another --output, or remove it to label anew."
    with reading(output, "what amvur label writes", remedy):
        values = parse_json(read_bytes(output, LABELS_BYTES))
        if values["info"]["made_by"] != "amvur label":
            raise ValueError("it does not say made_by: amvur label")
        images = {image["id"]: image for image in values["images"] if is_id(image["id"])}
        records: dict[str, Record] = {str(image["file_name"]): (image, []) for image in images.values()}
        for hand in values["annotations"]:
            if not isinstance(hand["convention"], str):
                raise ValueError("an annotation has no convention")
            records[str(images[hand["image_id"]]["file_name"])][1].append(hand)
    return records, {name: value for name, value in values.items() if name not in _KEYS}


def _write(output: Path, records: dict[str, Record], failed: Sequence[str], more: Mapping[str, Any]) -> None:
    """Write all labels and what was added to them, whole or not at all."""
    images, annotations = [], []
    for number, (image, hands) in enumerate(records.values()):
        images.append({**image, "id": number})
        annotations += [{**hand, "image_id": number} for hand in hands]
    conventions = sorted({str(hand["convention"]) for hand in annotations})
    values = {
        "info": {
            "made_by": "amvur label",
            "convention": conventions[0] if conventions else "mediapipe",
            "joints": "pixels of the photograph as displayed; the centre of the first pixel is (0.5, 0.5)",
        },
        "images": images,
        "annotations": [{**hand, "id": number} for number, hand in enumerate(annotations)],
        "categories": [
            {
                "id": 1,
                "name": "hand",
                "keypoints": list(JOINT_NAMES),
                "skeleton": [[p + 1, j + 1] for j, p in enumerate(JOINT_PARENTS) if p >= 0],
            }
        ],
        "unreadable": list(failed),
        **more,
    }
    write_file(output, (json.dumps(values, indent=1) + "\n").encode())
