"""Where a detector puts its landmarks relative to our joints, and how far it errs.

A convention is learned from renders of the open hand (`scripts/learn_detector_convention.py`), never
from labelled photographs, and kept as a small JSON file beside this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float64

from amvur.errors import DetectorError
from amvur.reading import brief, parse_json


@dataclass(frozen=True)
class LandmarkConvention:
    """Offsets and errors of a detector's 21 landmarks.

    `offsets_m` lie in the rest frame of the bone that carries the joint, for a hand of mean size.
    Scales are standard deviations per axis: of 2D landmarks and of depth as fractions of the hand's
    size in the picture (the longer side of its landmarks' box), of 3D landmarks in metres.
    `depth_gain` is the factor by which the detector's depth understates the true one.
    """

    name: str
    offsets_m: Float64[np.ndarray, "21 3"]
    joints_2d_scale: Float64[np.ndarray, "21"]
    depth_scale: Float64[np.ndarray, "21"]
    depth_gain: float
    landmarks_3d_scale_m: Float64[np.ndarray, "21"]
    source: str


@lru_cache
def load_convention(name: str) -> LandmarkConvention:
    """Return the convention called `name`; `"amvur"` is our own (no offset).

    Raises `DetectorError` for a name that has no file.
    """
    path = files("amvur.detect") / "assets" / f"{name}.json"
    if not name.isidentifier() or not path.is_file():
        raise DetectorError(f"No landmark convention is called {brief(name)}: {path} does not exist.")
    values = parse_json(path.read_bytes())
    return LandmarkConvention(
        name=name,
        offsets_m=np.array(values["offsets_m"], dtype=np.float64),
        joints_2d_scale=np.array(values["joints_2d_scale"], dtype=np.float64),
        depth_scale=np.array(values["depth_scale"], dtype=np.float64),
        depth_gain=float(values["depth_gain"]),
        landmarks_3d_scale_m=np.array(values["landmarks_3d_scale_m"], dtype=np.float64),
        source=values["source"],
    )
