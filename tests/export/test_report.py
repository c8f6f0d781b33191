"""The JSON report: exactly the published keys, strict JSON, honest rounding."""

import dataclasses
import json

import numpy as np
import pytest
from factories import make_hand
from limits import refused

from amvur.errors import InputError, OutputError
from amvur.export import ImageRecord, read_report, write_json

IMAGE = ImageRecord("photos/wave.jpg", 640, 480)


@pytest.fixture
def hands():
    return [make_hand(0), make_hand(1, "left", warnings=("cut by the frame",))]


@pytest.fixture
def content(hands, tmp_path):
    path = tmp_path / "wave.json"
    write_json(path, IMAGE, hands[0].camera, hands, ["wave_0.glb", "wave_1.glb"], ["assumed camera"])

    def refuse(constant):
        raise AssertionError(f"not strict JSON: {constant}")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_keys_are_those_of_the_schema(content):
    assert list(content) == ["schema", "seal", "image", "camera", "hands", "warnings", "files"]
    assert content["schema"] == "amvur/1"
    assert content["image"] == {"path": "photos/wave.jpg", "width": 640, "height": 480}
    assert set(content["camera"]) == {"intrinsics", "source"}
    assert set(content["hands"][0]) == {
        "side", "score", "box_xyxy_px", "joints_3d_m", "joints_2d_px", "joints_std_mm", "joints_valid",
        "vertices_std_mm", "parameters", "mesh",
    }  # fmt: skip
    assert set(content["hands"][0]["parameters"]) == {
        "hand_model", "global_orient", "hand_pose", "betas", "transl", "transl_std", "joint_names", "bone_names",
        "bone_parents", "T_camera_bone",
    }  # fmt: skip


def test_numbers_have_the_stated_shapes_and_units(content, hands):
    for record, hand in zip(content["hands"], hands, strict=True):
        np.testing.assert_allclose(record["joints_3d_m"], hand.joints, atol=1e-6)
        np.testing.assert_allclose(record["joints_2d_px"], hand.joints_2d, atol=1e-3)
        np.testing.assert_allclose(record["joints_std_mm"], 1000 * hand.joints_std, atol=1e-3)
        np.testing.assert_allclose(record["vertices_std_mm"], 1000 * hand.vertices_std, atol=1e-3)
        assert record["joints_valid"] == hand.joints_valid.tolist()
        assert len(record["joints_valid"]) == 21
        np.testing.assert_allclose(
            record["parameters"]["T_camera_bone"], hand.skeleton.T_camera_bone, atol=1e-6
        )
        assert len(record["joints_std_mm"]) == len(record["parameters"]["joint_names"]) == 21


def test_the_hands_own_warnings_are_listed(content):
    assert content["warnings"] == ["assumed camera", "hand 1: cut by the frame"]


def test_no_hand_is_an_empty_list(tmp_path):
    write_json(tmp_path / "none.json", IMAGE, make_hand().camera, [])
    assert read_report(tmp_path / "none.json")["hands"] == []


def test_a_number_that_is_not_finite_is_refused(tmp_path):
    hand = dataclasses.replace(make_hand(), joints=np.full((21, 3), np.nan, np.float32))
    with pytest.raises(OutputError, match="finite"):
        write_json(tmp_path / "bad.json", IMAGE, hand.camera, [hand])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "other/3"}', "null"])
def test_other_files_are_refused_with_the_path(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"other\.json"):
        read_report(path)
    with pytest.raises(InputError, match=r"missing\.json"):
        read_report(tmp_path / "missing.json")


@pytest.mark.parametrize(
    "change",
    [
        {"hands": None}, {"hands": {}}, {"hands": "x"}, {"hands": [3]}, {"hands": [None]}, {"hands": [[]]}, {"hands": [{}]},
        {"image": None}, {"image": {}}, {"image": {"path": 3}}, {"image": {"path": "a\0b"}}, {"warnings": 3},
    ],
    ids=str,
)  # fmt: skip
def test_parts_of_another_kind_are_refused(tmp_path, content, change):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**content, **change}))
    with refused(InputError, r"bad\.json is damaged or not a whole report .*amvur reconstruct"):
        read_report(path)


@pytest.mark.parametrize("name", ["image", "hands"])
def test_parts_that_are_missing_are_named(tmp_path, content, name):
    del content[name]
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(content))
    with refused(InputError, rf"bad\.json .*{name}"):
        read_report(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mesh", 3), ("mesh", ["a.glb"]), ("joints_3d_m", []), ("joints_3d_m", None), ("joints_3d_m", "x" * 10**6),
        ("joints_3d_m", [[0, 0]] * 21), ("joints_3d_m", [[0, 0, "a"]] * 21), ("joints_3d_m", [[0, 0, None]] * 21),
        ("joints_3d_m", [[0, 0, 10**400]] * 21), ("joints_3d_m", {"a": 1}), ("joints_std_mm", [1] * 20),
        ("joints_std_mm", [-1] * 21), ("joints_std_mm", [[1]] * 21), ("joints_std_mm", float("nan")),
        ("joints_valid", [True] * 20), ("joints_valid", [1] * 21), ("joints_valid", None), ("joints_valid", "x" * 21),
    ],
)  # fmt: skip
def test_a_hand_of_another_kind_is_refused(tmp_path, content, name, value):
    content["hands"][1][name] = value
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(content))
    with refused(InputError, r"bad\.json "):
        read_report(path)


def test_a_report_from_before_joints_valid_is_read(tmp_path, content):
    for hand in content["hands"]:
        del hand["joints_valid"]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(content))
    assert "joints_valid" not in read_report(path)["hands"][0]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema": ' + "1" * 5000, "{}" * 3, "\0"])
def test_json_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with refused(InputError, r"bad\.json "):
        read_report(path)
