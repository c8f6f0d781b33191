"""A 3D hand with texture and calibrated uncertainty from one photograph.

Names are loaded on first use, so that `import amvur` (and `amvur --help`) costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amvur.errors import AmvurError
    from amvur.export import write_glb, write_json, write_obj, write_ply
    from amvur.image import load_image
    from amvur.inference.reconstructor import Reconstructor
    from amvur.structures import HandReconstruction
    from amvur.viewer import draw_overlay

_HOMES = {
    "AmvurError": "amvur.errors",
    "HandReconstruction": "amvur.structures",
    "Reconstructor": "amvur.inference.reconstructor",
    "draw_overlay": "amvur.viewer",
    "load_image": "amvur.image",
    "write_glb": "amvur.export",
    "write_json": "amvur.export",
    "write_obj": "amvur.export",
    "write_ply": "amvur.export",
}

__all__ = [
    "AmvurError",
    "HandReconstruction",
    "Reconstructor",
    "draw_overlay",
    "load_image",
    "write_glb",
    "write_json",
    "write_obj",
    "write_ply",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name == "__version__":
        from importlib.metadata import version

        return version("amvur")
    if name not in _HOMES:
        raise AttributeError(f"module 'amvur' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted([*globals(), *__all__])
