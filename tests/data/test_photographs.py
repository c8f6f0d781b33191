"""Own photographs: labels made by a told detector are read back as they were; bad ones are named."""

import json
import os

import numpy as np
import pytest
from limits import refused
from PIL import Image

from amvur.cli import main
from amvur.data.real import labelling
from amvur.data.real.labelling import label_photographs
from amvur.data.real.photographs import is_photographs, open_photographs
from amvur.errors import InputError
from amvur.structures import HandDetection
from amvur.training.real_sources import check_dataset

JOINTS = np.stack([np.linspace(20, 60, 21), np.linspace(70, 30, 21)], -1)


class Told:
    def __init__(self):
        self.calls = 0

    def detect(self, image, **_):
        self.calls += 1
        if image.mean() < 5:
            return []
        confidence = np.r_[0.2, np.ones(20)]
        box = np.array([15.0, 25.0, 65.0, 75.0])
        return [HandDetection("left", 0.9, box, JOINTS[None], confidence, convention="mediapipe")]


def folder_of(tmp_path):
    for name, value in (("a.png", 200), ("b.png", 0)):
        Image.fromarray(np.full((80, 90, 3), value, np.uint8)).save(tmp_path / name)
    (tmp_path / "c.png").write_text("no picture")
    return sorted(tmp_path.glob("*.png")), tmp_path / "labels.json"


def test_labels_come_back_and_are_not_made_twice(tmp_path):
    paths, output = folder_of(tmp_path)
    detector, said = Told(), []
    tally = label_photographs(paths, output, detector, said.append)
    assert (tally.labelled, tally.hands, tally.without_hand, tally.failed) == (2, 1, 1, ["c.png"])
    assert "c.png" in said[0]
    first = output.read_bytes()
    assert label_photographs(paths, output, detector, said.append).kept == 2
    assert (detector.calls, output.read_bytes()) == (2, first)
    Image.fromarray(np.full((80, 90, 3), 100, np.uint8)).save(paths[1])
    assert label_photographs(paths, output, detector, said.append).hands == 2
    assert detector.calls == 3

    photographs = open_photographs(tmp_path)
    assert is_photographs(tmp_path)
    assert photographs.convention == "mediapipe"
    sample = photographs[0]
    np.testing.assert_allclose(sample.joints_2d, JOINTS, atol=0.006)
    np.testing.assert_allclose(sample.box_xyxy_px, [15, 25, 65, 75])
    assert sample.side == "left"
    assert sample.joint_confidence[0] == pytest.approx(0.2)
    assert json.loads(first)["annotations"][0]["keypoints"][2::3] == [1] + [2] * 20


def test_damaged_pictures_of_any_format_stop_nobody_and_cut_ones_are_told(tmp_path):
    folder_of(tmp_path)
    picture = Image.fromarray(np.full((80, 90, 3), 200, np.uint8))
    picture.save(tmp_path / "d.avif")
    data = bytearray((tmp_path / "d.avif").read_bytes())
    data[-60:] = bytes(60)
    (tmp_path / "d.avif").write_bytes(data[:-20])
    picture.save(tmp_path / "e.jpg")
    (tmp_path / "e.jpg").write_bytes((tmp_path / "e.jpg").read_bytes()[:-2])
    said = []
    paths = sorted(path for path in tmp_path.iterdir())
    tally = label_photographs(paths, tmp_path / "labels.json", Told(), said.append)
    assert (tally.labelled, tally.failed) == (3, ["c.png", "d.avif"])
    assert any("e.jpg" in line and "its end is missing" in line for line in said)


def test_labels_of_photographs_not_reached_again_are_kept(tmp_path, monkeypatch):
    paths, output = folder_of(tmp_path)
    label_photographs(paths, output, Told(), str)
    Image.fromarray(np.full((80, 90, 3), 100, np.uint8)).save(paths[0])
    monkeypatch.setattr(labelling, "SAVE_EVERY", 1)
    replace = os.replace

    def once(*names):
        replace(*names)
        raise KeyboardInterrupt

    monkeypatch.setattr(labelling.os, "replace", once)
    with pytest.raises(KeyboardInterrupt):
        label_photographs(paths, output, Told(), str)
    assert [image["file_name"] for image in json.loads(output.read_bytes())["images"]] == ["a.png", "b.png"]


def test_a_foreign_file_is_kept(tmp_path):
    paths, output = folder_of(tmp_path)
    output.write_text("{}")
    with pytest.raises(InputError, match="not overwritten"):
        label_photographs(paths, output, Told())
    assert output.read_text() == "{}"
    output.write_text('{"info": {"made_by": "amvur label"}, "imag')
    with pytest.raises(InputError, match=r"labels\.json is damaged or not what .* remove it to label anew"):
        label_photographs(paths, output, Told())


def test_an_image_entry_with_a_strange_id_is_left_out(tmp_path):
    values = {"images": [{"id": [1], "file_name": "a.png"}], "annotations": [{"image_id": 1}]}
    (tmp_path / "labels.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="annotation 0: wanted the image_id"):
        open_photographs(tmp_path)[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "wants a folder of photographs, found none at nowhere. Check the path."),
        (["empty"], "The folder empty has no images"),
        (["photos/a.png"], "found none at photos/a.png"),
        (["photos", "--output", "empty"], "--output wants a file, found the folder empty"),
        (["photos", "--detector", "no.task"], "Cannot read no.task"),
    ],
)
def test_wrong_usage_of_the_command_is_told(tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / "photos").mkdir()
    (tmp_path / "empty").mkdir()
    folder_of(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["label", *arguments])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": [1, 2, 2]}, "21 triples"),
        ({"keypoints": [float("nan"), 1, 2] * 21}, "not finite"),
        ({"side": "both"}, "side wants"),
        ({"image_id": 7}, "image_id"),
        ({"image_id": {"a": 1}}, "image_id"),
        ({"keypoints_confidence": [2.0] * 21}, "between 0 and 1"),
        ({"keypoints": [1, 2, 2] + [0, 0, 0] * 20}, "at least two keypoints"),
        ({"bbox": [0, 0, 0, 4]}, "bbox wants"),
    ],
)
def test_bad_annotations_are_named(tmp_path, change, message):
    hand = {"image_id": 0, "side": "right", "keypoints": [1.0, 2.0, 2, *[5.0, 9.0, 2] * 20]}
    values = {"images": [{"id": 0, "file_name": "a.png"}], "annotations": [hand]}
    (tmp_path / "labels.json").write_text(json.dumps(values))
    np.testing.assert_allclose(open_photographs(tmp_path)[0].box_xyxy_px, [0.65, 1.65, 5.35, 9.35])
    values["annotations"] = [{**hand, **change}]
    (tmp_path / "labels.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match=message):
        open_photographs(tmp_path)[0]


HAND = {
    "image_id": 0, "side": "left", "keypoints": [v for x, y in JOINTS for v in (x, y, 2)], "convention": "mediapipe",
}  # fmt: skip


def written(tmp_path, **changes):
    values = {
        "info": {"made_by": "amvur label"},
        "images": [{"id": 0, "file_name": "a.png"}],
        "annotations": [HAND],
    }
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({**values, **changes}))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"info": {"convention": ["x"]}}, {"images": {}}, {"images": None}, {"annotations": "x"},
        {"images": [{"id": 2**61 - 1, "file_name": "a.png"}]}, {"images": [{"id": 0}]}, {"images": [{"id": 0, "file_name": 3}]},
        {"annotations": [3]}, {"annotations": [{**HAND, "image_id": {}}]}, {"annotations": [{**HAND, "image_id": True}]},
        {"annotations": [{**HAND, "keypoints": {"a": 1}}]}, {"annotations": [{**HAND, "keypoints": [10**400] * 63}]},
        {"annotations": [{**HAND, "keypoints": "x" * 10**6}]}, {"annotations": [{**HAND, "keypoints_confidence": {}}]},
        {"annotations": [{**HAND, "side": ["left"] * 10**5}]}, {"annotations": [{**HAND, "bbox": [1, 2, 3]}]},
        {"annotations": [{**HAND, "bbox": [1, 2, 10**400, 4]}]}, {"annotations": [{**HAND, "bbox": {"x": 1}}]},
    ],
    ids=lambda changes: str(changes)[:60],
)  # fmt: skip
def test_labels_of_another_kind_are_named(tmp_path, changes):
    written(tmp_path, **changes)
    with refused(InputError, r"labels\.json"):
        open_photographs(tmp_path)[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"info": []}, {"info": {}}, {"images": [3]}, {"images": [{"file_name": "a.png"}]}, {"annotations": [{"image_id": 0}]},
        {"annotations": [{**HAND, "convention": 3}]}, {"annotations": [{**HAND, "image_id": []}]}, {"annotations": None},
        {"images": [{"id": [[]], "file_name": "a.png"}]},
    ],
    ids=lambda changes: str(changes)[:60],
)  # fmt: skip
def test_earlier_labels_of_another_kind_are_kept(tmp_path, changes):
    path = written(tmp_path, **changes)
    before = path.read_bytes()
    with refused(InputError, r"labels\.json is damaged or not what amvur label writes .*not overwritten"):
        label_photographs([], path, Told())
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["[" * 10**5, "[" + "{}," * 10**7 + "{}]", ""])
def test_labels_that_are_no_json_end_at_once(tmp_path, text):
    (tmp_path / "labels.json").write_text(text)
    with refused(InputError, r"labels\.json", megabytes=150):
        open_photographs(tmp_path)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "../" * 2000])
def test_a_picture_whose_name_cannot_be_one_is_told(tmp_path, name):
    written(tmp_path, images=[{"id": 0, "file_name": name}])
    with refused(InputError, "1 of 1 samples cannot be used"):
        check_dataset(open_photographs(tmp_path), False)


def test_what_a_user_added_to_labels_stays(tmp_path):
    """Corrected joints of photographs that did not change, and keys such as COCO's licences."""
    paths, output = folder_of(tmp_path)
    label_photographs(paths, output, Told(), lambda _: None)
    content = json.loads(output.read_text()) | {"licenses": [{"id": 1, "name": "ours"}]}
    content["annotations"][0]["keypoints"][:2] = [11.5, 12.5]
    output.write_text(json.dumps(content))
    label_photographs(paths, output, Told(), lambda _: None)
    after = json.loads(output.read_text())
    assert after["licenses"] == content["licenses"]
    assert after["annotations"][0]["keypoints"][:2] == [11.5, 12.5]
