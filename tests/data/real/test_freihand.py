"""FreiHAND read back from a miniature of it, and what is said of files that are wrong."""

import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.append(str(Path(__file__).parent))
from mini_freihand import K, write_freihand
from mini_hands import FREIHAND_SETTINGS

from amvur.data.real import open_dataset
from amvur.data.real.number_lists import NumberLists
from amvur.errors import ImageError, InputError
from amvur.hand.mano import load_mano
from amvur.hand.model import HandModel


@pytest.fixture(scope="module")
def original(mano, tmp_path_factory):
    folder = tmp_path_factory.mktemp("original") / "FreiHAND_pub_v2"
    return folder, *write_freihand(folder, mano)


@pytest.fixture
def mini(original, tmp_path):
    """A copy to break, and the hands in it."""
    folder = shutil.copytree(original[0], tmp_path / "FreiHAND_pub_v2")
    return folder, *original[1:]


def change(folder, name, edit):
    """Load a list, change it and write it back."""
    path = folder / f"{name}.json"
    rows = json.loads(path.read_text())
    edit(rows)
    path.write_text(json.dumps(rows))
    return path


def test_training_has_four_pictures_of_every_hand(mini, mano):
    folder, hands, _ = mini
    data = open_dataset(folder, "training")
    assert (data.name, data.split, data.protocol, len(data)) == ("FreiHAND", "training", "freihand", 12)
    model = HandModel(load_mano(mano, "right", FREIHAND_SETTINGS), torch.float64)
    for index in range(12):
        sample, hand = data[index], hands[index % 3]
        assert sample.key == f"{index:08d}"
        assert sample.image_path == folder / "training" / "rgb" / f"{index:08d}.jpg"
        assert sample.side == "right"
        assert sample.root is None, "evaluation gives no wrist, so that no split does"
        np.testing.assert_array_equal(sample.joints, hand.joints)
        np.testing.assert_array_equal(sample.vertices, hand.vertices)
        np.testing.assert_array_equal(sample.intrinsics, K)
        assert sample.bone_length == pytest.approx(np.linalg.norm(hand.joints[9] - hand.joints[10]))
        mask = sample.load_mask()
        assert mask.sum() == pytest.approx((100 - index % 3) * 90, rel=0.03)
        # MANO's parameters, posed: the labels up to the place
        values = (sample.global_orient, sample.hand_pose, sample.betas)
        posed = model(*(torch.tensor(v) for v in values)).vertices.numpy()
        apart = sample.vertices - posed
        np.testing.assert_allclose(apart, np.broadcast_to(apart[:1], apart.shape), atol=1e-9)
        assert not sample.flat_hand_mean
    assert data[0].load_image().shape == (224, 224, 3)
    with pytest.raises(IndexError):
        data[12]


def test_joints_in_the_picture_and_their_box(mini):
    sample = open_dataset(mini[0], "training")[1]
    for joint, (u, v) in zip(sample.joints, sample.joints_2d, strict=True):
        x, y, z = joint
        np.testing.assert_allclose((u, v), (480 * x / z + 112, 481 * y / z + 110))
    x0, y0, x1, y1 = sample.box_xyxy_px
    low, high = sample.joints_2d.min(0), sample.joints_2d.max(0)
    np.testing.assert_allclose((x1 - x0, y1 - y0), 1.1 * (high - low))
    np.testing.assert_allclose(((x0 + x1) / 2, (y0 + y1) / 2), (low + high) / 2)
    np.testing.assert_array_equal(sample.joint_confidence, 1)


def test_evaluation_with_and_without_released_truth(mini):
    folder, _, hands = mini
    data = open_dataset(folder)
    assert (data.split, len(data)) == ("evaluation", 3)
    np.testing.assert_array_equal(data[2].joints, hands[2].joints)
    assert data[2].mask_path is None
    assert data[2].load_mask() is None
    assert data.identity()["boxes"] == "labels"
    bone = data[2].bone_length
    for name in ("xyz", "verts"):
        (folder / f"evaluation_{name}.json").unlink()
    with pytest.raises(InputError, match="entry 2: No such file"):
        data[2]
    withheld = open_dataset(folder)
    sample = withheld[2]
    assert sample.joints is None
    assert sample.vertices is None
    assert sample.joints_2d is None
    assert sample.bone_length == bone
    np.testing.assert_allclose(sample.box_xyxy_px, [37, 37, 187, 187])
    assert withheld.identity()["boxes"] == "central"


def test_what_is_in_brackets_may_be_missing(mini):
    folder, hands, _ = mini
    for name in ("mano", "verts", "scale"):
        (folder / f"training_{name}.json").unlink()
    for mask in (folder / "training" / "mask").iterdir():
        mask.unlink()
    sample = open_dataset(folder, "training")[4]
    np.testing.assert_array_equal(sample.joints, hands[1].joints)
    assert [sample.vertices, sample.hand_pose, sample.bone_length, sample.mask_path] == [None] * 4


def test_identity_follows_the_labels(mini):
    folder = mini[0]
    first = open_dataset(folder).identity()
    assert first == open_dataset(folder).identity()
    json.dumps(first)
    change(folder, "evaluation_K", lambda rows: rows[0][0].__setitem__(0, 481.0))
    assert open_dataset(folder).identity() != first


def test_workers_can_take_it_along(mini):
    data = open_dataset(mini[0], "training")
    copied = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(copied[5].joints, data[5].joints)


@pytest.mark.parametrize("missing", ["training_K.json", "training_xyz.json", "training/rgb"])
def test_the_first_thing_missing_is_named_with_the_layout(mini, missing, tmp_path):
    folder = mini[0]
    (folder / missing).rename(tmp_path / "away")
    with pytest.raises(InputError, match=f"lacks {missing}. Expected is\nFreiHAND v2"):
        open_dataset(folder, "training")


def test_missing_pictures_stop_at_opening(mini):
    folder = mini[0]
    for number in (4, 9):
        (folder / "training" / "rgb" / f"{number:08d}.jpg").unlink()
    with pytest.raises(InputError, match=r"lacks 2 of 12 pictures, first 00000004\.jpg \(3 entries"):
        open_dataset(folder, "training")
    assert len(open_dataset(folder, "evaluation")) == 3, "the other split is whole"


def test_lists_of_different_lengths_stop_at_opening(mini):
    change(mini[0], "training_verts", lambda rows: rows.pop(1))
    with pytest.raises(InputError, match=r"training_xyz\.json 3, training_verts\.json 2"):
        open_dataset(mini[0], "training")


@pytest.mark.parametrize("name", ["training_K", "training_verts", "training_scale"])
def test_a_list_cut_off_stops_at_opening(mini, name):
    path = mini[0] / f"{name}.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=rf"{name}\.json is.* cut off"):
        open_dataset(mini[0], "training")


def test_a_picture_that_is_damaged_is_named_when_it_is_read(mini):
    path = mini[0] / "training" / "rgb" / "00000003.jpg"
    path.write_bytes(b"")
    sample = open_dataset(mini[0], "training")[3]
    with pytest.raises(ImageError, match="00000003"):
        sample.load_image()


SINGLE = {
    "NaN": ("training_xyz", lambda rows: rows[1][4].__setitem__(2, float("nan")), "entry 1 has values"),
    "a joint less": (
        "training_xyz",
        lambda rows: rows[1].pop(),
        "entry 1 should be 21 × 3 numbers, found 20 × 3",
    ),
    "text": ("training_K", lambda rows: rows[1].__setitem__(0, ["a", 0, 1]), "entry 1 should be 3 × 3"),
    "ragged": ("training_xyz", lambda rows: rows[1][3].pop(), "entry 1 is damaged"),
    "no camera": ("training_K", lambda rows: rows[1][0].__setitem__(0, 0.0), "its camera should be"),
    "millimetres": (
        "training_xyz",
        lambda rows: rows.__setitem__(1, (1000 * np.array(rows[1])).tolist()),
        "metres were expected",
    ),
    "other axes": (
        "training_xyz",
        lambda rows: rows.__setitem__(1, (np.array(rows[1]) * [1, -1, -1]).tolist()),
        "lies behind the camera, whose frame should be OpenCV's",
    ),
    "another picture's mesh": (
        "training_verts",
        lambda rows: rows.__setitem__(1, (np.array(rows[1]) + np.array([0.3, 0, 0])).tolist()),
        "21 of 21 joints lie outside of its mesh",
    ),
    "another picture's joints": (
        "training_xyz",
        lambda rows: rows.__setitem__(1, (np.array(rows[1]) + np.array([0.6, 0, 0])).tolist()),
        "nothing of the hand falls into training/rgb/00000001.jpg",
    ),
}


@pytest.mark.parametrize("case", list(SINGLE))
def test_one_bad_sample_is_named_and_the_rest_goes_on(mini, case):
    name, edit, message = SINGLE[case]
    path = change(mini[0], name, edit)
    data = open_dataset(mini[0], "training")
    with pytest.raises(InputError) as told:
        data[1]
    assert message in str(told.value)
    assert str(path.parent) in str(told.value)
    readable = 0
    for index in range(len(data)):
        try:
            data[index]
            readable += 1
        except InputError:
            assert index % 3 == 1
    assert readable == 8


ROWS = [[[1.5, -2e-3], [3, 4]], [[5, 6], [7, 8.25]]]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=3),
        json.dumps(ROWS, separators=(",", ":")),
        "\ufeff " + json.dumps(ROWS) + "\r\n",
        json.dumps(ROWS).replace("]], [[", "]]\r\n,\r\n[["),
    ],
)
def test_lists_in_any_spacing(text, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8", newline="")
    rows = NumberLists(path, (2, 2))
    assert len(rows) == 2
    np.testing.assert_array_equal([rows[0], rows[1]], ROWS)


def test_rows_across_the_borders_of_chunks(tmp_path, monkeypatch, rng):
    from amvur.data.real import number_lists

    monkeypatch.setattr(number_lists, "_CHUNK", 7)
    values = rng.normal(size=(9, 4, 3))
    path = tmp_path / "a.json"
    path.write_text(json.dumps(values.tolist()))
    rows = NumberLists(path, (4, 3))
    np.testing.assert_array_equal([rows[i] for i in range(len(rows))], values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no list of lists"),
        ("hello", "is no list of lists"),
        ("[1, 2]", "is no list of lists"),
        ('{"xyz": [[[1, 2]]]}', "before entry 0"),
        ("[[[1, 2]], null, [[3, 4]]]", "before entry 1 .* which is no list"),
        ("[[[1, 2]], [[3, 4]]] x", "before entry 2"),
        ("[[[1, 2]], [[3, 4]], 5]", "before entry 2"),
        ("[[[1, 2]], [[3", "is cut off after 1 entries"),
        ("[[[1, 2]]]]", "before entry"),
    ],
)
def test_what_is_no_list_of_arrays(text, message, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as told:
        NumberLists(path, (1, 2))
    assert str(path) in str(told.value)


def test_pictures_are_read_as_they_are_stored(mini):
    sample = open_dataset(mini[0], "training")[7]
    np.testing.assert_array_equal(sample.load_image(), np.asarray(Image.open(sample.image_path)))
