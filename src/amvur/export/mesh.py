"""The plain mesh behind every mesh file: y-up frame, normals, colours, uncertainty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from amvur.errors import OutputError
from amvur.structures import HandReconstruction

SCENE_FROM_CAMERA = np.diag([1.0, -1.0, -1.0, 1.0])
"""OpenCV axes (y down, z forward) to those of glTF (y up, the camera looks along −z): a half turn."""

FRAME_NOTE = "camera at the origin, x right, y up, looking along -z; metres; negate y and z for OpenCV axes"

NO_HAND = "There is no hand to write. Check that `hands` is not empty first."


@dataclass(frozen=True)
class SceneMesh:
    """A coloured triangle mesh in the y-up frame of the mesh files, metres; colours sRGB in [0, 1].

    `std_mm` is each vertex's standard deviation per axis; `visible` marks those the picture shows.
    """

    vertices: Float32[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    colors: Float32[np.ndarray, "V 3"]
    std_mm: Float32[np.ndarray, "V"]
    visible: Bool[np.ndarray, "V"]


def scene_mesh(hand: HandReconstruction) -> SceneMesh:
    """Return a hand's mesh in the y-up frame; raises `OutputError` if a number is not finite."""
    vertices = hand.vertices.astype(np.float32) * np.array([1, -1, -1], dtype=np.float32)
    colors = np.clip(hand.vertex_colors, 0, 1).astype(np.float32)
    std_mm = (1000 * hand.vertices_std).astype(np.float32)
    skeleton = (hand.joints, hand.skeleton.T_camera_bone, hand.skeleton.lbs_weights)
    colors_std = () if hand.vertex_colors_std is None else (hand.vertex_colors_std,)
    numbers = (vertices, colors, std_mm, hand.score, *skeleton, *colors_std)
    if not all(np.isfinite(values).all() for values in numbers):
        raise OutputError(
            "A reconstructed hand holds numbers that are not finite, so it cannot be written. "
            "Check the camera and the box that were given."
        )
    return SceneMesh(vertices, hand.faces, colors, std_mm, hand.visible.astype(bool))


def merge_meshes(meshes: Iterable[SceneMesh]) -> SceneMesh:
    """Join several meshes into one without welding them."""
    parts = list(meshes)
    if not parts:
        raise OutputError(NO_HAND)
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return SceneMesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)]),
        np.concatenate([part.colors for part in parts]),
        np.concatenate([part.std_mm for part in parts]),
        np.concatenate([part.visible for part in parts]),
    )


def vertex_normals(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> Float32[np.ndarray, "V 3"]:
    """Return outward unit normals, weighted by triangle area; +z where no triangle says otherwise."""
    corners = vertices.astype(np.float64)[faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(normals, faces[:, corner], face_normals)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    fallback = np.broadcast_to([0.0, 0.0, 1.0], normals.shape)
    unit = np.where(length > 1e-20, normals / np.maximum(length, 1e-20), fallback)
    return unit.astype(np.float32)


def linear_from_srgb(srgb: Float[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Undo the sRGB transfer curve (IEC 61966-2-1), as glTF wants for vertex colours."""
    value = np.asarray(srgb, dtype=np.float64)
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


def srgb_from_linear(linear: Float[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Apply the sRGB transfer curve: the inverse of `linear_from_srgb`."""
    value = np.asarray(linear, dtype=np.float64)
    srgb = np.where(value <= 0.0031308, 12.92 * value, 1.055 * np.maximum(value, 0) ** (1 / 2.4) - 0.055)
    return srgb.astype(np.float32)
