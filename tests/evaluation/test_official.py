"""The official scores: a plain loop, the figures of the unmodified scripts, the command and its messages."""

import importlib.util
import json
import sys
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
from official_cases import (
    HO3D_ORDER,
    loop_scores,
    make_noisy,
    make_truth,
    prediction_text,
    to_ho3d,
    write_truth,
)

from amvur.cli import main
from amvur.data.joint_orders import (
    AMVUR_FROM_HO3D,
    HO3D_FROM_AMVUR,
    flip_opengl,
    joints_from_dataset,
    joints_to_dataset,
)
from amvur.evaluation.files import HandSet, read_predictions
from amvur.evaluation.official import evaluate_files, evaluate_hands

KEYS = {
    "freihand": "xyz_mean3d xyz_auc3d xyz_al_mean3d xyz_al_auc3d mesh_mean3d mesh_auc3d mesh_al_mean3d mesh_al_auc3d "
    "f_score_5 f_al_score_5 f_score_15 f_al_score_15",
    "ho3d": "xyz_mean3d xyz_auc3d xyz_procrustes_al_mean3d xyz_procrustes_al_auc3d xyz_scale_trans_al_mean3d "
    "xyz_scale_trans_al_auc3d mesh_mean3d mesh_auc3d mesh_al_mean3d mesh_al_auc3d "
    "f_score_5 f_al_score_5 f_score_15 f_al_score_15",
}
PARITY = Path(__file__).parents[3] / "shared" / "eval_parity" / "make_case.py"

# formats.md §6: the unmodified official scripts on made cases (64 samples, seed 7), in the order of HO3D's keys
FIGURES = {
    "noise": (0.917576, 0.816408, 0.500380, 0.899967, 0.861068, 0.827877, 0.948393, 0.810322, 0.476271, 0.904735,
              0.514980, 0.784024, 0.993220, 1.0),
    "perfect": (0, 1, 0, 0.994949, 0, 0.997028, 0, 1, 0, 0.994949, 1, 1, 1, 1),
    "zeros": (67.939002, 0, 0.977633, 0.804481, 1.368204, 0.726438, 68.137333, 0, 5.570298, 0.142573, 0, 0.001324,
              0, 0.050162),
}  # fmt: skip


def amvur(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code


@pytest.fixture(scope="module")
def truth():
    return make_truth(np.random.default_rng(3))


@pytest.fixture(scope="module")
def noisy(truth):
    return make_noisy(truth, np.random.default_rng(4))


@pytest.mark.parametrize("protocol", ["freihand", "ho3d"])
@pytest.mark.parametrize("case", ["noise", "noise_big", "perfect", "zeros", "mirror", "scale"])
def test_scores_equal_a_plain_loop(truth, protocol, case, rng):
    zeros = HandSet(np.zeros_like(truth.joints), np.zeros_like(truth.vertices))
    flip = np.array([-1.0, 1.0, 1.0])
    prediction = {
        "noise": lambda: make_noisy(truth, rng),
        "noise_big": lambda: make_noisy(truth, rng, 0.02),
        "perfect": lambda: truth,
        "zeros": lambda: zeros,
        "mirror": lambda: HandSet(truth.joints * flip, truth.vertices * flip),
        "scale": lambda: HandSet(1.3 * truth.joints, 1.3 * truth.vertices),
    }[case]()
    hands = (prediction, truth) if protocol == "freihand" else (to_ho3d(prediction), to_ho3d(truth))
    scores = evaluate_hands(*hands, protocol)
    assert list(scores) == KEYS[protocol].split()
    wanted = loop_scores(*hands, protocol)
    for key, value in wanted.items():
        assert scores[key] == pytest.approx(value, abs=1e-9), key


def test_more_samples_than_a_chunk(truth, noisy, monkeypatch):
    whole = evaluate_hands(noisy, truth, "freihand")
    import amvur.evaluation.official as official

    original = official.chunks
    monkeypatch.setattr(official, "chunks", lambda count: original(count, 2))
    assert evaluate_hands(noisy, truth, "freihand") == pytest.approx(whole, abs=1e-12)


@pytest.mark.skipif(not PARITY.exists(), reason="the generator of the official figures' cases is not here")
@pytest.mark.parametrize("case", list(FIGURES))
@pytest.mark.parametrize("protocol", ["freihand", "ho3d"])
def test_figures_of_the_unmodified_scripts(case, protocol):
    spec = importlib.util.spec_from_file_location("make_case", PARITY)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    joints, vertices, found_joints, found_vertices = map(np.stack, module.make(case, 64, 7))
    hands = HandSet(found_joints, found_vertices), HandSet(joints, vertices)
    if protocol == "ho3d":
        hands = tuple(map(to_ho3d, hands))
    scores = evaluate_hands(*hands, protocol)
    wanted = dict(zip(KEYS["ho3d"].split(), FIGURES[case], strict=True))
    for key, value in scores.items():
        official = key if protocol == "ho3d" else key.replace("xyz_al", "xyz_procrustes_al")
        assert value == pytest.approx(wanted[official], abs=1e-6), key


@pytest.mark.parametrize("protocol", ["freihand", "ho3d"])
def test_the_command_prints_one_object(truth, noisy, protocol, tmp_path, capsys):
    hands = (noisy, truth) if protocol == "freihand" else (to_ho3d(noisy), to_ho3d(truth))
    folder = write_truth(tmp_path / "ref", hands[1])
    (tmp_path / "pred.json").write_text(prediction_text(hands[0]))
    with zipfile.ZipFile(tmp_path / "pred.zip", "w") as archive:
        archive.write(tmp_path / "pred.json", "pred.json")
    arguments = ("evaluate", "--protocol", protocol, "--ground-truth", folder, "--predictions")
    assert amvur(*arguments, tmp_path / "pred.json", "--output", tmp_path / "new" / "scores.json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == KEYS[protocol].split()
    assert printed == evaluate_hands(*hands, protocol)
    scores = tmp_path / "new" / "scores.json"
    written = json.loads(scores.read_text())
    assert written.pop("seal").startswith("sha256:")
    assert written == printed
    assert amvur(*arguments, tmp_path / "pred.json", "--output", scores) == 0
    scores.write_text(scores.read_text().replace("{", '{"note": "ours",', 1))
    capsys.readouterr()
    assert amvur(*arguments, tmp_path / "pred.json", "--output", scores) == 2
    assert "was changed since" in capsys.readouterr().err
    assert amvur(*arguments, tmp_path / "pred.zip") == 0
    assert json.loads(capsys.readouterr().out) == printed
    # the folder above `ref`, and a folder of predictions, are understood too
    assert evaluate_files(tmp_path, tmp_path, protocol) == printed


@cache
def broken():
    """Prediction texts that cannot be scored, and what is said of each."""
    truth = make_truth(np.random.default_rng(3))
    text = prediction_text(truth)
    joints, vertices = truth.joints.tolist(), truth.vertices.tolist()
    nan = truth.vertices.copy()
    nan[3, 5, 1] = np.nan
    return {
        "truncated": (text[: len(text) // 2], "sample"),
        "ends after joints": (json.dumps([joints]), "wanted the list of vertices after"),
        "empty": ("", "the file is cut off"),
        "no json": ("hello", "wanted a list of two"),
        "an object": (json.dumps({"xyz": joints}), "wanted a list of two"),
        "three lists": (json.dumps([joints, vertices, vertices]), "wanted the end"),
        "trailing": (text + "x", "wanted the end of the file"),
        "no samples": ("[[], []]", "at least one sample"),
        "one sample less": (
            json.dumps([joints, vertices[1:]]),
            "holds vertices of 4 samples, the ground truth has 5",
        ),
        "one sample more": (json.dumps([[*joints, joints[0]], vertices]), "holds joints of 6 samples"),
        "NaN": (json.dumps([joints, nan.tolist()]), "sample 3 of vertices has values that are not finite"),
        "infinite": (
            text.replace(str(joints[0][0][0]), "1e999", 1),
            "sample 0 of joints has values that are not finite",
        ),
        "overflow": (
            json.dumps([(1e200 * truth.joints).tolist(), vertices]),
            "sample 0 of joints has values that",
        ),
        "null": (
            json.dumps([[[[None] * 3] * 21, *joints[1:]], vertices]),
            "sample 0 of joints should be 21 × 3",
        ),
        "text": (json.dumps([[["a"] * 21, *joints[1:]], vertices]), "sample 0 of joints should be 21 × 3"),
        "500 vertices": (json.dumps([joints, truth.vertices[:, :500].tolist()]), "found 500 × 3"),
        "16 joints": (json.dumps([truth.joints[:, :16].tolist(), vertices]), "found 16 × 3"),
        "two coordinates": (json.dumps([truth.joints[..., :2].tolist(), vertices]), "found 21 × 2"),
        "ragged": (
            json.dumps([[[[0, 0, 1], [0, 0]], *joints[1:]], vertices]),
            "sample 0 of joints should be",
        ),
        "swapped": (json.dumps([vertices, joints]), "found 778 × 3"),
    }


@pytest.mark.parametrize("case", list(broken()))
def test_bad_predictions_are_told(truth, case, tmp_path, capsys):
    text, message = broken()[case]
    folder = write_truth(tmp_path / "ref", truth)
    path = tmp_path / "mine.json"
    path.write_text(text)
    assert amvur("evaluate", "--protocol", "freihand", "--predictions", path, "--ground-truth", folder) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert str(path) in told.err
    assert told.out == ""
    assert "Traceback" not in told.err


def test_missing_and_wrong_files_are_told(truth, noisy, tmp_path, capsys):
    folder = write_truth(tmp_path / "ref", truth)
    good = tmp_path / "pred.json"
    good.write_text(prediction_text(noisy))
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    empty = tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "x")

    def told(predictions, ground_truth, *more):
        assert (
            amvur(
                "evaluate",
                "--protocol",
                "freihand",
                "--predictions",
                predictions,
                "--ground-truth",
                ground_truth,
                *more,
            )
            == 2
        )
        return capsys.readouterr().err

    assert "no predictions at" in told(tmp_path / "nowhere.json", folder)
    assert "no zip file or is cut off" in told(tmp_path / "bad.zip", folder)
    assert "should hold one pred.json" in told(tmp_path / "other.zip", folder)
    assert "not a JSON text" in told(tmp_path / "binary.json", folder)
    assert "neither pred.json nor pred.zip" in told(empty, folder)
    assert "found no folder at" in told(good, tmp_path / "nowhere")
    assert "missing: evaluation_xyz.json, evaluation_verts.json" in told(good, empty)
    assert "wants a file for the scores" in told(good, folder, "--output", tmp_path)
    (folder / "evaluation_verts.json").write_text(json.dumps(truth.vertices[:4].tolist()))
    assert "has 5 samples of joints but 4 of vertices" in told(good, folder)
    (folder / "evaluation_verts.json").unlink()
    assert "missing: evaluation_verts.json" in told(good, folder)


def test_predictions_with_other_spacing_are_read(truth, tmp_path):
    path = tmp_path / "pred.json"
    path.write_text(
        "\ufeff\n " + json.dumps([truth.joints.tolist(), truth.vertices.tolist()], indent=1) + "\n",
        encoding="utf-8",
    )
    np.testing.assert_array_equal(read_predictions(path, 5).vertices, truth.vertices)


def test_joint_orders():
    assert list(HO3D_FROM_AMVUR) == HO3D_ORDER
    assert list(AMVUR_FROM_HO3D) == [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
    joints = np.random.default_rng(0).random((2, 21, 3))
    np.testing.assert_array_equal(joints_from_dataset(joints_to_dataset(joints, "ho3d"), "ho3d"), joints)
    np.testing.assert_array_equal(joints_to_dataset(joints, "freihand"), joints)
    np.testing.assert_array_equal(flip_opengl(joints)[..., 1:], -joints[..., 1:])
