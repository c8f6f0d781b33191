"""OBJ and PLY files: the mesh without its skeleton, in the same y-up frame as the GLB."""

from __future__ import annotations

import io

import numpy as np

from amvur.export.mesh import FRAME_NOTE, SceneMesh, vertex_normals
from amvur.seals import SEAL, sealed


def obj_bytes(mesh: SceneMesh) -> bytes:
    """Return a Wavefront OBJ with vertex colours after the coordinates (`v x y z r g b`, sRGB).

    MeshLab, Blender, Open3D and trimesh read such colours; the format has no place for uncertainty.
    """
    stream = io.StringIO()
    stream.write(f"# amvur: {FRAME_NOTE}\n# {SEAL}\n")
    np.savetxt(stream, np.hstack([mesh.vertices, mesh.colors]), fmt="v %.7f %.7f %.7f %.4f %.4f %.4f")
    np.savetxt(stream, vertex_normals(mesh.vertices, mesh.faces), fmt="vn %.4f %.4f %.4f")
    np.savetxt(stream, np.repeat(mesh.faces + 1, 2, axis=1), fmt="f %d//%d %d//%d %d//%d")
    return sealed(stream.getvalue().encode())


def ply_bytes(mesh: SceneMesh) -> bytes:
    """Return a binary PLY: position, normal, 8-bit sRGB colour, `std_mm` (float), `visible` (0 or 1)."""
    vertex = np.zeros(
        len(mesh.vertices),
        dtype=[
            ("position", "<f4", 3),
            ("normal", "<f4", 3),
            ("color", "u1", 3),
            ("std_mm", "<f4"),
            ("visible", "u1"),
        ],
    )
    vertex["position"] = mesh.vertices
    vertex["normal"] = vertex_normals(mesh.vertices, mesh.faces)
    vertex["color"] = np.rint(255 * mesh.colors)
    vertex["std_mm"] = mesh.std_mm
    vertex["visible"] = mesh.visible
    face = np.zeros(len(mesh.faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    face["count"], face["corners"] = 3, mesh.faces
    floats = "".join(f"property float {name}\n" for name in ("x", "y", "z", "nx", "ny", "nz"))
    colors = "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
    header = (
        f"ply\nformat binary_little_endian 1.0\ncomment amvur: {FRAME_NOTE}\ncomment {SEAL}\n"
        f"element vertex {len(vertex)}\n{floats}{colors}property float std_mm\nproperty uchar visible\n"
        f"element face {len(face)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    return sealed(header.encode("ascii") + vertex.tobytes() + face.tobytes())
