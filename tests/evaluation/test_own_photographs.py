"""`evaluate --data` with a user's own photographs: errors in the picture, and stated discs."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import chi

sys.path.append(str(Path(__file__).parent))
from tiny_checkpoint import write_checkpoint

from amvur.cli import main
from amvur.evaluation.prediction_files import PredictionFolder, read_record


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
    assert found["mean_percent_of_size"] == pytest.approx(100 * share[labelled].mean(), rel=1e-5)
    within = error[labelled] <= chi.ppf(0.9, 2) * said.joints_2d_std[labelled]
    assert found["coverage_90"] == pytest.approx(within.mean())
    # distances are those of the photograph: labels of the first hand, which is mirrored, lie as they did
    keypoints = json.loads((folder / "labels.json").read_text())["annotations"][0]["keypoints"]
    original = np.array(keypoints).reshape(21, 3)[:, :2]
    moved = said.true_joints_2d[0]
    apart = [np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (original, moved)]
    np.testing.assert_allclose(apart[0], apart[1], rtol=1e-4)
