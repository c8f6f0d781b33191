"""Folders that are no data set, or one step beside it."""

import sys
import types
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
from mini_freihand import write_freihand
from mini_hands import write_mano

from amvur.data.real import open_dataset
from amvur.errors import InputError


def test_an_unknown_folder_shows_all_layouts(tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "notes.md").write_text("x")
    with pytest.raises(InputError) as told:
        open_dataset(tmp_path / "holiday")
    for part in ("it holds notes.md", "FreiHAND v2 (FreiHAND_pub_v2):", "HO3D v2 or v3", "own photographs"):
        assert part in str(told.value)


def test_one_step_beside(tmp_path):
    data = tmp_path / "FreiHAND_pub_v2"
    write_freihand(data, write_mano(tmp_path / "MANO_RIGHT.npz"), training=0, evaluation=1)
    for path in (tmp_path, data / "evaluation"):
        with pytest.raises(InputError, match=r"but .*FreiHAND_pub_v2 looks like one"):
            open_dataset(path)
    with pytest.raises(InputError, match=r"lacks training_K\.json"):
        open_dataset(data, "training")


def test_wrong_usage(tmp_path):
    with pytest.raises(InputError, match="found none at"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match="splits training and evaluation, found 'test'"):
        open_dataset(tmp_path, "test")


class Opened:
    """A data set that only says what was opened."""

    name, protocol = "photographs", None

    def __init__(self, folder, split):
        self.folder, self.split = folder, split

    def __len__(self):
        return 0

    def __getitem__(self, index):
        raise IndexError(index)

    def identity(self):
        return {}


def test_own_photographs_are_asked_for(tmp_path, monkeypatch):
    """The reader of own photographs says itself which folders are its."""
    module = types.ModuleType("amvur.data.real.photographs")
    module.is_photographs = lambda folder: folder == tmp_path
    module.open_photographs = Opened
    monkeypatch.setitem(sys.modules, module.__name__, module)
    data = open_dataset(tmp_path, "training")
    assert (data.folder, data.split) == (tmp_path, "training")
    (tmp_path / "inner").mkdir()
    with pytest.raises(InputError, match="is no data set"):
        open_dataset(tmp_path / "inner")
