"""Checks of one sample's labels; every message names the file, what was found and what to do."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from amvur.errors import InputError

BOX_OVER_JOINTS = 1.1
"""Sides of the box of a whole hand and of its joints alone."""

_MESH_MARGIN_M = 0.02
_FURTHEST_M = 10.0
_REMEDY = (
    "Do the files belong to the same release of the data set? Copy or download them again; if it is so in "
    "the original, leave this sample out."
)


def check_camera(intrinsics: Float[np.ndarray, "3 3"], where: str) -> None:
    """Raise `InputError` unless a matrix can be a pinhole camera's, in pixels."""
    focal = intrinsics[0, 0], intrinsics[1, 1]
    if not min(focal) > 0 or not np.allclose(intrinsics[2], (0, 0, 1)):
        raise InputError(
            f"{where}: its camera should be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels, found "
            f"{intrinsics.tolist()}. {_REMEDY}"
        )


def check_place(points: Float[np.ndarray, "N 3"], where: str, frame: str) -> None:
    """Raise `InputError` unless points (m, OpenCV's axes) lie before the camera, at a hand's distance."""
    if (points[:, 2] <= 0).any():
        raise InputError(
            f"{where}: the hand lies behind the camera, whose frame should be {frame}. {_REMEDY}"
        )
    if np.abs(points).max() > _FURTHEST_M:
        raise InputError(
            f"{where}: the hand is {np.abs(points).max():.0f} m away, metres were expected. {_REMEDY}"
        )


def check_in_picture(
    joints_2d: Float[np.ndarray, "N 2"], width: int, height: int, where: str, picture: str
) -> None:
    """Raise `InputError` if none of a hand's points (px) is in the picture: they are another one's."""
    inside = ((joints_2d >= 0) & (joints_2d <= (width, height))).all(1)
    if not inside.any():
        raise InputError(
            f"{where}: nothing of the hand falls into {picture} ({width} × {height} pixels); the annotation "
            f"seems to be of another picture or camera. {_REMEDY}"
        )


def check_mesh(joints: Float[np.ndarray, "21 3"], vertices: Float[np.ndarray, "V 3"], where: str) -> None:
    """Raise `InputError` if joints lie outside of the mesh: then one of them is another picture's."""
    low, high = vertices.min(0) - _MESH_MARGIN_M, vertices.max(0) + _MESH_MARGIN_M
    outside = ~((joints >= low) & (joints <= high)).all(1)
    if outside.any():
        raise InputError(
            f"{where}: {outside.sum()} of 21 joints lie outside of its mesh; joints and vertices seem to be "
            f"of two pictures. {_REMEDY}"
        )


def check_same_wrist(
    wrist: Float[np.ndarray, "3"], other: Float[np.ndarray, "3"], where: str, source: str
) -> None:
    """Raise `InputError` if two files put the wrist of one picture more than a centimetre apart."""
    apart = float(np.linalg.norm(wrist - other))
    if apart > 0.01:
        raise InputError(
            f"{where}: its wrist is {1000 * apart:.0f} mm from that in {source}; one of the two seems to be "
            f"of another picture. {_REMEDY}"
        )


def project(
    points: Float[np.ndarray, "N 3"], intrinsics: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "N 2"]:
    """Return the pixels of points (m) before a pinhole camera."""
    flat = points @ intrinsics.T
    return np.asarray(flat[:, :2] / flat[:, 2:])


def box_of_joints(joints_2d: Float[np.ndarray, "21 2"]) -> Float[np.ndarray, "4"]:
    """Return the box of the whole hand, `BOX_OVER_JOINTS` times that of its joints (px)."""
    low, high = joints_2d.min(0), joints_2d.max(0)
    middle, half = (low + high) / 2, BOX_OVER_JOINTS * (high - low) / 2
    return np.concatenate([middle - half, middle + half])
