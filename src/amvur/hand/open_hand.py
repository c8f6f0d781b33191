"""The open hand: loads the asset that `scripts/build_open_hand.py` makes (provenance beside it)."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files

import numpy as np

from amvur.errors import ModelFileError
from amvur.hand.model_arrays import HandModelArrays, mirror_arrays
from amvur.reading import read_npz, reading
from amvur.structures import Side

VERSIONS = {"open": "open_hand_v4.npz", "open-v1": "open_hand_v1.npz"}
"""Version 1 is the hand that `synth-v1` was made with: the same mesh, but all palms of a length are alike."""


@lru_cache(maxsize=4)
def load_open_hand(side: Side = "right", version: str = "open") -> HandModelArrays:
    """Return the arrays of the open hand; the left one is the exact mirror image of the right one.

    Raises `ModelFileError` if the installed package lacks the asset.
    """
    if side == "left":
        return mirror_arrays(load_open_hand("right", version))
    path = files("amvur.hand") / "assets" / VERSIONS[version]
    if not path.is_file():
        raise ModelFileError(f"The open hand's file {path} is missing. Reinstall amvur.")
    with reading(path, "the open hand", "Reinstall amvur.", ModelFileError):
        data = path.read_bytes()
        arrays = read_npz(data)

    def real(key: str) -> np.ndarray:
        return np.asarray(arrays[key], dtype=np.float64)

    return HandModelArrays(
        name=version,
        side="right",
        v_template=real("v_template"),
        faces=arrays["faces"].astype(np.int64),
        shapedirs=real("shapedirs"),
        posedirs=real("posedirs"),
        lbs_weights=real("lbs_weights"),
        joint_template=real("joint_template"),
        joint_shapedirs=real("joint_shapedirs"),
        joint_regressor=real("joint_regressor"),
        tip_vertices=arrays["tip_vertices"].astype(np.int64).reshape(5, -1),
        parents=tuple(int(p) for p in arrays["parents"]),
        pose_axes=real("pose_axes"),
        pose_limits=real("pose_limits"),
        rest_angles=real("rest_angles"),
        pose_mean=np.zeros(45),
        sha256=hashlib.sha256(data).hexdigest(),
    )
