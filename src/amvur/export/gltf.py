"""Skinned glTF 2.0 binary files (`.glb`) of reconstructed hands."""

from __future__ import annotations

import io
import json
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from amvur.errors import OutputError
from amvur.export.color_picture import color_picture
from amvur.export.mesh import (
    FRAME_NOTE,
    NO_HAND,
    SCENE_FROM_CAMERA,
    linear_from_srgb,
    scene_mesh,
    vertex_normals,
)
from amvur.hand.joints import JOINT_BONES, JOINT_NAMES, TIP_JOINTS
from amvur.seals import SEAL, sealed
from amvur.structures import HandReconstruction

GENERATOR = "amvur"
COLOR_ATTRIBUTES = ("_RED", "_GREEN", "_BLUE")
_COMPONENTS = {"float32": 5126, "uint32": 5125, "uint8": 5121}
_SHAPES: dict[tuple[int, ...], str] = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (16,): "MAT4"}
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963
_LINEAR, _MIPMAPS, _CLAMP = 9729, 9987, 33071


def glb_bytes(hands: Sequence[HandReconstruction]) -> bytes:
    """Return a GLB file with one skinned mesh per hand, each with its own skeleton of 21 named nodes.

    Metres, y up, camera at the origin looking along −z. The bind pose is the reconstructed pose:
    positions are the reconstructed vertices and the inverse bind matrices undo the posed bones, so
    that programs that ignore skins show the same mesh as those that honour them. The base color is a
    picture: the hand's texture, with vertices split along its seams, or its vertex colors (`color_picture`).
    `_STD_MM`, `_VISIBLE`, `_RED`, `_GREEN`, `_BLUE` (the vertex colors, linear) and, where known,
    `_COLOR_STD` are extra attributes. Raises `OutputError` without a hand and for numbers not finite.
    """
    if not hands:
        raise OutputError(NO_HAND)
    document = _Document()
    counts: Counter[str] = Counter()
    for hand in hands:
        name = f"{hand.side}_hand" + (f"_{counts[hand.side]}" if counts[hand.side] else "")
        counts[hand.side] += 1
        document.add_hand(hand, name)
    return document.to_bytes()


class _Document:
    """A glTF document in the making: its JSON lists and its one binary buffer."""

    def __init__(self) -> None:
        """Start with one empty scene."""
        self.json: dict[str, Any] = {
            "asset": {
                "version": "2.0",
                "generator": GENERATOR,
                "extras": {"seal": SEAL, "units": "m", "frame": FRAME_NOTE},
            },
            "scene": 0,
            "scenes": [{"nodes": []}],
        }
        for key in ("nodes", "meshes", "skins", "materials", "textures", "samplers", "images"):
            self.json[key] = []
        self.json |= {"accessors": [], "bufferViews": []}
        self.buffer = bytearray()

    def append(self, key: str, value: dict[str, Any]) -> int:
        """Append `value` to the JSON list `key` and return its index."""
        self.json[key].append(value)
        return len(self.json[key]) - 1

    def add_bytes(self, data: bytes, target: int | None = None) -> int:
        """Append bytes to the buffer and return the index of their view."""
        view = {"buffer": 0, "byteOffset": len(self.buffer), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self.buffer += data + bytes(-len(data) % 4)
        return self.append("bufferViews", view)

    def add_array(self, array: NDArray[Any], target: int | None = None) -> int:
        """Append an array to the buffer and return the index of its accessor."""
        accessor = {
            "bufferView": self.add_bytes(np.ascontiguousarray(array).tobytes(), target),
            "componentType": _COMPONENTS[array.dtype.name],
            "count": len(array),
            "type": _SHAPES[array.shape[1:]],
        }
        if array.ndim == 2 and array.shape[1] == 3:
            accessor |= {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
        return self.append("accessors", accessor)

    def add_hand(self, hand: HandReconstruction, name: str) -> None:
        """Append a hand: the node of its mesh, and beside it a node that holds its skeleton.

        Blender makes one armature of all skeletons under a common node, so each has a node of its own. The
        mesh's node lies beside it: a skinned mesh does not follow its parents.
        """
        extras = {
            "side": hand.side,
            "score": round(float(hand.score), 6),
            "hand_model": hand.parameters.hand_model,
            "units": "m",
            "frame": FRAME_NOTE,
        }
        primitive = self.primitive(hand, name)
        mesh = self.append("meshes", {"name": name, "primitives": [primitive], "extras": extras})
        global_matrices = joint_matrices(hand)
        joints = self.add_skeleton(hand, name, global_matrices)
        inverse = np.linalg.inv(global_matrices)
        inverse[:, 3] = [0, 0, 0, 1]  # exactly, as the format demands
        columns = inverse.transpose(0, 2, 1).reshape(-1, 16).astype(np.float32)
        skin = self.append(
            "skins",
            {
                "name": name,
                "joints": joints,
                "skeleton": joints[0],
                "inverseBindMatrices": self.add_array(columns),
            },
        )
        node = self.append("nodes", {"name": f"{name}_mesh", "mesh": mesh, "skin": skin, "extras": extras})
        armature = self.append("nodes", {"name": name, "children": [joints[0]]})
        self.json["scenes"][0]["nodes"] += [node, armature]

    def primitive(self, hand: HandReconstruction, name: str) -> dict[str, Any]:
        """Append the arrays of a hand's mesh and return its primitive.

        Attributes of our own are scalars of one type: Blender (4.2 to 5.0) mixes up those of several. And
        there is no `COLOR_0`: programs multiply the picture by it, where they do not ignore it.
        """
        mesh = scene_mesh(hand)
        joints, weights = top_four(hand.skeleton.lbs_weights)
        attributes: dict[str, NDArray[Any]] = {
            "POSITION": mesh.vertices,
            "NORMAL": vertex_normals(mesh.vertices, mesh.faces),
            "JOINTS_0": joints,
            "WEIGHTS_0": weights,
            "_STD_MM": mesh.std_mm,
            "_VISIBLE": mesh.visible.astype(np.float32),
            **dict(zip(COLOR_ATTRIBUTES, linear_from_srgb(mesh.colors).T, strict=True)),
        }
        if hand.vertex_colors_std is not None:
            attributes["_COLOR_STD"] = hand.vertex_colors_std.astype(np.float32)
        texture, filtering = hand.uv_texture, _MIPMAPS
        if texture is None:
            texture, filtering = color_picture(mesh.colors, mesh.faces), _LINEAR
        attributes = {key: value[texture.vertices] for key, value in attributes.items()}
        attributes["TEXCOORD_0"] = texture.uv.astype(np.float32)
        return {
            "attributes": {key: self.add_array(value, _VERTEX_BUFFER) for key, value in attributes.items()},
            "indices": self.add_array(texture.faces.astype(np.uint32).ravel(), _INDEX_BUFFER),
            "material": self.add_skin(texture.pixels, f"{name}_skin", filtering),
            "mode": 4,
        }

    def add_skin(self, pixels: UInt8[np.ndarray, "S S 3"], name: str, filtering: int) -> int:
        """Append a matte material with a picture (as PNG) and return its index; `filtering` as of OpenGL."""
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, "PNG")
        view = self.add_bytes(png.getvalue())
        image = self.append("images", {"bufferView": view, "mimeType": "image/png", "name": name})
        wrapping = {"wrapS": _CLAMP, "wrapT": _CLAMP}
        sampler = self.append("samplers", {"magFilter": _LINEAR, "minFilter": filtering, **wrapping})
        texture = self.append("textures", {"source": image, "sampler": sampler})
        skin = {"baseColorTexture": {"index": texture}, "metallicFactor": 0, "roughnessFactor": 1}
        # both sides: a MANO hand is open at the wrist
        return self.append("materials", {"name": name, "doubleSided": True, "pbrMetallicRoughness": skin})

    def add_skeleton(
        self, hand: HandReconstruction, name: str, global_matrices: Float[np.ndarray, "21 4 4"]
    ) -> list[int]:
        """Append a tree of nodes, bones first and then the five tips; return their indices."""
        parents = [*hand.skeleton.parents, *(JOINT_BONES[tip] for tip in TIP_JOINTS)]
        names = [*hand.skeleton.names, *(JOINT_NAMES[tip] for tip in TIP_JOINTS)]
        first = len(self.json["nodes"])
        for matrix, parent, joint in zip(global_matrices, parents, names, strict=True):
            local = matrix if parent < 0 else np.linalg.inv(global_matrices[parent]) @ matrix
            index = self.append(
                "nodes",
                {
                    "name": f"{name}_{joint}",
                    "translation": local[:3, 3].tolist(),
                    "rotation": Rotation.from_matrix(local[:3, :3]).as_quat().tolist(),
                },
            )
            if parent >= 0:
                self.json["nodes"][first + parent].setdefault("children", []).append(index)
        return list(range(first, first + len(parents)))

    def to_bytes(self) -> bytes:
        """Return the finished file: header, JSON chunk, binary chunk."""
        content = {key: value for key, value in self.json.items() if value != []}
        if self.buffer:
            content["buffers"] = [{"byteLength": len(self.buffer)}]
        text = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        if self.buffer:
            chunks += struct.pack("<I4s", len(self.buffer), b"BIN\0") + bytes(self.buffer)
        return sealed(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


def joint_matrices(hand: HandReconstruction) -> Float[np.ndarray, "21 4 4"]:
    """Return the posed frames of the 16 bones and the 5 fingertips in the y-up scene.

    A bone's axes are those of the hand model's rest pose, turned with the bone; a tip has its bone's.
    """
    frames = hand.skeleton.T_camera_bone.astype(np.float64)
    # float32 rotations are orthonormal to 1e-7 only: clean them, so that inverses are exact
    frames[:, :3, :3] = Rotation.from_matrix(frames[:, :3, :3]).as_matrix()
    tips = frames[[JOINT_BONES[tip] for tip in TIP_JOINTS]]
    tips[:, :3, 3] = hand.joints[list(TIP_JOINTS)]
    scene: NDArray[Any] = SCENE_FROM_CAMERA @ np.concatenate([frames, tips])
    return scene


def top_four(
    weights: Float32[np.ndarray, "V 16"],
) -> tuple[UInt8[np.ndarray, "V 4"], Float32[np.ndarray, "V 4"]]:
    """Keep each vertex's four largest skinning weights, made to sum to 1 again.

    Four, because programs that know only one set of weights would tear a mesh that has two. In the
    bind pose any weights are exact; `tests/export` bounds what the cut does in other poses.
    """
    joints = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    kept = np.take_along_axis(weights, joints, axis=1).astype(np.float64)
    kept /= kept.sum(1, keepdims=True)
    joints[kept == 0] = 0  # the format wants joint 0 where the weight is 0
    return joints.astype(np.uint8), kept.astype(np.float32)
