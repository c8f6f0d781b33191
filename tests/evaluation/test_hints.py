"""Mistakes in prediction files are told on stderr; good and merely bad predictions give no hint."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

sys.path.append(str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1]))
from factories import rest_joints
from official_cases import HO3D_ORDER, prediction_text, to_ho3d, write_truth

from amvur.cli import main
from amvur.evaluation.files import HandSet
from amvur.evaluation.hints import find_hints

BACK = [HO3D_ORDER.index(joint) for joint in range(21)]


def hand_set(noise=0.0, count=12, seed=3):
    """Flat hands, turned and placed at random, in our conventions (FreiHAND's)."""
    rng = np.random.default_rng(seed)
    turns = Rotation.random(count, random_state=seed).as_matrix()
    places = np.array([0.05, -0.02, 0.6]) + 0.05 * rng.standard_normal((count, 1, 3))
    joints = rest_joints() @ turns.transpose(0, 2, 1) + places
    vertices = np.tile(joints, (1, 38, 1))[:, :778]
    other = np.random.default_rng(9)
    return HandSet(*(p + noise * other.standard_normal(p.shape) for p in (joints, vertices)))


def moved(hands, change):
    return HandSet(change(hands.joints), change(hands.vertices))


MISTAKES = {
    "mm": (lambda p: 1000 * p, "in millimetres"),
    "cm": (lambda p: 100 * p, "in centimetres"),
    "axes": (lambda p: p * [1, -1, -1], "the other camera frame"),
    "relative": (lambda p: p - p[:, :1], "relative to the wrist"),
}


@pytest.mark.parametrize("protocol", ["freihand", "ho3d"])
@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_units_and_frames(protocol, mistake):
    native = (lambda hands: hands) if protocol == "freihand" else to_ho3d
    change, message = MISTAKES[mistake]
    truth, found = native(hand_set()), moved(native(hand_set(0.003)), change)
    assert message in " ".join(find_hints(found, truth, protocol))
    assert find_hints(native(hand_set(0.003)), truth, protocol) == []


def test_two_mistakes_at_once():
    hints = find_hints(moved(hand_set(0.002), lambda p: 1000 * p * [1, -1, -1]), hand_set(), "freihand")
    assert len(hints) == 2


def test_orders_of_joints():
    ours, truth = hand_set(0.002), hand_set()
    theirs = HandSet(ours.joints[:, HO3D_ORDER], ours.vertices)
    assert "taken as in HO3D's order" in find_hints(theirs, truth, "freihand")[0]
    wanted = HandSet(truth.joints[:, HO3D_ORDER], truth.vertices)
    assert "taken as in FreiHAND's order" in find_hints(ours, wanted, "ho3d")[0]
    assert find_hints(theirs, wanted, "ho3d") == []


def test_bad_predictions_are_only_bad():
    far = moved(hand_set(0.03), lambda p: p + 0.1)
    assert find_hints(far, hand_set(), "freihand") == []
    other = hand_set(seed=8)
    assert find_hints(other, hand_set(), "freihand") == []


def test_the_command_prints_hints_beside_its_object(tmp_path, capsys):
    folder = write_truth(tmp_path / "ref", hand_set())
    path = tmp_path / "pred.json"
    path.write_text(prediction_text(moved(hand_set(0.002), lambda p: 1000 * p)))
    with pytest.raises(SystemExit) as exit_:
        main(
            ["evaluate", "--protocol", "freihand", "--predictions", str(path), "--ground-truth", str(folder)]
        )
    assert exit_.value.code == 0
    told = capsys.readouterr()
    assert f"amvur: {path}: Predicted hands are" in told.err
    assert "in millimetres. Write metres." in told.err
    assert json.loads(told.out)["xyz_mean3d"] > 1000


def bent(count=12, seed=4, noise=0.002):
    """Hands of different poses: every sample's joints are moved by its own 2 cm, meshes about them."""
    rng = np.random.default_rng(seed)
    hands = hand_set(noise, count)
    joints = hands.joints + 0.02 * np.random.default_rng(7).standard_normal(hands.joints.shape)
    ball = 0.005 * rng.standard_normal((1, 778, 3))
    return HandSet(joints, np.tile(joints, (1, 38, 1))[:, :778] + ball)


def test_vertices_in_another_order():
    truth = bent(noise=0)
    order = np.random.default_rng(0).permutation(778)
    for changed in (truth.vertices[:, order], truth.vertices[:, ::-1]):
        assert "vertices seem to be in another order" in " ".join(
            find_hints(HandSet(truth.joints, changed), truth, "freihand")
        )


def test_samples_in_another_order():
    truth, found = bent(noise=0), bent()
    for order in (np.random.default_rng(1).permutation(12), np.roll(np.arange(12), 1)):
        hints = find_hints(HandSet(found.joints[order], found.vertices[order]), truth, "freihand")
        assert "samples seem to be in another order" in " ".join(hints)


def test_mirrored_hands():
    truth, found = bent(noise=0), bent()
    hints = find_hints(moved(found, lambda p: p * [-1, 1, 1]), truth, "freihand")
    assert "of the other hand" in " ".join(hints)


def test_merely_bad_predictions_give_no_hint():
    truth = bent(noise=0)
    rng = np.random.default_rng(2)
    worse = truth.joints + 0.03 * rng.standard_normal(truth.joints.shape)
    vertices = np.tile(worse, (1, 38, 1))[:, :778]
    assert find_hints(HandSet(worse, vertices), truth, "freihand") == []
    assert find_hints(bent(), truth, "freihand") == []
