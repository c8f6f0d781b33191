"""Checks of options that need no picture: wrong usage is told before anything is loaded."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from amvur.cli.options import Reconstruct
from amvur.errors import InputError, OutputError
from amvur.whole_files import check_place, explain


def check_options(options: Reconstruct) -> None:
    """Raise `InputError` for options that cannot work for any photograph."""
    if not options.paths:
        raise InputError("No photograph was given. Name files or folders: amvur reconstruct PATH...")
    if not options.format:
        raise InputError("--format needs at least one of glb, obj, ply.")
    _check_camera(options)
    if options.box is not None:
        from amvur.detect.given import check_corners

        check_corners(options.box, "--box")
    elif options.detector == "none":
        raise InputError(
            "--detector none finds no hands by itself. Say where the hand is: --box X0 Y0 X1 Y1."
        )
    if options.detector == "none" and options.side == "auto":
        raise InputError("--detector none knows no sides. Add --side left or --side right.")
    _check_choice("--detector", options.detector, ("mediapipe", "none"), "a hand_landmarker.task file")
    _check_choice("--hand-model", options.hand_model, ("open",), "a MANO file (.pkl)")
    _check_choice("--checkpoint", options.checkpoint, ("default", "none"), "a folder with weights")


def check_output(folder: Path) -> None:
    """Make the folder and try to write into it; raises `OutputError` if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise OutputError(f"{explain(folder, error)} Use --output DIR.") from error


def check_output_file(path: Path, wanted: str, ours: Callable[[Path], bool] | None = None) -> None:
    """Raise an error, before the work, if a file cannot be written or holds what is not this program's.

    `wanted` begins the message about a folder; without `ours` whoever writes the file looks at what it holds.
    """
    if os.path.isdir(path):
        raise InputError(f"{wanted}, found the folder {path}. Name a file in it.")
    check_place(path)
    check_output(path.parent)
    if ours is not None and os.path.lexists(path) and (path.is_symlink() or not ours(path)):
        raise OutputError(
            f"{path} exists and is not what this command writes, or was changed since, so it is not "
            "overwritten. Move it away or name another file."
        )


def _check_camera(options: Reconstruct) -> None:
    """Raise `InputError` unless at most one sane description of the camera is given."""
    from amvur.geometry.camera_checks import check_fov, check_intrinsics

    if options.intrinsics is not None and options.fov is not None:
        raise InputError("--intrinsics and --fov both describe the camera. Give one of them.")
    if options.fov is not None:
        check_fov(options.fov, "--fov")
    if options.intrinsics is not None:
        fx, fy, cx, cy = options.intrinsics
        check_intrinsics([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], "--intrinsics FX FY CX CY")


def _check_choice(option: str, value: str, words: tuple[str, ...], file: str) -> None:
    """Raise `InputError` unless `value` is one of the words or an existing path."""
    if value not in words and not os.path.exists(value):  # also of names too long for one
        raise InputError(
            f"{option} wants {', '.join(words)} or the path of {file}, found {value!r}, "
            "which is neither. Check the spelling and the path."
        )
