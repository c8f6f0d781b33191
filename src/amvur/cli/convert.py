"""`amvur export`: from the GLB files of a result to OBJ and PLY."""

from __future__ import annotations

from pathlib import Path

from amvur.cli.checks import check_output
from amvur.cli.options import Export
from amvur.cli.terminal import tell
from amvur.errors import InputError
from amvur.export import merge_meshes, obj_bytes, ply_bytes, read_glb, read_report, write_files
from amvur.export.ownership import check_replaceable
from amvur.whole_files import remove_leftovers


def run_export(options: Export) -> int:
    """Convert a report's or a single GLB's hands and say what was written; returns 0.

    Raises `InputError` if the input is no result of amvur and `OutputError` if writing fails.
    """
    if not options.format:
        raise InputError("--format needs at least one of obj, ply.")
    folder = options.path.parent if options.output is None else options.output
    contents: dict[Path, bytes] = {}
    for glb in _glb_files(options.path):
        mesh = merge_meshes(read_glb(glb))
        for kind in dict.fromkeys(options.format):
            contents[folder / f"{glb.stem}.{kind}"] = obj_bytes(mesh) if kind == "obj" else ply_bytes(mesh)
    check_output(folder)
    remove_leftovers(folder)
    check_replaceable(contents)
    write_files(contents)
    for path in contents:
        tell(str(path))
    if not contents:
        tell(f"{options.path} has no hands: nothing to convert.")
    return 0


def _glb_files(path: Path) -> list[Path]:
    """Return the GLB files behind a report, or the GLB file itself."""
    if path.suffix.lower() == ".glb":
        return [path]
    if path.suffix.lower() != ".json":
        raise InputError(
            f"Cannot convert {path}: wanted a .json or .glb file that `amvur reconstruct` wrote."
        )
    names = [str(hand.get("mesh")) for hand in read_report(path)["hands"]]
    for name in names:
        if not name.endswith(".glb"):
            raise InputError(
                f"{path} names the mesh {name}, and only GLB files can be converted. "
                "Run `amvur reconstruct` with --format glb, or with the format that you want."
            )
    # names only: a report from elsewhere must not reach out of its folder
    return [path.parent / Path(name).name for name in names]
