"""Own photographs with 2D joints: the JSON that `amvur label` writes, or one made by hand.

The file is COCO's: `images` (`id`, `file_name`), `annotations` (`image_id`, `keypoints` as 21 triples x, y, v
in our joint order, and optionally `keypoints_confidence`, `side`, `bbox`). Pixels are those of the photograph
as displayed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from amvur.data.real.samples import HandSample
from amvur.errors import InputError
from amvur.reading import brief, parse_json, read_bytes, read_json, reading, reason
from amvur.structures import Side

LABELS = "labels.json"
BOX_MARGIN = 0.05
"""Where no box is given: what is added on every side of that of the joints (the flesh around them)."""
CONVENTIONS = ("amvur", "mediapipe")
LABELS_BYTES = 64 * 2**20


def is_photographs(folder: Path) -> bool:
    """Whether a folder (or a JSON file itself) holds photographs labelled in COCO's form."""
    path = folder / LABELS if os.path.isdir(folder) else folder
    if path.suffix.lower() != ".json" or not os.path.isfile(path):
        return False
    try:
        values = read_json(path, "labels", "", limit_bytes=LABELS_BYTES)
    except InputError:
        return path.name == LABELS  # a damaged one shall be told by its reader
    return "images" in values and "annotations" in values


def open_photographs(folder: Path, split: str = "training") -> Photographs:
    """Open labelled photographs; raises `InputError` that names the file and what is wrong."""
    return Photographs(folder, split)


class Photographs:
    """Photographs with 2D joints, a `HandDataset`; `convention` names where the joints were put."""

    name = "photographs"
    protocol: str | None = None

    def __init__(self, folder: Path, split: str = "training") -> None:
        """Read the labels (not the photographs) from a file of at most `LABELS_BYTES`.

        In memory they take 500 MB at most beside that.
        """
        self.path = folder / LABELS if os.path.isdir(folder) else folder
        self.split = split
        values, data = _read(self.path)
        self._sha256 = hashlib.sha256(data).hexdigest()
        info = values.get("info") or {}
        if not isinstance(info, dict):
            raise InputError(
                f"{self.path}: info wants an object such as {{}}, found {brief(info)}. Leave it out."
            )
        self.convention: str = str(info.get("convention", "amvur"))
        if self.convention not in CONVENTIONS:
            raise InputError(
                f"{self.path}: info.convention wants one of {', '.join(CONVENTIONS)}, "
                f"found {brief(self.convention)}. Leave it out for joints marked by hand."
            )
        self._images: dict[int | str, dict[str, Any]] = {
            image["id"]: image
            for image in values["images"]
            if isinstance(image, dict) and is_id(image.get("id"))
        }
        self._hands: list[Any] = [hand for hand in values["annotations"] if not _ignored(hand)]

    def __len__(self) -> int:
        """Return the number of labelled hands."""
        return len(self._hands)

    def __getitem__(self, index: int) -> HandSample:
        """Return a hand; raises `InputError` that names the file and the annotation with bad labels."""
        hand = self._hands[index]
        where = f"{self.path}, annotation {index}"
        found = hand.get("image_id") if isinstance(hand, dict) else hand
        if not isinstance(hand, dict) or not is_id(found) or found not in self._images:
            raise InputError(
                f"{where}: wanted the image_id of one of its images, found {brief(found)}. "
                "Correct or remove it."
            )
        name = self._images[found].get("file_name")
        if not isinstance(name, str) or not name:
            raise InputError(f"{where}: its image has no file_name. Add it to the image's entry.")
        joints, confidence = _joints(hand, where)
        side = _side(hand, where)
        return HandSample(
            key=f"{name}#{str(hand.get('hand', hand.get('id', index)))[:100]}",
            image_path=self.path.parent / name,
            side=side,
            box_xyxy_px=_box(hand, joints, confidence, where),
            joints_2d=joints,
            joint_confidence=confidence,
        )

    def group(self, index: int) -> str:
        """Return the photograph of a hand; hands with bad labels are their own."""
        hand = self._hands[index]
        found = hand.get("image_id") if isinstance(hand, dict) else None
        image = self._images.get(found) if isinstance(found, int | str) else None
        return str(index if image is None else image.get("file_name", index))

    def identity(self) -> dict[str, Any]:
        """Return what the samples depend on."""
        return {"name": self.name, "split": self.split, "labels_sha256": self._sha256}


def is_id(value: object) -> TypeGuard[int | str]:
    """Whether a value of JSON can name an image; larger numbers can be chosen to have one hash."""
    return isinstance(value, str) or (type(value) is int and abs(value) < 2**53)


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Read the file and check its outline."""
    remedy = f"Repair it, or remove it and run: amvur label {path.parent}"
    with reading(path, "a JSON file", remedy):
        try:
            data = read_bytes(path, LABELS_BYTES)
        except FileNotFoundError as error:
            raise InputError(
                f"Wanted labels of photographs, found no {path}. Make them with: amvur label {path.parent}"
            ) from error
        values = parse_json(data)
    for name in ("images", "annotations"):
        if not isinstance(values, dict) or not isinstance(values.get(name), list):
            raise InputError(f"{path}: wanted COCO's form, found no list {name!r}. See docs/training.md.")
    return values, data


def _ignored(hand: Any) -> bool:
    """Whether an annotation asks to be left out."""
    return isinstance(hand, dict) and bool(hand.get("ignore", False))


def _joints(hand: Mapping[str, Any], where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return joints (21,2) px and confidences (21); joints with v = 0 have none."""
    try:
        triples = np.asarray(hand.get("keypoints"), dtype=np.float64).reshape(21, 3)
        given = hand.get("keypoints_confidence")
        confidence = (triples[:, 2] > 0).astype(np.float64)
        if given is not None:
            confidence = confidence * np.asarray(given, dtype=np.float64).reshape(21)
    except Exception as error:  # whatever the values are
        raise InputError(
            f"{where}: keypoints wants 21 triples x, y, v (63 numbers) and keypoints_confidence 21 numbers: "
            f'{reason(error)}. Correct it, or leave it out with "ignore": true.'
        ) from error
    labelled = triples[:, 2] != 0
    if not (np.isfinite(triples[labelled]).all() and np.isfinite(confidence).all()):
        raise InputError(f"{where}: some keypoints or confidences are not finite. Set v = 0 where unknown.")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise InputError(
            f"{where}: keypoints_confidence must lie between 0 and 1. Correct it, or leave it out."
        )
    if (confidence > 0).sum() < 2:
        raise InputError(
            f'{where}: at least two keypoints with v > 0 are needed. Mark some, or give it "ignore": true.'
        )
    return np.where(labelled[:, None], triples[:, :2], 0.0), confidence


def _side(hand: Mapping[str, Any], where: str) -> Side:
    side = hand.get("side")
    if side == "left":
        return "left"
    if side == "right":
        return "right"
    raise InputError(f"{where}: side wants 'left' or 'right', found {brief(side)}.")


def _box(hand: Mapping[str, Any], joints: np.ndarray, confidence: np.ndarray, where: str) -> np.ndarray:
    """Return the box (x0, y0, x1, y1) from COCO's x, y, width, height, or around the joints."""
    if hand.get("bbox") is None:
        known = joints[confidence > 0]
        low, high = known.min(0), known.max(0)
        margin = BOX_MARGIN * float((high - low).max())
        return np.concatenate([low - margin, high + margin])
    try:
        x, y, width, height = (float(value) for value in hand["bbox"])
    except (TypeError, ValueError, OverflowError):
        x = y = width = height = float("nan")
    if not (np.isfinite([x, y, width, height]).all() and width > 0 and height > 0):
        raise InputError(f"{where}: bbox wants x, y, width, height above 0, found {brief(hand['bbox'])}.")
    return np.array([x, y, x + width, y + height])
