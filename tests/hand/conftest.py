"""The open hand's file as arrays."""

from pathlib import Path

import numpy as np
import pytest

ASSETS = Path(__file__).resolve().parents[2] / "src" / "amvur" / "hand" / "assets"


@pytest.fixture(scope="session")
def hand() -> dict[str, np.ndarray]:
    """All arrays, reals in float64."""
    with np.load(ASSETS / "open_hand_v4.npz", allow_pickle=False) as data:
        arrays = {key: data[key] for key in data.files}
    return {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in arrays.items()}
