"""HO3D v2 and v3 read back from miniatures of them, and what is said of files that are wrong."""

import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent))
from mini_hands import GL, HO3D_ORDER, HO3D_SETTINGS
from mini_ho3d import K, box_of, frame_names, write_ho3d, write_meta

from amvur.data.real import open_dataset
from amvur.errors import InputError
from amvur.hand.mano import load_mano
from amvur.hand.model import HandModel


@pytest.fixture(scope="module")
def original(mano, tmp_path_factory):
    folder = tmp_path_factory.mktemp("original") / "HO3D_v2"
    return folder, *write_ho3d(folder, mano)


@pytest.fixture
def mini(original, tmp_path):
    """A copy to break, and the hands in it."""
    folder = shutil.copytree(original[0], tmp_path / "HO3D_v2")
    return folder, *original[1:]


def meta_path(folder, index, split="train"):
    sequence, number = frame_names(3)[index].split("/")
    return folder / split / sequence / "meta" / f"{number}.pkl"


def edit(path, **changes):
    content = pickle.loads(path.read_bytes())
    write_meta(path, content | changes)
    return path


@pytest.mark.parametrize(("version", "protocol"), [("v2", 2), ("v2", 0), ("v3", 4)])
def test_training(mano, tmp_path, version, protocol):
    """Lists' order, our joints and axes, and parameters that pose MANO there."""
    hands, _ = write_ho3d(tmp_path, mano, version, evaluation=0, protocol=protocol)
    data = open_dataset(tmp_path, "training")
    assert (data.name, data.split, data.protocol) == (f"HO3D {version}", "training", "ho3d")
    assert len(data) == 3
    model = HandModel(load_mano(mano, "right", HO3D_SETTINGS), torch.float64)
    for index, (hand, name) in enumerate(zip(hands, frame_names(3), strict=True)):
        sample = data[index]
        assert sample.key == name
        assert sample.image_path.suffix == {"v2": ".png", "v3": ".jpg"}[version]
        np.testing.assert_allclose(sample.joints, hand.joints, atol=1e-12)
        np.testing.assert_array_equal(sample.root, sample.joints[0])
        np.testing.assert_array_equal(sample.intrinsics, K)
        assert sample.flat_hand_mean
        assert sample.vertices is None
        values = (sample.global_orient, sample.hand_pose, sample.betas, sample.transl)
        posed = model(*(torch.tensor(v) for v in values))
        np.testing.assert_allclose(posed.joints, hand.joints, atol=1e-9)
        np.testing.assert_allclose(posed.vertices, hand.vertices, atol=1e-9)
    assert data[0].load_image().shape == (480, 640, 3)


def test_joints_in_the_picture_and_their_box(mini):
    sample = open_dataset(mini[0], "training")[1]
    for joint, (u, v) in zip(sample.joints, sample.joints_2d, strict=True):
        x, y, z = joint
        np.testing.assert_allclose((u, v), (615 * x / z + 316, 614 * y / z + 241))
    x0, y0, x1, y1 = sample.box_xyxy_px
    np.testing.assert_allclose((x1 - x0, y1 - y0), 1.1 * np.ptp(sample.joints_2d, 0))


def test_evaluation_has_wrist_and_box_only(mini):
    folder, _, hands = mini
    for name in ("xyz", "verts"):
        (folder / f"evaluation_{name}.json").unlink()
    data = open_dataset(folder)
    for index, hand in enumerate(hands):
        sample = data[index]
        np.testing.assert_allclose(sample.root, hand.joints[0], atol=1e-12)
        np.testing.assert_array_equal(sample.box_xyxy_px, [int(v) for v in box_of(hand)])
        unknown = ("joints", "vertices", "joints_2d", "joint_confidence", "hand_pose", "betas", "transl")
        assert [getattr(sample, name) for name in unknown] == [None] * 7


def test_evaluation_with_released_truth(mini):
    folder, _, hands = mini
    data = open_dataset(folder)
    for index, hand in enumerate(hands):
        np.testing.assert_allclose(data[index].joints, hand.joints, atol=1e-12)
        np.testing.assert_allclose(data[index].vertices, hand.vertices, atol=1e-12)


def test_versions(mano, tmp_path):
    """v3 by its folders, by its JPEGs; counts are taken from the lists."""
    write_ho3d(tmp_path / "a", mano, "v3", training=2, evaluation=1)
    assert open_dataset(tmp_path / "a").name == "HO3D v3"
    for name in ("manual_annotations", "calibration/ABF1/calibration", "calibration/ABF1", "calibration"):
        (tmp_path / "a" / name).rmdir()
    assert open_dataset(tmp_path / "a").name == "HO3D v3"
    listed = tmp_path / "a" / "train.txt"
    listed.write_text(f"\ufeff{listed.read_text().splitlines()[1]}\r\n\r\n", encoding="utf-8")
    data = open_dataset(tmp_path / "a", "training")
    assert (len(data), data[0].key) == (1, frame_names(2)[1])


def test_identity_follows_the_labels(mini):
    folder = mini[0]
    first = open_dataset(folder, "training").identity()
    json.dumps(first)
    assert open_dataset(folder, "training").identity() == first
    edit(meta_path(folder, 1), objLabel=3)
    assert open_dataset(folder, "training").identity() != first


@pytest.mark.parametrize("missing", ["train.txt", "train"])
def test_the_first_thing_missing_is_named_with_the_layout(mini, missing, tmp_path):
    (mini[0] / missing).rename(tmp_path / "away")
    with pytest.raises(InputError, match=f"lacks {missing}. Expected is\nHO3D v2 or v3"):
        open_dataset(mini[0], "training")


def test_missing_files_stop_at_opening(mini):
    folder = mini[0]
    meta_path(folder, 2).unlink()
    with pytest.raises(
        InputError, match=rf"lacks 1 files .* first {frame_names(3)[2].replace('/', '/meta/')}\.pkl"
    ):
        open_dataset(folder, "training")
    meta_path(folder, 0).parents[1].joinpath("rgb", "0030.png").unlink()
    with pytest.raises(InputError, match=r"lacks 2 files .* first ABF10/rgb/0030\.png \(or \.jpg\)"):
        open_dataset(folder, "training")
    assert len(open_dataset(folder)) == 3, "the other split is whole"


def test_a_missing_sequence_stops_at_opening(mini, tmp_path):
    (mini[0] / "train" / "SM1").rename(tmp_path / "away")
    with pytest.raises(InputError, match=r"Cannot list .*SM1.*Expected is\nHO3D"):
        open_dataset(mini[0], "training")


@pytest.mark.parametrize("line", ["../../etc/passwd", "ABF10", "/ABF10/0000", "..", "ABF10/00 00", "../0000"])
def test_lists_that_are_none(mini, line):
    (mini[0] / "train.txt").write_text(f"{frame_names(3)[0]}\n{line}\n")
    with pytest.raises(InputError, match=r"train\.txt, line 2: wanted SEQUENCE/NUMBER"):
        open_dataset(mini[0], "training")
    (mini[0] / "train.txt").write_text("\n")
    with pytest.raises(InputError, match="lists no frames"):
        open_dataset(mini[0], "training")


def test_truth_of_another_version_stops_at_opening(mini):
    path = mini[0] / "evaluation_xyz.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:2]))
    with pytest.raises(InputError, match=r"evaluation_xyz\.json has 2 entries, .*evaluation\.txt 3 lines"):
        open_dataset(mini[0])


class Poison:
    """Its pickle would run a command."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        import os

        return os.system, (self.command,)


def test_a_poisoned_pickle_runs_nothing(mini, tmp_path):
    path = meta_path(mini[0], 1)
    content = pickle.loads(path.read_bytes())
    write_meta(path, content | {"objName": Poison(f"touch {tmp_path / 'harm'}")})
    data = open_dataset(mini[0], "training")
    data.identity()
    with pytest.raises(InputError, match="Nothing in it was run") as told:
        data[1]
    assert str(path) in str(told.value)
    assert not (tmp_path / "harm").exists()
    assert data[0].joints is not None, "the rest goes on"
    # the same file harms whoever trusts it
    pickle.loads(path.read_bytes())
    assert (tmp_path / "harm").exists()


def with_nan(joints):
    joints = joints.copy()
    joints[3, 1] = np.nan
    return joints


BAD = {
    "not annotated": ({"handJoints3D": None}, "has no handJoints3D"),
    "wrist only": ({"handJoints3D": lambda j: j[0]}, "handJoints3D should be 21 × 3 numbers, found (3,)"),
    "NaN": ({"handJoints3D": with_nan}, "handJoints3D has values that are not finite"),
    "text": ({"handJoints3D": "none"}, "handJoints3D should be 21 × 3"),
    "no camera": ({"camMat": None}, "has no camMat (known are camIDList, handBeta"),
    "another camera": ({"camMat": np.eye(4)}, "camMat should be 3 × 3"),
    "16 of the pose": ({"handPose": np.zeros(45)}, "handPose should be 48 numbers"),
    "OpenCV's axes": (
        {"handJoints3D": lambda j: j * GL},
        "lies behind the camera, whose frame should be OpenGL's",
    ),
    "millimetres": ({"handJoints3D": lambda j: 1000 * j}, "metres were expected"),
    "another picture's": (
        {"handJoints3D": lambda j: j + np.array([0.9, 0, 0])},
        "nothing of the hand falls into",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
def test_one_bad_frame_is_named_and_the_rest_goes_on(mini, case):
    changes, message = BAD[case]
    path = meta_path(mini[0], 1)
    joints = pickle.loads(path.read_bytes())["handJoints3D"]
    edit(path, **{key: value(joints) if callable(value) else value for key, value in changes.items()})
    data = open_dataset(mini[0], "training")
    with pytest.raises(InputError) as told:
        data[1]
    assert message in str(told.value)
    assert str(path) in str(told.value)
    assert data[0].key, data[2].key


@pytest.mark.parametrize("data", [b"", b"hello", b"\x80\x02]q\x00."])
def test_damaged_pickles_are_named(mini, data):
    path = meta_path(mini[0], 1)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"0020\.pkl"):
        open_dataset(mini[0], "training")[1]


def test_missing_parameters_are_unknown(mini):
    edit(meta_path(mini[0], 1), handPose=None, handBeta=None, handTrans=None)
    sample = open_dataset(mini[0], "training")[1]
    assert [sample.global_orient, sample.hand_pose, sample.betas, sample.transl] == [None] * 4
    assert sample.joints is not None


def test_truth_in_another_order_is_told(mini):
    path = mini[0] / "evaluation_xyz.json"
    path.write_text(json.dumps(json.loads(path.read_text())[::-1]))
    with pytest.raises(InputError, match=r"its wrist is \d+ mm from that in .*evaluation_xyz\.json"):
        open_dataset(mini[0])[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"handBoundingBox": None}, "has no handBoundingBox"),
        ({"handBoundingBox": [100, 50, 90, 80]}, "left, top, right, bottom"),
        ({"handJoints3D": np.array([3.0, 0, -0.5])}, "nothing of the hand falls into"),
    ],
)
def test_bad_evaluation_frames(mini, changes, message):
    for name in ("xyz", "verts"):
        (mini[0] / f"evaluation_{name}.json").unlink()
    edit(meta_path(mini[0], 1, "evaluation"), **changes)
    data = open_dataset(mini[0])
    with pytest.raises(InputError, match=message):
        data[1]
    assert data[0].root is not None


def test_orders_are_those_of_the_facts():
    """The miniature's own order against the facts' other direction."""
    back = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
    assert [HO3D_ORDER[i] for i in back] == list(range(21))
