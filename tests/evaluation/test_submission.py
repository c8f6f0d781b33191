"""The submission writer: what it writes is what was given, and what it refuses."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
from official_cases import make_truth, to_ho3d

from amvur.errors import InputError, OutputError
from amvur.evaluation import submission
from amvur.evaluation.files import read_predictions
from amvur.evaluation.submission import is_submission, write_submission


@pytest.fixture(scope="module")
def hands():
    return make_truth(np.random.default_rng(5), 3)


@pytest.fixture
def small(monkeypatch):
    """Evaluation sets of three samples."""
    monkeypatch.setattr(submission, "FREIHAND_COUNT", 3)
    monkeypatch.setattr(submission, "HO3D_V2_COUNT", 3)


@pytest.mark.usefixtures("small")
def test_freihand(hands, tmp_path):
    path = tmp_path / "new" / "pred.zip"
    write_submission(path, hands.joints, hands.vertices, "freihand")
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["pred.json"]
        joints, vertices = json.loads(archive.read("pred.json"))
    np.testing.assert_array_equal(joints, hands.joints)
    np.testing.assert_array_equal(vertices, hands.vertices)
    assert [p.name for p in path.parent.iterdir()] == ["pred.zip"]
    before = path.read_bytes()
    write_submission(path, hands.joints, hands.vertices, "freihand")
    assert path.read_bytes() == before, "the same hands, the same bytes"


@pytest.mark.usefixtures("small")
def test_ho3d_has_its_own_order_and_axes(hands, tmp_path):
    write_submission(tmp_path / "pred.zip", hands.joints, hands.vertices, "ho3d")
    found, wanted = read_predictions(tmp_path / "pred.zip", 3), to_ho3d(hands)
    np.testing.assert_array_equal(found.joints, wanted.joints)
    np.testing.assert_array_equal(found.vertices, wanted.vertices)
    assert (found.vertices[..., 2] < 0).all()


def test_ho3d_v3_counts_by_its_list(hands, tmp_path):
    listed = tmp_path / "evaluation.txt"
    listed.write_text("SM1/0000\nSM1/0001\nSM1/0002\n\n")
    write_submission(tmp_path / "a.zip", hands.joints, hands.vertices, "ho3d", evaluation_list=listed)
    listed.write_text("SM1/0000\n")
    with pytest.raises(InputError, match=r"evaluation\.txt has 1 samples, found 3"):
        write_submission(tmp_path / "b.zip", hands.joints, hands.vertices, "ho3d", evaluation_list=listed)
    with pytest.raises(InputError, match="Give the path"):
        write_submission(
            tmp_path / "b.zip", hands.joints, hands.vertices, "ho3d", evaluation_list=tmp_path / "no"
        )
    assert not (tmp_path / "b.zip").exists()


@pytest.mark.usefixtures("small")
def test_numbers_are_rounded_to_a_tenth_of_a_micrometre(hands, tmp_path):
    moved = hands.joints + 1.2345e-9
    write_submission(tmp_path / "pred.zip", moved.astype(np.float32), hands.vertices, "freihand")
    found = read_predictions(tmp_path / "pred.zip", 3).joints
    np.testing.assert_allclose(found, hands.joints, atol=1.2e-7)
    np.testing.assert_array_equal(found, np.round(found, 7))


@pytest.mark.parametrize(("protocol", "count"), [("freihand", "3960"), ("ho3d", "11524")])
def test_wrong_counts_are_refused(hands, tmp_path, protocol, count):
    with pytest.raises(InputError, match=f"has {count} samples, found 3"):
        write_submission(tmp_path / "pred.zip", hands.joints, hands.vertices, protocol)


@pytest.mark.usefixtures("small")
def test_what_cannot_be_right_is_refused(hands, tmp_path):
    path, joints, vertices = tmp_path / "pred.zip", hands.joints, hands.vertices
    nan = joints.copy()
    nan[1, 2] = np.nan
    cases = [
        (joints, vertices[:, :500], "778 vertices, found 500"),
        (joints[:2], vertices, "Joints of 2 samples but vertices of 3"),
        (nan, vertices, "joints of sample 1 are not finite"),
        (1000 * joints, vertices, "millimetres"),
        (joints * [1, -1, -1], vertices, "joints of sample 0 lie behind"),
    ]
    for bad_joints, bad_vertices, message in cases:
        with pytest.raises(InputError, match=message):
            write_submission(path, bad_joints, bad_vertices, "ho3d")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small")
def test_a_place_that_cannot_be_written(hands, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="Cannot write"):
        write_submission(tmp_path / "file" / "pred.zip", hands.joints, hands.vertices, "freihand")


@pytest.mark.usefixtures("small")
def test_a_submission_is_known_as_long_as_it_is_as_it_was_written(hands, tmp_path):
    path, other = tmp_path / "pred.zip", tmp_path / "other.zip"
    write_submission(path, hands.joints, hands.vertices, "freihand")
    assert is_submission(path)
    with zipfile.ZipFile(path) as archive:
        comment, text = archive.comment, archive.read("pred.json")
    for content, note in ((text, b""), (text[:-1] + b" ]", comment)):
        with zipfile.ZipFile(other, "w") as archive:
            archive.writestr("pred.json", content)
            archive.comment = note
        assert not is_submission(other)
    other.unlink()
    other.symlink_to(path)
    assert not is_submission(other)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "mine")
    assert not is_submission(path)
