"""Opening a folder of photographs of hands as the data set that it is."""

from __future__ import annotations

import os
from pathlib import Path

from amvur.data.real.freihand import FreiHand
from amvur.data.real.ho3d import Ho3d
from amvur.data.real.layouts import FREIHAND, HO3D, is_freihand, is_ho3d, nearby
from amvur.data.real.photographs import LABELS, is_photographs, open_photographs
from amvur.data.real.samples import HandDataset
from amvur.errors import InputError
from amvur.image import IMAGE_SUFFIXES

SPLITS = ("training", "evaluation")


def open_dataset(path: Path, split: str = "evaluation") -> HandDataset:
    """Open `training` or `evaluation` of FreiHAND v2, HO3D v2 or v3, or of one's own labelled photographs.

    Which of them a folder is shows in what it holds. Lists are read once, pictures and labels of samples
    when they are asked for. Raises `InputError` that shows the expected layout and the first thing missing
    for any other folder, and for lists that are damaged or contradict each other.
    """
    folder = Path(path)
    if split not in SPLITS:
        raise InputError(f"A data set has the splits {' and '.join(SPLITS)}, found '{split}'.")
    if is_photographs(folder):
        return open_photographs(folder, split)
    if not os.path.isdir(folder):
        raise InputError(f"Wanted the folder of a data set, found none at {folder}. Check the path.")
    if is_freihand(folder):
        return FreiHand(folder, split)
    if is_ho3d(folder):
        return Ho3d(folder, split)
    if (folder / LABELS).exists():
        return open_photographs(folder, split)  # tells what is wrong with it
    raise InputError(*_unknown(folder))


def _unknown(folder: Path) -> tuple[str, ...]:
    """Say in lines what was looked for in a folder that no data set has."""
    other = nearby(folder)
    if other is not None:
        return (f"{folder} is no data set, but {other} looks like one. Give that folder.",)
    pictures = sum(child.suffix.lower() in IMAGE_SUFFIXES for child in folder.iterdir())
    if pictures:
        return (
            f"{folder} holds {pictures} pictures, but no {LABELS} with what is to be seen on them. "
            f"Make it with: amvur label {folder}",
        )
    found = ", ".join(sorted(child.name for child in folder.iterdir())[:8]) or "nothing"
    return (
        f"{folder} is no data set that is known (no training_K.json or evaluation_K.json, no train.txt or "
        f"evaluation.txt; it holds {found}). Expected is",
        *FREIHAND.splitlines(),
        "or",
        *HO3D.splitlines(),
        "or a folder of your own photographs with the labels.json of `amvur label`.",
    )
