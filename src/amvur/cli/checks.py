"""Checks of options that need no picture: wrong usage is told before anything is loaded."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from amvur.cli.options import Reconstruct
from amvur.errors import InputError, OutputError
from amvur.reading import read_json
from amvur.whole_files import check_place, explain


def check_options(options: Reconstruct) -> None:
    """Raise `InputError` for options that cannot work for any photograph."""
    if not options.paths:
        raise InputError("No photograph was given. Name files or folders: amvur reconstruct PATH...")
    if not options.format:
        raise InputError("--format needs at least one of glb, obj, ply.")
    from amvur.structures import FOV_RANGE_DEG

    _check_camera(options, FOV_RANGE_DEG)
    if options.box is not None:
        x0, y0, x1, y1 = options.box
        if not (all(map(math.isfinite, options.box)) and x0 < x1 and y0 < y1):
            raise InputError(
                f"--box wants X0 Y0 X1 Y1 in pixels with X0 < X1 and Y0 < Y1, found {_text(options.box)}. "
                "Give left, top, right and bottom."
            )
        if max(map(abs, options.box)) <= 1.5:
            raise InputError(
                f"--box {_text(options.box)} seems to be in fractions of the picture. Give pixels: multiply "
                "by its width and height."
            )
    elif options.detector == "none":
        raise InputError(
            "--detector none finds no hands by itself. Say where the hand is: --box X0 Y0 X1 Y1."
        )
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
            f"{path} exists and is not what this command writes, so it is not overwritten. Move it away or "
            "name another file."
        )


def holds_json(path: Path, **values: object) -> bool:
    """Whether a file is a JSON object with these keys, and these values where they are not None."""
    try:
        content = read_json(path, "JSON", "")
    except InputError:
        return False
    return all(key in content and value in (None, content[key]) for key, value in values.items())


def _check_camera(options: Reconstruct, fov_range_deg: tuple[float, float]) -> None:
    """Raise `InputError` unless at most one sane description of the camera is given."""
    if options.intrinsics is not None and options.fov is not None:
        raise InputError("--intrinsics and --fov both describe the camera. Give one of them.")
    low, high = fov_range_deg
    if options.fov is not None and not low <= options.fov <= high:  # false for NaN
        raise InputError(f"--fov wants degrees between {low:g} and {high:g}, found {options.fov:g}.")
    if options.intrinsics is not None:
        fx, fy, _, _ = options.intrinsics
        if not (all(map(math.isfinite, options.intrinsics)) and fx > 0 and fy > 0):
            raise InputError(
                f"--intrinsics wants FX FY CX CY in pixels, finite and with positive focal lengths, "
                f"found {_text(options.intrinsics)}. Leave it out if the camera is not known."
            )


def _check_choice(option: str, value: str, words: tuple[str, ...], file: str) -> None:
    """Raise `InputError` unless `value` is one of the words or an existing path."""
    if value not in words and not os.path.exists(value):  # also of names too long for one
        raise InputError(
            f"{option} wants {', '.join(words)} or the path of {file}, found {value!r}, "
            "which is neither. Check the spelling and the path."
        )


def _text(values: tuple[float, ...]) -> str:
    """Return numbers as the user would type them."""
    return " ".join(f"{value:g}" for value in values)
