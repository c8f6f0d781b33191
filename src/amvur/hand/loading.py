"""One way to get a hand model: the open hand by name, MANO by the path of the user's file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from amvur.errors import ModelFileError
from amvur.hand.mano import FREIHAND_MANO, ManoSettings, load_mano
from amvur.hand.model_arrays import HandModelArrays, mirror_arrays
from amvur.hand.open_hand import VERSIONS, load_open_hand
from amvur.structures import Side

OPEN_HAND = "open"


def load_hand_model(
    spec: str | Path = OPEN_HAND, side: Side = "right", settings: ManoSettings = FREIHAND_MANO
) -> HandModelArrays:
    """Return the arrays of the hand model `spec`: "open", or a MANO file (.pkl, or .npz made from one).

    Either of MANO's two files serves both sides: the other file is taken where it lies beside the one
    given (MANO_RIGHT.pkl, MANO_LEFT.pkl), else the hand is mirrored. `settings` concern MANO only.
    Raises `ModelFileError` if the file is missing or cannot be used.
    """
    if str(spec) in VERSIONS:
        return load_open_hand(side, str(spec))
    path = Path(spec)
    if not os.path.isfile(path):
        raise ModelFileError(
            f"Wanted a hand model, found no file {path}. Give 'open' or the path of a MANO_RIGHT.pkl."
        )
    arrays = load_mano(path, settings=settings)
    if arrays.side == side:
        return arrays
    sibling = _other_file(path)
    if sibling is not None and sibling.is_file():
        return load_mano(sibling, side, settings)
    return mirror_arrays(arrays)


def _other_file(path: Path) -> Path | None:
    """Return where the other hand's file would lie: LEFT and RIGHT exchanged, in the name's case."""
    pairs = (("LEFT", "RIGHT"), ("Left", "Right"), ("left", "right"))
    other = {a: b for left, right in pairs for a, b in ((left, right), (right, left))}
    name, count = re.subn("|".join(other), lambda found: other[found.group()], path.name)
    return path.with_name(name) if count == 1 else None
