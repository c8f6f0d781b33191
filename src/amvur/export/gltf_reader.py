"""Reads back the GLB files that `amvur` writes, to convert them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amvur.errors import InputError
from amvur.export.gltf import COLOR_ATTRIBUTES, GENERATOR
from amvur.export.mesh import SceneMesh, srgb_from_linear

_DTYPES = {5126: np.float32, 5125: np.uint32, 5121: np.uint8}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def read_glb(path: Path | str) -> list[SceneMesh]:
    """Return the meshes of a GLB file written by `amvur`, one per hand, y up, metres, colours sRGB.

    Raises `InputError` if the file is missing, damaged or was not written by `amvur`.
    """
    document, buffer = _read_chunks(Path(path))
    try:
        primitives = [mesh["primitives"][0] for mesh in document.get("meshes", [])]
        return [_mesh(document, buffer, primitive) for primitive in primitives]
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error!r}). Write it again: `amvur reconstruct`.") from error


def _read_chunks(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the JSON document and the binary buffer of a GLB file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}. Check the path.") from error
    try:
        magic, _, total = struct.unpack_from("<4sII", data)
        size, _ = struct.unpack_from("<I4s", data, 12)
        if magic != b"glTF" or total != len(data):
            raise ValueError("no complete GLB file")
        document = json.loads(data[20 : 20 + size])
    except (struct.error, ValueError) as error:
        raise InputError(f"{path} is not a complete GLB file. Give one that `amvur` wrote.") from error
    if not isinstance(document, dict) or document.get("asset", {}).get("generator") != GENERATOR:
        raise InputError(f"{path} was not written by amvur, so its content is unknown. Give one that was.")
    return document, data[28 + size :]


def _mesh(document: dict[str, Any], buffer: bytes, primitive: dict[str, Any]) -> SceneMesh:
    """Return one primitive as a mesh."""

    def array(accessor: int) -> NDArray[Any]:
        entry = document["accessors"][accessor]
        width = _WIDTHS[entry["type"]]
        offset = document["bufferViews"][entry["bufferView"]]["byteOffset"]
        values = np.frombuffer(buffer, _DTYPES[entry["componentType"]], entry["count"] * width, offset)
        return values if width == 1 else values.reshape(-1, width)

    attributes = {key: array(index) for key, index in primitive["attributes"].items()}
    # earlier versions wrote three numbers in one attribute, `_COLOR` beside a texture picture
    earlier = next((attributes[key] for key in ("COLOR_0", "_COLOR") if key in attributes), None)
    colors = np.column_stack([attributes[k] for k in COLOR_ATTRIBUTES]) if earlier is None else earlier
    return SceneMesh(
        vertices=attributes["POSITION"],
        faces=array(primitive["indices"]).reshape(-1, 3).astype(np.int64),
        colors=srgb_from_linear(colors),
        std_mm=attributes["_STD_MM"],
        visible=attributes["_VISIBLE"] > 0.5,
    )
