"""`amvur evaluate` on miniatures of FreiHAND and HO3D: from a folder to scores and a submission."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "data" / "real")]
from mini_freihand import write_freihand
from mini_hands import GL
from mini_ho3d import frame_names, write_ho3d
from tiny_checkpoint import write_checkpoint

from amvur.cli import main
from amvur.evaluation import submission
from amvur.evaluation.files import read_predictions


@pytest.fixture(scope="module")
def checkpoint(mano):
    return write_checkpoint(mano.parent / "last", hand_model=mano)


@pytest.fixture
def evaluate(checkpoint, tmp_path, capsys, monkeypatch):
    """Run the command on a folder; return its status and what it printed."""
    monkeypatch.setattr(submission, "FREIHAND_COUNT", 3)

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(["evaluate", *(str(argument) for argument in arguments)])
        return exit_.value.code, capsys.readouterr()

    def network(folder, *arguments):
        shared = ("--checkpoint", checkpoint, "--data", folder, "--output", tmp_path / "out")
        return run(*shared, *arguments)

    network.files = run
    return network


OFFICIAL = {
    "freihand": {"xyz": "unaligned", "xyz_al": "procrustes"},
    "ho3d": {
        "xyz": "unaligned",
        "xyz_procrustes_al": "procrustes",
        "xyz_scale_trans_al": "scale_translation",
    },
}


@pytest.mark.parametrize("name", ["freihand", "v2", "v3"])
def test_from_folder_to_scores_and_submission(evaluate, mano, tmp_path, name):
    """The two loops' figures are those of the official protocol on the submission that they write."""
    folder, protocol = tmp_path / "data", "freihand" if name == "freihand" else "ho3d"
    if name == "freihand":
        _, hands = write_freihand(folder, mano, training=0)
    else:
        _, hands = write_ho3d(folder, mano, name, training=0)
    code, told = evaluate(folder, "--submission", tmp_path / "pred.zip", "--json")
    assert code == 0, told.err
    results = json.loads(told.out)
    assert (results["samples"], results["scored"]) == (3, 3)
    code, told = evaluate.files(
        "--protocol", protocol, "--predictions", tmp_path / "pred.zip", "--ground-truth", folder
    )
    assert code == 0, told.err
    scores = json.loads(told.out)
    for key, alignment in OFFICIAL[protocol].items():
        described = results["joints"][alignment]
        assert described["mean_mm"] == pytest.approx(10 * scores[f"{key}_mean3d"], rel=1e-4), key
        assert described["auc"] == pytest.approx(scores[f"{key}_auc3d"], abs=1e-3), key
    for key, alignment in {"mesh": "unaligned", "mesh_al": "procrustes"}.items():
        described = results["vertices"][alignment]
        assert described["mean_mm"] == pytest.approx(10 * scores[f"{key}_mean3d"], rel=1e-4), key
    assert results["vertices"]["procrustes"]["f_score_15"] == pytest.approx(scores["f_al_score_15"], abs=1e-3)
    found = read_predictions(tmp_path / "pred.zip", 3)
    if protocol == "ho3d":  # placed at the wrists that the frames of evaluation.txt give, in its order
        np.testing.assert_allclose(found.joints[:, 0], [h.joints[0] * GL for h in hands], atol=1e-6)
    else:
        assert (found.joints[..., 2] > 0).all(), "before the camera"


@pytest.mark.parametrize("name", ["freihand", "v3"])
def test_reconstructed_hands_are_scored_and_submitted(evaluate, mano, tmp_path, name):
    """Detector and fit of a user's MANO file, no network; HO3D's wrists are given."""
    folder = tmp_path / "data"
    write = write_freihand if name == "freihand" else write_ho3d
    _, hands = write(folder, mano, *(() if name == "freihand" else (name,)), training=0)
    shared = ("--checkpoint", "none", "--reconstruct", "--hand-model", mano, "--data", folder)
    outputs = ("--output", tmp_path / "all", "--submission", tmp_path / "pred.zip", "--json")
    code, told = evaluate.files(*shared, *outputs)
    assert code == 0, told.err
    results = json.loads(told.out)
    assert (results["samples"], results["scored"]) == (3, 3)
    assert results["vertices"]["procrustes"]["count"] == 3
    found = read_predictions(tmp_path / "pred.zip", 3)
    assert found.vertices.shape == (3, 778, 3)
    if name == "v3":
        np.testing.assert_allclose(found.joints[:, 0], [h.joints[0] * GL for h in hands], atol=1e-6)


@pytest.mark.parametrize("name", ["freihand", "ho3d"])
def test_withheld_truth_is_still_submitted(evaluate, mano, tmp_path, name):
    folder = tmp_path / "data"
    (write_freihand if name == "freihand" else write_ho3d)(folder, mano, training=0, truth=False)
    code, told = evaluate(folder, "--submission", tmp_path / "pred.zip")
    assert code == 0, told.err
    assert "nothing can be scored" in told.out
    assert len(read_predictions(tmp_path / "pred.zip", 3).joints) == 3


def test_training_pictures_can_be_looked_at_too(evaluate, mano, tmp_path):
    write_freihand(tmp_path / "data", mano, training=1, evaluation=0)
    code, told = evaluate(tmp_path / "data", "--split", "training", "--json")
    assert code == 0, told.err
    results = json.loads(told.out)
    assert results["scored"] == 4
    assert results["configuration"]["data"]["name"] == "FreiHAND training"


def test_one_bad_sample_stops_the_run(evaluate, mano, tmp_path):
    write_freihand(tmp_path / "data", mano, training=0)
    path = tmp_path / "data" / "evaluation_xyz.json"
    rows = json.loads(path.read_text())
    rows[2][0][0] = float("nan")
    path.write_text(json.dumps(rows))
    code, told = evaluate(tmp_path / "data")
    assert code == 2
    assert f"{path}: entry 2 has values that are not finite" in told.err
    assert not (tmp_path / "out" / "results.json").exists()


def test_changed_labels_refuse_the_old_predictions(evaluate, mano, tmp_path):
    folder = tmp_path / "data"
    write_ho3d(folder, mano, training=0)
    assert evaluate(folder)[0] == 0
    listed = folder / "evaluation.txt"
    listed.write_text("\n".join(frame_names(3)[::-1]))
    for name in ("xyz", "verts"):
        (folder / f"evaluation_{name}.json").unlink()
    code, told = evaluate(folder)
    assert code == 2
    assert "data.sha256.list: there" in told.err


def test_a_wrong_folder_shows_the_layout(evaluate, tmp_path):
    (tmp_path / "data" / "images").mkdir(parents=True)
    code, told = evaluate(tmp_path / "data")
    assert code == 2
    assert "it holds images" in told.err
    assert "FreiHAND_pub_v2" in told.err
    assert "Traceback" not in told.err
