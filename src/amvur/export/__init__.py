"""Writers of reconstructed hands: GLB, OBJ, PLY (y up, metres) and the JSON report (OpenCV axes)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from amvur.export.gltf import glb_bytes
from amvur.export.gltf_reader import read_glb
from amvur.export.mesh import SceneMesh, merge_meshes, scene_mesh
from amvur.export.polygons import obj_bytes, ply_bytes
from amvur.export.report import ImageRecord, read_report, report, report_bytes
from amvur.structures import Camera, HandReconstruction
from amvur.whole_files import write_file, write_files

__all__ = [
    "ImageRecord",
    "SceneMesh",
    "glb_bytes",
    "merge_meshes",
    "obj_bytes",
    "ply_bytes",
    "read_glb",
    "read_report",
    "report",
    "report_bytes",
    "scene_mesh",
    "write_file",
    "write_files",
    "write_glb",
    "write_json",
    "write_obj",
    "write_ply",
]


def write_glb(path: Path | str, hands: Sequence[HandReconstruction]) -> None:
    """Write hands as one GLB file, skinned and coloured: see `glb_bytes`. Raises `OutputError`."""
    write_file(path, glb_bytes(hands))


def write_obj(path: Path | str, hands: Sequence[HandReconstruction]) -> None:
    """Write hands as one OBJ file with vertex colours: see `obj_bytes`. Raises `OutputError`."""
    write_file(path, obj_bytes(merge_meshes(map(scene_mesh, hands))))


def write_ply(path: Path | str, hands: Sequence[HandReconstruction]) -> None:
    """Write hands as one binary PLY file: see `ply_bytes`. Raises `OutputError`."""
    write_file(path, ply_bytes(merge_meshes(map(scene_mesh, hands))))


def write_json(
    path: Path | str,
    image: ImageRecord,
    camera: Camera,
    hands: Sequence[HandReconstruction],
    meshes: Sequence[str | None] | None = None,
    warnings: Sequence[str] = (),
) -> None:
    """Write the report of one photograph, schema `amvur/1`: see `report`. Raises `OutputError`."""
    names = [None] * len(hands) if meshes is None else meshes
    write_file(path, report_bytes(report(image, camera, hands, names, warnings)))
