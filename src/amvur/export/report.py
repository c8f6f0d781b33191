"""The JSON report of one photograph, schema `amvur/1`: `docs/outputs.md` describes every key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amvur.errors import InputError, OutputError
from amvur.hand.joints import JOINT_NAMES
from amvur.reading import brief, read_json, reading
from amvur.seals import SEAL, sealed
from amvur.structures import Camera, HandReconstruction

SCHEMA = "amvur/1"
REPORT_BYTES = 64 * 2**20
_REMEDY = "Give a file that `amvur reconstruct` wrote."
_M, _PX, _MM, _RAD = 6, 3, 4, 6  # decimals: a micrometre, a thousandth of a pixel, 0.1 µm, a microradian


@dataclass(frozen=True)
class ImageRecord:
    """Which photograph a report is about: its path as the user gave it, and its displayed size in px."""

    path: str
    width: int
    height: int


def report(
    image: ImageRecord,
    camera: Camera,
    hands: Sequence[HandReconstruction],
    meshes: Sequence[str | None],
    warnings: Sequence[str] = (),
    files: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the report as plain values: 3D in metres in the camera's OpenCV frame, 2D in image pixels.

    `meshes` names each hand's mesh file (or None). The hands' own warnings follow `warnings`. `files` names
    all that is written beside the report, which a later run may remove.
    """
    own = [f"hand {index}: {text}" for index, hand in enumerate(hands) for text in hand.warnings]
    return {
        "schema": SCHEMA,
        "seal": SEAL,
        "image": {"path": image.path, "width": int(image.width), "height": int(image.height)},
        "camera": {"intrinsics": _numbers(camera.intrinsics, 6), "source": camera.source},
        "hands": [_hand(hand, mesh) for hand, mesh in zip(hands, meshes, strict=True)],
        "warnings": [*warnings, *own],
        "files": [*files],
    }


def report_bytes(content: dict[str, Any]) -> bytes:
    """Return a report as strict JSON, one key a line, sealed; raises `OutputError` for NaN or infinity."""
    content = {"schema": SCHEMA, "seal": SEAL} | content | {"seal": SEAL}
    try:
        text = _dump(content) + "\n"
    except ValueError as error:
        raise OutputError(
            "A result holds numbers that are not finite, which JSON cannot hold. "
            "Check the camera and the box that were given."
        ) from error
    return sealed(text.encode("ascii"))


def read_report(path: Path | str) -> dict[str, Any]:
    """Return the report in a file of at most `REPORT_BYTES`, in memory up to 500 MB for a hostile one.

    Raises `InputError` if it is missing, not of this schema, or lacks what every report has: the picture's
    path, and of every hand 21 joints with finite positions and standard deviations, and a mesh's name or
    None.
    """
    content = read_json(Path(path), "a JSON file", _REMEDY, limit_bytes=REPORT_BYTES)
    if content.get("schema") != SCHEMA:
        raise InputError(
            f"{path} has the schema {brief(content.get('schema'))}, wanted {SCHEMA!r}. {_REMEDY}"
        )
    with reading(path, "a whole report", _REMEDY):
        _check(content)
    return content


def _check(content: dict[str, Any]) -> None:
    """Raise `ValueError` or the like for what no report of ours is like."""
    image, hands, warnings = content["image"], content["hands"], content.get("warnings", [])
    if not isinstance(image, dict) or not isinstance(image.get("path"), str) or "\0" in image["path"]:
        raise ValueError("its image has no path")
    if not isinstance(hands, list) or not isinstance(warnings, list):
        raise ValueError("its hands or warnings are no list")
    files = content.get("files", [])
    if not isinstance(files, list) or not all(isinstance(name, str) and "\0" not in name for name in files):
        raise ValueError("its files are no list of names")
    for number, hand in enumerate(hands):
        if not isinstance(hand, dict) or not isinstance(hand["mesh"], str | None):
            raise ValueError(f"its hand {number} is no object or has no mesh")
        for name, shape in (("joints_3d_m", (21, 3)), ("joints_std_mm", (21,))):
            values = np.array(hand[name], dtype=np.float64)
            if values.shape != shape or not np.isfinite(values).all():
                raise ValueError(f"{name} of its hand {number} should be {shape} finite numbers")
        if (values < 0).any():
            raise ValueError(f"{name} of its hand {number} is negative")
        valid = hand.get("joints_valid", [True] * 21)  # earlier reports have none
        if not isinstance(valid, list) or [type(one) for one in valid] != [bool] * 21:
            raise ValueError(f"joints_valid of its hand {number} should be 21 times true or false")


def _hand(hand: HandReconstruction, mesh: str | None) -> dict[str, Any]:
    """Return one hand's part of the report."""
    parameters = hand.parameters
    return {
        "side": hand.side,
        "score": round(float(hand.score), 6),
        "box_xyxy_px": _numbers(hand.box_xyxy_px, _PX),
        "joints_3d_m": _numbers(hand.joints, _M),
        "joints_2d_px": _numbers(hand.joints_2d, _PX),
        "joints_std_mm": _numbers(1000 * hand.joints_std, _MM),
        "joints_valid": [bool(valid) for valid in hand.joints_valid],
        "vertices_std_mm": _numbers(1000 * hand.vertices_std, _MM),
        **_texture(hand),
        "parameters": {
            "hand_model": parameters.hand_model,
            "global_orient": _numbers(parameters.global_orient, _RAD),
            "hand_pose": _numbers(parameters.hand_pose, _RAD),
            "betas": _numbers(parameters.betas, 6),
            "transl": _numbers(parameters.transl, _M),
            "transl_std": _numbers(parameters.transl_std, _M),
            "joint_names": list(JOINT_NAMES),
            "bone_names": list(hand.skeleton.names),
            "bone_parents": [int(parent) for parent in hand.skeleton.parents],
            "T_camera_bone": _numbers(hand.skeleton.T_camera_bone, 7),
        },
        "mesh": mesh,
    }


def _texture(hand: HandReconstruction) -> dict[str, Any]:
    """Return what is known of the colors' uncertainty: nothing for sampled ones."""
    std = hand.vertex_colors_std
    return {} if std is None else {"vertex_colors_std": _numbers(std, 4)}


def _numbers(array: NDArray[Any], decimals: int) -> Any:
    """Return an array as rounded nested lists; adding 0.0 turns −0.0 into 0.0."""
    return (np.round(np.asarray(array, dtype=np.float64), decimals) + 0.0).tolist()


def _dump(value: Any, indent: str = "") -> str:
    """Write JSON with one key a line and each array of numbers on one line, for human readers."""
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        items = [f"{deeper}{json.dumps(key)}: {_dump(item, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + "\n" + indent + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(deeper + _dump(item, deeper) for item in value) + "\n" + indent + "]"
    return json.dumps(value, allow_nan=False, separators=(", ", ": "))
