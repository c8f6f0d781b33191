"""MANO's labels of FreiHAND and HO3D become targets of training: the joints that the data sets themselves say."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "data" / "real"))
from mini_freihand import write_freihand
from mini_ho3d import write_ho3d

from amvur.checkpoint import load_checkpoint
from amvur.cli import main
from amvur.data.real import open_dataset
from amvur.data.synthetic import generator
from amvur.geometry.cameras import view_rotation
from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.training.mixture import Mixture
from amvur.training.presets import PRESETS
from amvur.training.real_sources import Photos, crop_of, labelled_image
from amvur.training.targets import targets_of


@pytest.fixture(params=["freihand", "v2", "v3"])
def folder(request, mano, tmp_path):
    path = tmp_path / "data"
    if request.param == "freihand":
        write_freihand(path, mano)
    else:
        write_ho3d(path, mano, request.param)
    return path


def test_targets_are_the_data_sets_own_vertices(folder, mano):
    """FreiHAND's and HO3D's poses are relative to different means; targets must not be."""
    data = open_dataset(folder, "training")
    hand = HandModel(load_hand_model(str(mano)))
    sample = data[0]
    image = labelled_image(sample, 64, True, "amvur", hand.pose_mean.numpy())
    assert image.has_3d.all()
    targets = targets_of(image, hand)
    crop = crop_of(sample, 64)
    middle = crop.invert_points(np.array([[32.0, 32.0]]))
    turn = view_rotation(torch.as_tensor(sample.intrinsics)[None], torch.as_tensor(middle)).numpy()[0]
    if sample.vertices is None:  # HO3D's joints are the chain's, tips included
        told, found = sample.joints - sample.joints[0], targets.joints[0]
        tips = [4, 8, 12, 16, 20]  # other vertices than those of this model's settings
        told, found = (np.delete(np.asarray(x), tips, 0) for x in (told, found))
    else:  # about the mean: a made-up model's wrist regressed from posed vertices is another point
        told = sample.vertices - sample.vertices.mean(0)
        found = (targets.vertices[0] - targets.vertices[0].mean(0)).numpy()
    assert np.abs(found - told @ turn.T).max() < 1e-4


@pytest.mark.parametrize("preset", ["supervised", "weak"])
def test_both_schemes_train_on_it_from_the_command_line(folder, mano, tmp_path, preset, monkeypatch):
    class HeldOut(Mixture):
        """In place of renders, which a made-up mesh of random faces does not allow."""

        def __init__(self, seed, hand_model, image_px, backgrounds=None):
            photos = Photos(open_dataset(folder, "training"), image_px, with_3d=True, seed=seed)
            super().__init__([photos], [1.0], seed)

        def batch(self, indices):
            pytest.fail("no renders were asked for")

    monkeypatch.setattr(generator, "SyntheticHands", HeldOut)
    small = replace(PRESETS["tiny"], objective=PRESETS[preset].objective)
    monkeypatch.setitem(PRESETS, "small", small)
    options = ["--preset", "small", "--hand-model", mano, "--data", folder, "--steps", 2, "--batch-size", 2]
    options += ["--held-out", 2, "--pool-size", 4, "--device", "cpu", "--output", tmp_path / "run"]
    with pytest.raises(SystemExit) as exit_:
        main(["train", *map(str, options)])
    assert exit_.value.code == 0
    config = load_checkpoint(tmp_path / "run" / "last").config
    assert config["card"]["step"] == 2
    assert config["hand_model"]["name"] == mano.name
