"""Photographs as training pictures: labels move with crops, 3D stays out of the weak scheme, shares hold."""

import numpy as np
import pytest
import torch
from PIL import Image

from amvur.data.real.samples import HandSample
from amvur.errors import InputError
from amvur.training.data_choice import parse_choice
from amvur.training.mixture import Mixture
from amvur.training.objective import marked_mean
from amvur.training.real_sources import Photos, check_dataset, labelled_image


def sample_of(tmp_path, **changes):
    path = tmp_path / "spot.png"
    if not path.exists():
        pixels = np.zeros((80, 100, 3), np.uint8)
        pixels[38:43, 28:33] = 255
        Image.fromarray(pixels).save(path)
    joints = np.tile([30.5, 40.5], (21, 1))
    values = {"key": "spot", "image_path": path, "side": "left", "joints_2d": joints}
    return HandSample(**(values | {"box_xyxy_px": np.array([20.0, 20.0, 60.0, 60.0])} | changes))


class Listed:
    name, split, protocol, convention = "photographs", "training", None, "mediapipe"

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]

    def identity(self):
        return {"n": len(self.samples)}


def test_labels_move_with_the_mirrored_crop(tmp_path):
    image = labelled_image(sample_of(tmp_path), 64, False, "mediapipe")
    bright = (image.images[0, :, :, 0].float() > 128).nonzero().float().mean(0).flip(0) + 0.5
    assert (image.joints_2d[0, 0] - bright).abs().max() < 0.6
    assert image.by_detector.all()
    assert not image.has_3d.any()


def test_3d_truth_cannot_reach_weak_pictures(tmp_path):
    poison = {n: np.full(k, np.nan) for n, k in (("global_orient", 3), ("hand_pose", 45), ("betas", 10))}
    poison |= {"transl": np.full(3, np.nan), "joints": np.full((21, 3), np.nan), "intrinsics": np.eye(3)}
    found = Photos(Listed([sample_of(tmp_path, **poison)]), 64, with_3d=False).picture(0).images
    assert torch.isfinite(found.transl).all()
    assert not found.has_3d.any()
    with pytest.raises(InputError, match="global_orient"):
        labelled_image(sample_of(tmp_path, **poison), 64, True, "amvur")
    only_3d = sample_of(tmp_path, joints_2d=None, joints=np.ones((21, 3)), intrinsics=np.eye(3))
    with pytest.raises(InputError, match="no 2D joints"):
        labelled_image(only_3d, 64, False, "amvur")


def test_bad_samples_are_skipped_or_stop(tmp_path):
    good, bad = sample_of(tmp_path), sample_of(tmp_path, image_path=tmp_path / "none.png")
    assert len(check_dataset(Listed([good, good, bad]), False)) == 1
    photos = Photos(Listed([good, good, bad]), 64, with_3d=False)
    assert all(len(photos.picture(n).images) == 1 for n in range(6))
    with pytest.raises(InputError, match="2 of 3"):
        check_dataset(Listed([good, bad, bad]), False)


def test_mixtures_keep_shares_and_do_not_depend_on_where_they_start(tmp_path):
    photos = [Photos(Listed([sample_of(tmp_path)] * 3), 32, with_3d=False, seed=s) for s in (0, 1)]
    mixture = Mixture(photos, [1.0, 2.0], seed=4)
    share = np.mean([mixture.choice(n) for n in range(6000)])
    assert abs(share - 2 / 3) < 4 * np.sqrt(2 / 9 / 6000)
    whole = list(mixture.stream(0, 6, 2))
    later = list(mixture.stream(2, 4, 2))
    assert torch.equal(whole[1].images.images, later[0].images.images)
    assert torch.equal(whole[2].images.joints_2d, later[1].images.joints_2d)


def test_unmarked_pictures_take_no_part():
    values = torch.tensor([[1.0, 3.0], [100.0, 100.0]], requires_grad=True)
    mean = marked_mean(values, torch.tensor([True, False]))
    mean.backward()
    assert mean == 2
    assert torch.equal(values.grad, torch.tensor([[0.5, 0.5], [0.0, 0.0]]))


@pytest.mark.parametrize("text", ["a=0", "a=-1", "a=b", "=2"])
def test_bad_weights_are_told(text):
    with pytest.raises(InputError, match="WEIGHT"):
        parse_choice(text)
