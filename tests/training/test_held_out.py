"""What is held out of training, made once and kept; a run without a step is an error; the time limit is kept."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal

sys.path.append(str(Path(__file__).parent))
from tiny_photos import write_photos
from tiny_run import PX, TinySource, go, objective, parts, weights

from amvur.data.real import open_dataset
from amvur.training.held_out import HeldOut, HeldSamples, draw_held_out, held_out_errors
from amvur.training.pool import PoolConfig
from amvur.training.preparation import Preparation, TimeIsUp, TrainingError
from amvur.training.real_sources import Photos
from amvur.training.sources import SkippedSamples


def photos(folder, count=20):
    path = write_photos(folder, count)
    return Photos(open_dataset(path, "training"), PX, with_3d=False)


def test_held_out_photographs_are_never_trained_on(tmp_path):
    made = photos(tmp_path)
    held = made.hold_out(3)
    assert len(held) == 3
    assert set(held) | set(made.places.tolist()) == set(range(20))
    assert not set(held) & set(made.places.tolist())
    images = [made.image(index).joints_2d for index in held]
    drawn = [made.picture(number).images.joints_2d for number in range(40)]
    assert not any(torch.equal(a, b) for a in images for b in drawn)


@pytest.mark.parametrize(
    ("count", "wanted", "held"), [(1, 5, 0), (4, 5, 0), (5, 9, 1), (20, 16, 4), (20, 0, 0)]
)
def test_a_fifth_at_most_is_held_out(tmp_path, count, wanted, held):
    assert len(photos(tmp_path, count).hold_out(wanted)) == held


def test_hands_of_one_photograph_stay_together(tmp_path):
    path = write_photos(tmp_path, 10)
    labels = json.loads((path / "labels.json").read_text())
    labels["annotations"] = [hand for hand in labels["annotations"] for _ in range(2)]
    (path / "labels.json").write_text(json.dumps(labels))
    made = Photos(open_dataset(path, "training"), PX, with_3d=False)
    assert len(made.hold_out(3)) == 3
    shown = [{index // 2 for index in places} for places in (made.places, set(range(20)) - set(made.places))]
    assert len(shown[1]) == 2
    assert not shown[0] & shown[1]


def test_they_are_read_once_and_kept(tmp_path):
    made = photos(tmp_path / "photos")
    held = made.hold_out(4)
    bad = made.dataset[held[1]].image_path
    bad.write_text("no picture")
    skipped = SkippedSamples()

    def draw(source):
        source = HeldOut([(HeldSamples(source, held, PX), 4)])
        return draw_held_out(source, PoolConfig(1, PX), tmp_path / "kept", skipped, Preparation())

    first = draw(made)
    assert len(first) == 3, "one that cannot be read is left out"
    assert len(skipped) == 1
    made.image = lambda index: pytest.fail("they are made anew")
    assert torch.equal(first.images, draw(made).images)


class Shifted(nn.Module):
    """Says the labelled joints, shifted."""

    def __init__(self, images, shift):
        super().__init__()
        self.flat = images.joints_2d * (2 / PX) - 1 + torch.tensor(shift)

    def forward(self, pixels):
        return SimpleNamespace(joints_2d=Normal(self.flat, torch.ones(()), validate_args=False))


def test_the_2d_error_is_a_share_of_the_hand(tmp_path):
    made = photos(tmp_path)
    images = made.image(0)
    images.joint_confidence[:] = 1
    images.joint_confidence[0, 3] = 0
    images.joints_2d[0, 3] = float("inf")
    found = held_out_errors(Shifted(images, (0.3, 0.4)), images, parts().hand)
    seen = np.delete(images.joints_2d[0].numpy(), 3, 0)
    wanted = 100 * 0.5 * PX / 2 / np.ptp(seen, axis=0).max()
    assert found.error_2d_percent == pytest.approx(wanted, rel=1e-5)
    assert found.pa_mpjpe_mm is None
    assert "2D error" in str(found)
    assert "PA-MPJPE" not in str(found)


def test_a_run_without_a_step_is_an_error_that_says_where_the_time_went(tmp_path):
    for run in ({"max_seconds": 1e-3}, {"stop_after_s": 1e-3}):
        option = "--stop-after" if "stop_after_s" in run else "--max-seconds"
        with pytest.raises(TimeIsUp, match=f"0.001 s of {option} went into preparing"):
            go(tmp_path, run=run)
        assert not (tmp_path / "state.pt").exists()
        assert not (tmp_path / "last").exists()


def test_the_limit_holds_while_pictures_are_made(tmp_path):
    class Slow(TinySource):
        made = 0

        def batch(self, indices):
            Slow.made += 1
            preparation.limit_s = 0  # as if time had passed
            return super().batch(indices)

    preparation = Preparation()
    with pytest.raises(TimeIsUp, match="held-out pictures"):
        draw_held_out(Slow(1), PoolConfig(800, PX), tmp_path / "kept", SkippedSamples(), preparation)
    assert Slow.made == 1
    assert not (tmp_path / "kept").exists()


def test_time_used_up_before_is_no_error_when_resumed(tmp_path):
    assert go(tmp_path, steps=2).step == 2
    before = weights(tmp_path)["progress"]
    said = []
    run = {"resume": True, "max_seconds": 1e-3, "preparation": Preparation(said.append)}
    again = go(tmp_path, run=run, steps=9)
    assert (again.step, again.finished) == (2, True)
    assert weights(tmp_path)["progress"] == before
    assert "no further step" in said[-1]


def test_steps_that_were_all_skipped_are_no_run(tmp_path):
    def loss(*arguments):
        value, terms = objective(*arguments)
        return value * float("nan"), terms

    with pytest.raises(TrainingError, match="None of 3 steps"):
        go(tmp_path, made=parts(loss=loss), steps=3)
    assert not (tmp_path / "last").exists()


def test_what_is_prepared_is_told_from_the_beginning(tmp_path):
    said = []
    go(tmp_path, run={"preparation": Preparation(said.append)}, steps=1)
    assert said[0].startswith("preparing: held-out pictures")
    assert any(text.startswith("preparing: first pictures") for text in said)
    assert any("before the first step: PA-MPJPE of held-out pictures with 3D truth" in text for text in said)
