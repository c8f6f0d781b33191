"""One frame of HO3D: its metadata pickle as a sample in our joint order and OpenCV's camera frame."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from amvur.data.joint_orders import OPENGL_FROM_OPENCV, flip_opengl, joints_from_dataset
from amvur.data.real.checks import (
    box_of_joints,
    check_camera,
    check_in_picture,
    check_mesh,
    check_place,
    check_same_wrist,
    project,
)
from amvur.data.real.samples import HandSample
from amvur.errors import InputError
from amvur.hand.pickle_opcodes import PickleLimits
from amvur.hand.safe_pickle import load_pickle
from amvur.reading import brief

SIZE_PX = (640, 480)

LIMITS = PickleLimits(file_bytes=4 * 2**20, array_bytes=16 * 2**20)
_REMEDY = "Copy or download the file again from the data set's own page; if it is so there, leave it out."
_FLIP = np.diag(OPENGL_FROM_OPENCV)


@dataclass(frozen=True)
class Frame:
    """Where a frame's files are; `labelled`: all joints are expected, not the wrist alone."""

    key: str
    image_path: Path
    meta_path: Path
    labelled: bool


def read_frame(frame: Frame, truth: Mapping[str, np.ndarray], truth_path: Path) -> HandSample:
    """Return a frame as a sample; `truth` are its rows of the released ground truth (xyz, verts), if any.

    `truth_path` names the file of joints in messages.

    A pickle has at most 4 MB, and what is made of it 16 MB.

    Raises `InputError` that names the file for a pickle that is damaged or names anything but plain data,
    missing or impossible values, and labels that belong to another picture.
    """
    meta, where = _read_meta(frame.meta_path), str(frame.meta_path)
    intrinsics = _array(meta, "camMat", (3, 3), where)
    check_camera(intrinsics, where)
    joints, root = _joints(meta, frame, where)
    if "xyz" in truth:
        joints = joints_from_dataset(flip_opengl(truth["xyz"]), "ho3d")
        check_same_wrist(joints[0], root, where, str(truth_path))
    vertices = flip_opengl(truth["verts"]) if "verts" in truth else None
    if joints is not None and vertices is not None:
        check_mesh(joints, vertices, f"{truth_path} and evaluation_verts.json, for {frame.key}")
    picture = f"{frame.image_path.parent.name}/{frame.image_path.name}"
    joints_2d = None if joints is None else project(joints, intrinsics)
    check_in_picture(_seen(joints_2d, root, intrinsics), *SIZE_PX, where, picture)
    return HandSample(
        key=frame.key,
        image_path=frame.image_path,
        side="right",
        box_xyxy_px=_box(meta, joints_2d, frame, where),
        intrinsics=intrinsics,
        joints=joints,
        vertices=vertices,
        joints_2d=joints_2d,
        joint_confidence=None if joints is None else np.ones(21),
        root=root,
        flat_hand_mean=True,
        **_mano(meta, root, where),
    )


def _read_meta(path: Path) -> dict[Any, Any]:
    meta = load_pickle(path, remedy=_REMEDY, limits=LIMITS, error=InputError)
    if not isinstance(meta, dict):
        raise InputError(f"{path} holds a {type(meta).__name__}, not a frame's dictionary. {_REMEDY}")
    return meta


def _array(meta: Mapping[Any, Any], key: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Return a value as finite float64 of a shape; raises `InputError`, also where it is None or missing."""
    value = _optional(meta, key, (shape,), where)
    if value is None:
        there = sorted(str(name)[:40] for name, known in meta.items() if known is not None)
        raise InputError(f"{where} has no {key} (known are {', '.join(there[:40])}). {_REMEDY}")
    return value


def _optional(
    meta: Mapping[Any, Any], key: str, shapes: tuple[tuple[int, ...], ...], where: str
) -> np.ndarray | None:
    """Return a value as finite float64 of one of the shapes, None where it is unknown."""
    value = meta.get(key)
    if value is None:
        return None
    array = np.empty(0, object)
    with contextlib.suppress(ValueError, TypeError):  # rows of different lengths, texts
        array = value if isinstance(value, np.ndarray) else _numbers(value)
    array = array.squeeze()
    if array.dtype.kind not in "iuf" or array.shape not in shapes:
        wanted = " or ".join(" × ".join(map(str, shape)) for shape in shapes)
        raise InputError(
            f"{where}: {key} should be {wanted} numbers, found {brief(array.shape)} of {array.dtype}. "
            f"{_REMEDY}"
        )
    if not np.isfinite(array).all():
        raise InputError(f"{where}: {key} has values that are not finite (NaN or infinite). {_REMEDY}")
    return array.astype(np.float64)


def _numbers(value: object) -> np.ndarray:
    """Return lists of numbers as an array; raises `ValueError` for ragged ones, `TypeError` for others.

    As float64 first: numpy would make all texts of a list as long as the longest.
    """
    array = np.asarray(value, dtype=np.float64)
    if array.size > 100 or not all(
        isinstance(v, int | float | np.number) for v in np.array(value, object).flat
    ):
        raise TypeError("not numbers")
    return array


def _joints(
    meta: Mapping[Any, Any], frame: Frame, where: str
) -> tuple[Float[np.ndarray, "21 3"] | None, Float[np.ndarray, "3"]]:
    """Return the joints, None where there is the wrist only, and the wrist; our order and axes."""
    shapes = ((21, 3),) if frame.labelled else ((3,), (21, 3))
    points = _optional(meta, "handJoints3D", shapes, where)
    if points is None:
        raise InputError(f"{where} has no handJoints3D: the frame is not annotated. {_REMEDY}")
    points = flip_opengl(points)
    check_place(points.reshape(-1, 3), where, "OpenGL's (z backward)")
    if points.ndim == 1:
        return None, points
    joints = joints_from_dataset(points, "ho3d")
    return joints, joints[0]


def _seen(
    joints_2d: Float[np.ndarray, "21 2"] | None,
    root: Float[np.ndarray, "3"],
    intrinsics: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, "N 2"]:
    """Return what is known of the hand in the picture: its joints, or a circle about the wrist."""
    if joints_2d is not None:
        return joints_2d
    angle = np.linspace(0, 2 * np.pi, 21)
    rim = root + 0.2 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    return np.concatenate([project(root[None], intrinsics), project(rim, intrinsics)])


def _box(
    meta: Mapping[Any, Any], joints_2d: Float[np.ndarray, "21 2"] | None, frame: Frame, where: str
) -> Float[np.ndarray, "4"]:
    """Return the box that the data set gives in its evaluation, else that of the joints."""
    given = _optional(meta, "handBoundingBox", ((4,),), where)
    if given is not None and not frame.labelled:
        if not (given[2:] > given[:2]).all():
            raise InputError(
                f"{where}: handBoundingBox should be left, top, right, bottom, found "
                f"{given.tolist()}. {_REMEDY}"
            )
        return given
    if joints_2d is None:
        raise InputError(f"{where} has no handBoundingBox. {_REMEDY}")
    return box_of_joints(joints_2d)


def _mano(meta: Mapping[Any, Any], root: Float[np.ndarray, "3"], where: str) -> dict[str, Any]:
    """Return MANO's parameters that are known, turned into OpenCV's frame.

    The model turns about its rest pose's wrist W(betas), so that the other frame needs another
    translation: what puts W there, W itself being what the given translation leaves of the given wrist.
    """
    pose, betas, moved = (
        _optional(meta, key, ((size,),), where)
        for key, size in (("handPose", 48), ("handBeta", 10), ("handTrans", 3))
    )
    found: dict[str, Any] = {"betas": betas}
    if pose is not None:
        turn = Rotation.from_matrix(_FLIP @ Rotation.from_rotvec(pose[:3]).as_matrix())
        found |= {"global_orient": turn.as_rotvec(), "hand_pose": pose[3:]}
    if moved is not None:
        found["transl"] = root - (flip_opengl(root) - moved)
    return found
