"""A 3D viewer in the browser for results on disk (`pip install "amvur[view]"`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from amvur.errors import AmvurError, InputError
from amvur.export.gltf_reader import GLB_BYTES
from amvur.export.report import read_report
from amvur.hand.joints import JOINT_PARENTS
from amvur.reading import read_bytes, reading


@dataclass(frozen=True)
class SceneContent:
    """What the viewer shows: GLB files by name and, from a report, joints with their uncertainty.

    `joints` (N, 21, 3) are in metres in the y-up frame of the GLB files, `joints_std` (N, 21) in metres.
    """

    glb: dict[str, bytes]
    joints: Float[np.ndarray, "N 21 3"]
    joints_std: Float[np.ndarray, "N 21"]


def load_scene(path: Path) -> SceneContent:
    """Read a GLB file, or a JSON report with the GLB files beside it; raises `InputError`.

    Sizes are bounded as in `read_report` and `read_glb`.
    """
    if path.suffix.lower() == ".glb":
        return SceneContent({path.name: _read(path)}, np.zeros((0, 21, 3)), np.zeros((0, 21)))
    if path.suffix.lower() != ".json":
        raise InputError(f"Cannot show {path}: wanted a .glb or .json file that `amvur reconstruct` wrote.")
    hands = read_report(path)["hands"]
    meshes = [hand["mesh"] or "" for hand in hands]
    joints = np.array([hand["joints_3d_m"] for hand in hands], dtype=np.float64).reshape(-1, 21, 3)
    std = np.array([hand["joints_std_mm"] for hand in hands], dtype=np.float64).reshape(-1, 21) / 1000
    # names only: a report from elsewhere must not reach out of its folder
    names = [Path(mesh).name for mesh in meshes if mesh.endswith(".glb")]
    files = {name: _read(path.parent / name, f"{path} names it: put it beside the report.") for name in names}
    return SceneContent(files, joints * [1, -1, -1], std)


def view(path: Path, host: str = "127.0.0.1", port: int = 8080, tell: Callable[[str], None] = print) -> None:
    """Serve the file at `http://host:port` until Ctrl-C; `tell` is told the address.

    Raises `InputError` if the file cannot be shown and `AmvurError` if viser is not installed.
    """
    content = load_scene(path)
    server = start_server(content, host, port)
    tell(f"Showing {path} at http://{host}:{server.get_port()} (Ctrl-C ends it).")
    try:
        while True:
            time.sleep(0.5)
    except KeyboardInterrupt:
        server.stop()


def start_server(content: SceneContent, host: str, port: int) -> Any:
    """Start a viser server that shows `content` and return it; raises `AmvurError` without viser."""
    try:
        import viser
    except ImportError as error:
        raise AmvurError(
            'The viewer needs the package viser, which is not installed: pip install "amvur[view]". '
            "Any other glTF viewer shows the .glb files too."
        ) from error
    server = viser.ViserServer(host=host, port=port, label="amvur", verbose=False)
    server.scene.set_up_direction("+y")
    for name, data in content.glb.items():
        server.scene.add_glb(f"/{name}", data)
    for index, (joints, std) in enumerate(zip(content.joints, content.joints_std, strict=True)):
        _add_skeleton(server, f"/skeletons/{index}", joints, std)
    center = _center(content)
    server.initial_camera.position = (0.0, 0.0, 0.05)  # nearly the photograph's own camera
    server.initial_camera.look_at = tuple(center)
    return server


def _add_skeleton(
    server: Any, name: str, joints: Float[np.ndarray, "21 3"], std: Float[np.ndarray, "21"]
) -> None:
    """Add bones as lines and a glassy ball of one standard deviation around every joint."""
    bones = np.array([[joints[parent], joint] for joint, parent in zip(joints, JOINT_PARENTS, strict=True)])
    server.scene.add_line_segments(f"{name}/bones", bones[1:], (30, 120, 220), thickness=0.001)
    for index, (joint, radius) in enumerate(zip(joints, std, strict=True)):
        server.scene.add_icosphere(
            f"{name}/std/{index}", float(radius), (30, 120, 220), position=tuple(joint), opacity=0.15
        )


def _center(content: SceneContent) -> Float[np.ndarray, "3"]:
    """Return a point to look at: the joints' centre, or half a metre in front of the camera."""
    if len(content.joints) == 0:
        return np.array([0.0, 0.0, -0.5])
    center: NDArray[Any] = content.joints.reshape(-1, 3).mean(0)
    return center


def _read(path: Path, remedy: str = "Check the path.") -> bytes:
    """Return a GLB file's bytes, which the browser reads; raises `InputError`."""
    with reading(path, "a GLB file", remedy):
        return read_bytes(path, GLB_BYTES)
