"""Reads back the GLB files that `amvur` writes, to convert them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amvur.errors import InputError
from amvur.export.gltf import COLOR_ATTRIBUTES, GENERATOR
from amvur.export.mesh import SceneMesh, srgb_from_linear
from amvur.reading import LimitError, brief, parse_json, read_bytes, reading

GLB_BYTES = 64 * 2**20

_DTYPES = {5126: np.float32, 5125: np.uint32, 5121: np.uint8}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


def read_glb(path: Path | str) -> list[SceneMesh]:
    """Return the meshes of a GLB file written by `amvur`, one per hand, y up, metres, colours sRGB.

    Files have at most `GLB_BYTES`, and meshes take at most 16 times a file's bytes. Raises `InputError` if
    the file is missing, damaged or was not written by `amvur`.
    """
    with reading(path, "a complete GLB file", "Give one that `amvur` wrote, or write it again."):
        document, buffer = _read_chunks(Path(path))
        meshes: list[SceneMesh] = []
        left = 10 * len(buffer)
        for mesh in document.get("meshes", []):
            meshes.append(_mesh(document, buffer, mesh["primitives"][0]))
            left -= meshes[-1].vertices.nbytes + meshes[-1].faces.nbytes + meshes[-1].colors.nbytes
            if left < 0:
                raise LimitError("its meshes name the same numbers over and over")
        return meshes


def _read_chunks(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the JSON document and the binary buffer of a GLB file."""
    data = read_bytes(path, GLB_BYTES)
    magic, version, total = struct.unpack_from("<4sII", data)
    size, kind = struct.unpack_from("<I4s", data, 12)
    if (magic, version, total, kind) != (b"glTF", 2, len(data), b"JSON"):
        raise ValueError("it does not begin as one of its length")
    document = parse_json(data[20 : 20 + size])
    asset = document.get("asset") if isinstance(document, dict) else None
    if not isinstance(asset, dict) or asset.get("generator") != GENERATOR:
        raise InputError(f"{path} was not written by amvur, so its content is unknown. Give one that was.")
    return document, data[28 + size :]


def _mesh(document: dict[str, Any], buffer: bytes, primitive: dict[str, Any]) -> SceneMesh:
    """Return one primitive as a mesh; raises `ValueError` or the like where its parts do not fit."""
    attributes = primitive["attributes"]
    vertices = _array(document, buffer, attributes["POSITION"], "VEC3")
    count = len(vertices)
    std, visible = (_array(document, buffer, attributes[name], "SCALAR") for name in ("_STD_MM", "_VISIBLE"))
    # earlier versions wrote three numbers in one attribute, `_COLOR` beside a texture picture
    earlier = next((key for key in ("COLOR_0", "_COLOR") if key in attributes), None)
    if earlier is not None:
        colors = _array(document, buffer, attributes[earlier], "VEC3")
    else:
        parts = [_array(document, buffer, attributes[name], "SCALAR") for name in COLOR_ATTRIBUTES]
        if {len(part) for part in parts} != {count}:
            raise ValueError("its colors are not as many as its vertices")
        colors = np.column_stack(parts)
    indices = _array(document, buffer, primitive["indices"], "SCALAR")
    faces = indices.reshape(-1, 3).astype(np.int64)
    if not count == len(colors) == len(std) == len(visible):
        raise ValueError(f"it has {count} vertices, but {len(colors)} colors and {len(std)} deviations")
    if indices.dtype.kind != "u" or (len(faces) and faces.max() >= count):
        raise ValueError(f"its faces name other vertices than its {count}")
    if not all(np.isfinite(values).all() for values in (vertices, colors, std)):
        raise ValueError("its vertices, colors or deviations are not finite")
    return SceneMesh(vertices, faces, srgb_from_linear(colors), std, visible > 0.5)


def _array(document: dict[str, Any], buffer: bytes, number: object, kind: str) -> NDArray[Any]:
    """Return what an accessor of a kind describes; a view of the buffer, so that it costs nothing."""
    entry = document["accessors"][_whole(number)]
    view = document["bufferViews"][_whole(entry["bufferView"])]
    dtype, width = np.dtype(_DTYPES[entry["componentType"]]), _WIDTHS[kind]
    start = _whole(view.get("byteOffset", 0)) + _whole(entry.get("byteOffset", 0))
    size = _whole(entry["count"]) * width * dtype.itemsize
    if entry["type"] != kind or start + size > len(buffer):
        raise ValueError(f"an accessor of {brief(entry['type'])} does not fit, or reaches beyond the file")
    values = np.frombuffer(buffer, dtype, entry["count"] * width, start)
    return values if width == 1 else values.reshape(-1, width)


def _whole(value: object) -> int:
    """Return an index or a count; raises `ValueError` for anything else."""
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError(f"{brief(value)} is no place or number of things")
    return value
