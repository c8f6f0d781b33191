"""The camera of a photograph: as given, or assumed and said to be so."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64

from amvur.errors import InputError
from amvur.geometry.camera_checks import check_fov, check_intrinsics, check_view
from amvur.structures import Camera

ASSUMED_FOV_DEG = 50.0
"""Field of view over the longer side where nothing is given: a phone's main lens has 69°, a portrait lens
28°, and many pictures are cropped."""
ASSUMED_LOG_FOCAL_STD = 0.3
"""Standard deviation of ln(focal length) of an assumed camera: lenses differ, and pictures are cropped."""
ASSUMED_CENTER_STD = 0.1
"""Standard deviation of an assumed principal point, as a fraction of the picture's side: crops move it."""
_HAND_SIZE_M = 0.17
_USUAL_DISTANCE_M = 0.5
_LOG_DISTANCE_STD = 0.3


def make_camera(
    width: int,
    height: int,
    intrinsics: Float[np.ndarray, "3 3"] | None = None,
    fov_deg: float | None = None,
    hand_sizes_px: Sequence[float] = (),
) -> Camera:
    """Return the camera of a `width` x `height` picture from intrinsics (px), a field of view, or neither.

    Neither: `ASSUMED_FOV_DEG`, and longer where that would put the largest hand closer than hands are
    held: such a picture was cropped from a larger one. The focal length is then the most probable one
    under normal priors of its logarithm and of that of the hand's distance (0.5 m). Raises
    `InputError` for values that are no camera.
    """
    if intrinsics is not None and fov_deg is not None:
        raise InputError("Give the intrinsics or the field of view, not both.")
    if intrinsics is not None:
        return Camera(check_view(check_intrinsics(intrinsics), width, height), "given", width, height)
    if fov_deg is not None:
        return Camera(intrinsics_from_fov(check_fov(fov_deg), width, height), "given", width, height)
    camera = intrinsics_from_fov(ASSUMED_FOV_DEG, width, height)
    if len(hand_sizes_px):
        camera[(0, 1), (0, 1)] *= _lengthening(camera[0, 0], max(hand_sizes_px))
    return Camera(camera, "assumed", width, height)


def intrinsics_from_fov(fov_deg: float, width: int, height: int) -> Float64[np.ndarray, "3 3"]:
    """Return the intrinsics (px) of a centred camera whose longer image side spans `fov_deg` degrees."""
    focal = 0.5 * max(width, height) / math.tan(math.radians(fov_deg) / 2)
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def _lengthening(focal_px: float, hand_size_px: float) -> float:
    """Return the factor (at least 1) on the focal length that the hand's plausible distance asks for."""
    distance = focal_px * _HAND_SIZE_M / max(hand_size_px, 1.0)
    share = ASSUMED_LOG_FOCAL_STD**2 / (ASSUMED_LOG_FOCAL_STD**2 + _LOG_DISTANCE_STD**2)
    return math.exp(max(0.0, share * math.log(_USUAL_DISTANCE_M / distance)))
