"""Photographs to evaluate on, and submissions: a stand-in data set with a network of a made-up MANO."""

import json
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

sys.path += [
    str(Path(__file__).parent),
    str(Path(__file__).parents[1]),
    str(Path(__file__).parents[1] / "hand"),
]
from mano_file import TIPS, mano_arrays
from tiny_checkpoint import write_checkpoint

from amvur.cli import main
from amvur.errors import ImageError, InputError
from amvur.evaluation import submission
from amvur.evaluation.files import read_predictions
from amvur.evaluation.real_sources import RealSource, crop_of_sample

ROOT = np.array([0.03, -0.02, 0.55])


@dataclass(frozen=True)
class Sample:
    key: str = "S/0001"
    side: str = "right"
    box_xyxy_px: np.ndarray = field(default_factory=lambda: np.array([40.0, 30, 100, 130]))
    intrinsics: np.ndarray | None = field(
        default_factory=lambda: np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]])
    )
    root: np.ndarray | None = None
    joints: np.ndarray | None = None
    vertices: np.ndarray | None = None
    joints_2d: np.ndarray | None = None
    joint_confidence: np.ndarray | None = None
    broken: bool = False

    def load_image(self):
        if self.broken:
            raise ImageError(f"{self.key} cannot be read.")
        rng = np.random.default_rng(sum(self.key.encode()))
        return rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)


class Photographs:
    """A data set of given samples."""

    def __init__(self, samples, protocol="ho3d", name="HO3D v2"):
        self.samples, self.protocol, self.name, self.split = samples, protocol, name, "evaluation"

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]

    def identity(self):
        return {"samples": [sample.key for sample in self.samples]}


@pytest.fixture(scope="module")
def mano(tmp_path_factory):
    """A checkpoint of a network of MANO's shape, and MANO's file."""
    folder = tmp_path_factory.mktemp("mano")
    np.savez(folder / "MANO_RIGHT.npz", **mano_arrays())
    return write_checkpoint(folder / "last", hand_model=folder / "MANO_RIGHT.npz"), folder / "MANO_RIGHT.npz"


@pytest.fixture
def opened(monkeypatch):
    """Put a stand-in for the readers in place; return what sets the data set that they open."""
    module = types.ModuleType("amvur.data.real")
    monkeypatch.setitem(sys.modules, "amvur.data.real", module)
    monkeypatch.setattr(submission, "HO3D_V2_COUNT", 3)
    monkeypatch.setattr(submission, "FREIHAND_COUNT", 3)
    return lambda dataset: setattr(module, "open_dataset", lambda path, split: dataset)


def amvur(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", *(str(argument) for argument in arguments)])
    return exit_.value.code


def test_ho3d_from_folder_to_submission(mano, opened, tmp_path, capsys):
    """Wrists where the data set has them; HO3D's order, axes and fingertips; no truth, no scores."""
    roots = [ROOT * (1 + 0.1 * number) for number in range(3)]
    opened(Photographs([Sample(f"S/{n}", root=root) for n, root in enumerate(roots)]))
    arguments = ("--checkpoint", mano[0], "--data", tmp_path, "--output", tmp_path / "out")
    assert amvur(*arguments, "--submission", tmp_path / "pred.zip") == 0
    assert "nothing can be scored" in capsys.readouterr().out
    found = read_predictions(tmp_path / "pred.zip", 3)
    np.testing.assert_allclose(found.joints[:, 0], np.array(roots) * [1, -1, -1], atol=1e-6)
    np.testing.assert_array_equal(found.joints[:, 16:], found.vertices[:, TIPS["ho3d"]])
    assert json.loads((tmp_path / "out" / "results.json").read_text())["scored"] == 0


def test_freihand_is_placed_by_its_camera(mano, opened, tmp_path):
    opened(Photographs([Sample(f"S/{n}") for n in range(3)], "freihand", "FreiHAND"))
    arguments = ("--checkpoint", mano[0], "--data", tmp_path, "--output", tmp_path / "out")
    assert amvur(*arguments, "--submission", tmp_path / "pred.zip") == 0
    found = read_predictions(tmp_path / "pred.zip", 3)
    assert (found.joints[..., 2].mean(1) > 0.1).all()
    # up to the wrist, which in an untrained network's mesh is not where its joints have it
    apart = found.joints[:, 4::4] - found.vertices[:, TIPS["freihand"]]
    np.testing.assert_allclose(apart, np.repeat(apart[:, :1], 5, 1), atol=3e-7)


def test_a_network_of_the_open_hand_has_no_submission(opened, tmp_path, capsys):
    opened(Photographs([Sample()]))
    checkpoint = write_checkpoint(tmp_path / "last")
    arguments = ("--checkpoint", checkpoint, "--data", tmp_path, "--output", tmp_path / "out")
    assert amvur(*arguments, "--submission", tmp_path / "pred.zip") == 2
    assert "take MANO's 778 vertices, found 16" in capsys.readouterr().err
    assert not (tmp_path / "out" / "predictions").exists()


def test_hands_of_unknown_place_are_not_submitted(mano, opened, tmp_path, capsys):
    opened(Photographs([Sample(f"S/{n}", intrinsics=None) for n in range(3)]))
    arguments = ("--checkpoint", mano[0], "--data", tmp_path, "--output", tmp_path / "out")
    assert amvur(*arguments, "--submission", tmp_path / "pred.zip") == 2
    assert "gives neither camera nor wrist of 3 samples" in capsys.readouterr().err


def test_a_hand_model_that_was_moved(mano, opened, tmp_path, capsys):
    opened(Photographs([Sample(root=ROOT)]))
    checkpoint, file = mano
    moved, other = tmp_path / "MANO_RIGHT.npz", tmp_path / "other.npz"
    arguments = ("--checkpoint", checkpoint, "--data", tmp_path, "--output", tmp_path / "out")
    np.savez(other, **mano_arrays(1))
    moved.write_bytes(file.read_bytes())
    hidden = file.rename(file.with_name("hidden"))
    try:
        assert amvur(*arguments) == 2
        assert "say where it is: --hand-model FILE" in capsys.readouterr().err
        assert amvur(*arguments, "--hand-model", moved) == 0
        assert amvur(*arguments, "--hand-model", other) == 2
        assert "was trained with the hand model of sha256" in capsys.readouterr().err
    finally:
        hidden.rename(file)


def test_a_picture_that_cannot_be_read_stops_the_run_and_is_named(mano, opened, tmp_path, capsys):
    opened(Photographs([Sample(root=ROOT), Sample("S/0002", root=ROOT, broken=True)]))
    arguments = ("--checkpoint", mano[0], "--data", tmp_path, "--output", tmp_path / "out")
    assert amvur(*arguments) == 2
    assert "S/0002 cannot be read" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out" / "predictions").iterdir()] == ["record.json"]


def test_crops():
    crop = crop_of_sample(Sample(side="left"), 64)
    assert (crop.center_x_px, crop.center_y_px, crop.mirrored) == (70, 80, True)
    assert crop.side_px == pytest.approx(100 * 1.3 / 1.1)
    with pytest.raises(InputError, match="has no extent"):
        crop_of_sample(Sample(box_xyxy_px=np.array([5.0, 5, 5, 5])), 64)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_box_is_told_in_the_crop(tmp_path, side):
    """Of a hand 60 px wide and 100 high, mirrored or not, in a crop of twice its joints' box."""
    source = RealSource(Photographs([Sample(side=side)]), tmp_path)
    (picture,) = source.pictures(0, 1, 400, 2.0)
    scale = 400 / (2.0 * 100 / 1.1)
    half = np.array([30, 50]) * scale
    np.testing.assert_allclose(picture.box_xyxy_px, np.concatenate([200 - half, 200 + half]))


def test_only_the_evaluation_split_has_an_official_evaluation(tmp_path):
    photographs = Photographs([Sample()])
    (tmp_path / "evaluation.txt").write_text("S/0001\n")
    source = RealSource(photographs, tmp_path)
    assert (source.name, source.protocol) == ("HO3D v2 evaluation", "ho3d")
    assert source.evaluation_list == tmp_path / "evaluation.txt"
    photographs.split = "training"
    source = RealSource(photographs, tmp_path)
    assert (source.protocol, source.evaluation_list) == (None, None)
