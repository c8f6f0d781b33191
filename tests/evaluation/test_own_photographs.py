"""`evaluate --data` with a user's own photographs: errors in the picture, and stated discs."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chi, spearmanr

sys.path.append(str(Path(__file__).parent))
from tiny_checkpoint import write_checkpoint

from amvur.cli import main
from amvur.crop import CropTransform
from amvur.evaluation.prediction_files import PredictionFolder, read_record
from amvur.evaluation.results import results_of
from amvur.evaluation.scoring import Errors
from amvur.pretrained import load_network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three hands on two photographs; of the last one 15 joints have no label."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    annotations = []
    for number, (image, side) in enumerate([(0, "left"), (0, "right"), (1, "right")]):
        joints = rng.uniform(40, 160, (21, 2))
        seen = np.full(21, 2)
        seen[: 15 * (number == 2)] = 0
        keypoints = np.column_stack([joints, seen]).ravel().tolist()
        annotations.append({"id": number, "image_id": image, "side": side, "keypoints": keypoints})
    for image in range(2):
        Image.fromarray(rng.integers(0, 255, (200, 220, 3), dtype=np.uint8)).save(folder / f"{image}.png")
    images = [{"id": i, "file_name": f"{i}.png"} for i in range(2)]
    (folder / "labels.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder


def test_errors_in_the_picture_are_scored(folder, tmp_path, capsys):
    output = tmp_path / "out"
    checkpoint = write_checkpoint(tmp_path / "ck")
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "--checkpoint", str(checkpoint), "--data", str(folder), "--output", str(output)])
    assert ended.value.code == 0
    assert "2D joints of 3 hands" in capsys.readouterr().out
    found = json.loads((output / "results.json").read_text())["joints_2d"]

    place = next(path.parent for path in output.rglob("record.json"))
    record = read_record(place)
    ((_, said),) = PredictionFolder(place, record["count"], record["configuration"]).read()
    error = np.linalg.norm(said.joints_2d - said.true_joints_2d, axis=-1)
    labelled = np.isfinite(error)
    assert labelled.sum() == found["joints"] == 21 + 21 + 6
    sizes = [np.ptp(t[ok], axis=0).max() for t, ok in zip(said.true_joints_2d, labelled, strict=True)]
    share = error / np.array(sizes)[:, None]
    assert found["mean_px"] == pytest.approx(
        np.mean([e[ok].mean() for e, ok in zip(error, labelled, strict=True)])
    )
    assert found["mean_percent_of_size"] == pytest.approx(100 * np.nanmean(share, axis=1).mean(), rel=1e-5)
    within = error[labelled] <= chi.ppf(0.9, 2) * said.joints_2d_std[labelled]
    assert found["coverage_90"] == pytest.approx(within.mean())
    # distances are those of the photograph: labels of the first hand, which is mirrored, lie as they did
    keypoints = json.loads((folder / "labels.json").read_text())["annotations"][0]["keypoints"]
    original = np.array(keypoints).reshape(21, 3)[:, :2]
    moved = said.true_joints_2d[0]
    apart = [np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (original, moved)]
    np.testing.assert_allclose(apart[0], apart[1], rtol=1e-4)


def evaluate(checkpoint, data, output, *options):
    arguments = ("--checkpoint", checkpoint, "--data", data, "--output", output, "--device", "cpu", *options)
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, arguments)])
    return ended.value.code


def write_labels(folder, annotations, **info):
    Image.fromarray(np.zeros((200, 220, 3), np.uint8)).save(folder / "0.png")
    images = [{"id": 0, "file_name": "0.png"}]
    text = json.dumps({"info": info, "images": images, "annotations": annotations})
    (folder / "labels.json").write_text(text)


def test_figures_are_those_of_the_networks_joints_in_the_photograph(folder, tmp_path):
    checkpoint, output = write_checkpoint(tmp_path / "ck"), tmp_path / "out"
    assert evaluate(checkpoint, folder, output) == 0
    found = json.loads((output / "results.json").read_text())
    assert found["configuration"]["data"]["convention"] == "amvur"

    network, _ = load_network(checkpoint, torch.device("cpu"))
    errors, stds, shares = [], [], []
    for hand in json.loads((folder / "labels.json").read_text())["annotations"]:
        keypoints = np.array(hand["keypoints"]).reshape(21, 3)
        known, places = keypoints[:, 2] > 0, keypoints[:, :2]
        low, high = places[known].min(0), places[known].max(0)
        extent, center, sign = (high - low).max(), (low + high) / 2, -1 if hand["side"] == "left" else 1
        side = 1.3 * extent  # which the box without margin is taken for
        photograph = np.asarray(Image.open(folder / f"{hand['image_id']}.png"))
        crop = CropTransform(*map(float, center), float(side), 64, mirrored=sign < 0).warp(photograph)
        with torch.inference_mode():
            said = network(torch.tensor(crop).permute(2, 0, 1)[None].float() / 255).joints_2d
        place = center + said.loc[0].numpy() * [sign, 1] * side / 2
        errors.append(np.linalg.norm(place - places, axis=1)[known])
        stds.append((said.scale.expand(1, 21, 2)[0].square().mean(-1).sqrt().numpy() * side / 2)[known])
        shares.append(errors[-1] / extent)
    error, std, share = map(np.concatenate, (errors, stds, shares))
    wanted = {
        "count": 3,
        "sized": 3,
        "mean_px": np.mean([e.mean() for e in errors]),
        "median_px": np.median(error),
        "mean_percent_of_size": 100 * np.mean([s.mean() for s in shares]),
        "pck_5_percent": (share <= 0.05).mean(),
        "pck_10_percent": (share <= 0.1).mean(),
        "coverage_50": (error**2 <= -2 * np.log(0.5) * std**2).mean(),  # Rayleigh's distribution
        "coverage_90": (error**2 <= -2 * np.log(0.1) * std**2).mean(),
        "rank_correlation": spearmanr(error, std).statistic,
    }
    for name, value in wanted.items():
        assert found["joints_2d"][name] == pytest.approx(value, rel=1e-3, abs=1e-3), name
    low, high = found["joints_2d"]["mean_px_interval_95"]
    assert low <= found["joints_2d"]["mean_px"] <= high


def test_joints_with_confidence_0_do_not_count_and_conventions_are_told(tmp_path):
    joints = np.random.default_rng(1).uniform(40, 160, (21, 2))
    hand = {"id": 0, "image_id": 0, "side": "right", "bbox": [40, 40, 120, 120]}
    checkpoint, found = write_checkpoint(tmp_path / "ck"), []
    for name, wrong in (("a", 0.0), ("b", 900.0)):
        (tmp_path / name).mkdir()
        places = joints + wrong * (np.arange(21) < 5)[:, None]
        keypoints = np.column_stack([places, np.full(21, 2)]).ravel().tolist()
        confidence = [0.0] * 5 + [0.3] * 16
        labelled = {**hand, "keypoints": keypoints, "keypoints_confidence": confidence}
        write_labels(tmp_path / name, [labelled], convention="mediapipe")
        assert evaluate(checkpoint, tmp_path / name, tmp_path / f"out_{name}") == 0
        found.append(json.loads((tmp_path / f"out_{name}" / "results.json").read_text()))
    assert found[0]["joints_2d"] == found[1]["joints_2d"]
    assert found[0]["joints_2d"]["joints"] == 16
    assert found[0]["configuration"]["data"]["convention"] == "mediapipe"


def test_discs_hold_what_they_state_where_errors_are_normal():
    rng = np.random.default_rng(2)
    std = rng.uniform(1, 5, (400, 21))
    error = np.hypot(*(std * rng.standard_normal((2, 400, 21))))
    error[:, 3:5] = np.nan
    errors = Errors(samples=400, flat=[np.stack([error, std, np.full((400, 21), 50.0)])])
    found = results_of(errors, {})["joints_2d"]
    assert found["coverage_50"] == pytest.approx(0.5, abs=0.02)
    assert found["coverage_90"] == pytest.approx(0.9, abs=0.015)
    known = error[np.isfinite(error)]
    assert found["pck_5_percent"] == pytest.approx(np.mean(known <= 2.5))
    assert found["pck_10_percent"] == pytest.approx(np.mean(known <= 5))
    assert found["joints"] == 400 * 19


@pytest.mark.filterwarnings("error")
def test_labels_that_coincide_have_an_error_in_pixels_and_no_size(tmp_path, capsys):
    keypoints = [[70.0, 80.0, 2], [70.0, 80.0, 2], *[[0, 0, 0]] * 19]
    keypoints = [float(value) for triple in keypoints for value in triple]
    hand = {"id": 0, "image_id": 0, "side": "right", "bbox": [40, 40, 100, 100], "keypoints": keypoints}
    write_labels(tmp_path, [hand])
    assert evaluate(write_checkpoint(tmp_path / "ck"), tmp_path, tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())["joints_2d"]
    assert (found["count"], found["joints"], found["sized"]) == (1, 2, 0)
    assert np.isfinite(found["mean_px"])
    assert found["mean_percent_of_size"] is found["pck_5_percent"] is found["pck_10_percent"] is None
    assert "tell no size" in capsys.readouterr().out


def test_hands_of_reconstruct_are_scored_and_predictions_of_the_older_form_refused(folder, tmp_path, capsys):
    output = tmp_path / "out"
    assert evaluate("none", folder, output, "--reconstruct", "--joints-only") == 0
    found = json.loads((output / "results.json").read_text())["joints_2d"]
    assert found["count"] == 3
    assert 0 < found["mean_px"] < 200
    assert found["coverage_50"] <= found["coverage_90"]

    path = output / "predictions" / "record.json"
    path.write_text(path.read_text().replace("amvur-predictions/2", "amvur-predictions/1"))
    assert evaluate("none", folder, output, "--reconstruct", "--joints-only") == 2
    assert "no record of amvur-predictions/2" in capsys.readouterr().err
