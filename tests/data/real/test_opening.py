"""Folders that are no data set, or one step beside it."""

import json
import sys
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


def test_own_photographs_are_opened_by_folder_and_by_file(tmp_path):
    labels = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    for path in (tmp_path, tmp_path / "labels.json"):
        data = open_dataset(path, "training")
        assert (data.name, data.split, len(data)) == ("photographs", "training", 0)
    (tmp_path / "inner").mkdir()
    with pytest.raises(InputError, match=f"is no data set, but {tmp_path} looks like one"):
        open_dataset(tmp_path / "inner")
    (tmp_path / "inner" / "a.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=f"but {tmp_path} looks like one"):
        open_dataset(tmp_path / "inner")


def test_photographs_that_are_not_labelled_yet(tmp_path):
    for name in ("a.jpg", "b.PNG"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=rf"holds 2 pictures, but no labels\.json.* amvur label {tmp_path}"):
        open_dataset(tmp_path, "training")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "no list 'images'"),
        ('{"images": []}', "no list 'annotations'"),
        ('{"images": [], "annot', "remove it and run: amvur label"),
        ('{"images": [], "annotations": [], "info": ["x"]}', "info wants an object"),
        (
            '{"images": [], "annotations": [], "info": {"convention": "coco"}}',
            "amvur, mediapipe, found 'coco'",
        ),
    ],
)
def test_damaged_labels_are_named(tmp_path, text, message):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(InputError, match=message) as told:
        open_dataset(tmp_path, "training")
    assert str(tmp_path / "labels.json") in str(told.value)
