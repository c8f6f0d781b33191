"""How the folders of the data sets look, to recognise them and to say what is missing in one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from amvur.data.real.photographs import LABELS
from amvur.errors import InputError

FREIHAND = """FreiHAND v2 (FreiHAND_pub_v2):
  training/rgb/00000000.jpg …   4 pictures for every entry of the lists (mask/: the first quarter)
  training_K.json  training_xyz.json   (training_mano.json  training_verts.json  training_scale.json)
  evaluation/rgb/00000000.jpg …
  evaluation_K.json   (evaluation_scale.json  evaluation_xyz.json  evaluation_verts.json)
  what is in brackets is read where it is there; one of the two splits is enough"""
HO3D = """HO3D v2 or v3 (HO3D_v2, HO3D_v3):
  train.txt  evaluation.txt     one SEQUENCE/NUMBER a line
  train/SEQUENCE/rgb/NUMBER.png or .jpg, train/SEQUENCE/meta/NUMBER.pkl
  evaluation/SEQUENCE/rgb, evaluation/SEQUENCE/meta
  (evaluation_xyz.json  evaluation_verts.json)
  what is in brackets is read where it is there; one of the two splits is enough"""

_REMEDY = "Unpack or download the rest."
_FREIHAND_SIGNS = (
    "training_K.json",
    "training_xyz.json",
    "evaluation_K.json",
    "training/rgb",
    "evaluation/rgb",
)
_HO3D_SIGNS = ("train.txt", "evaluation.txt", "train", "evaluation")


def is_freihand(folder: Path) -> bool:
    """Say whether a folder is FreiHAND's, perhaps incomplete."""
    return any((folder / sign).exists() for sign in _FREIHAND_SIGNS)


def is_ho3d(folder: Path) -> bool:
    """Say whether a folder that is not FreiHAND's is HO3D's, perhaps incomplete."""
    return any((folder / sign).exists() for sign in _HO3D_SIGNS)


def require(folder: Path, names: Iterable[str], layout: str) -> None:
    """Raise `InputError` with the layout and the first of `names` that a folder lacks."""
    for name in names:
        if not (folder / name).exists():
            raise InputError(f"{folder} lacks {name}. Expected is", *layout.splitlines(), _REMEDY)


def list_folder(folder: Path, layout: str) -> frozenset[str]:
    """Return the names in a folder; raises `InputError` with the layout if there is none."""
    try:
        return frozenset(os.listdir(folder))
    except OSError as error:
        raise InputError(
            f"Cannot list {folder}: {error.strerror or error}. Expected is", *layout.splitlines(), _REMEDY
        ) from error


def nearby(folder: Path) -> Path | None:
    """Return the folder above or a folder in `folder` that is a data set's, for users one step off."""
    try:
        inside = sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError:
        return None
    for other in (folder.resolve().parent, *inside[:100]):
        if is_freihand(other) or any((other / n).exists() for n in ("train.txt", "evaluation.txt", LABELS)):
            return other
    return None
