"""What a run measures meanwhile: the prior-net's hand beside AMVUR's, and which weights are the best so far."""

import json
from types import SimpleNamespace

import pytest
import tiny_run
import torch
from test_training_objective import labelled

from amvur.training.held_out import HeldOutErrors, held_out_errors
from amvur.training.run_state import Progress
from amvur.training.targets import targets_of
from amvur.training.validation import Validation


class Both(torch.nn.Module):
    """A network of both whose Q lies nearer to the truth than its P."""

    def __init__(self, setting):
        super().__init__()
        self.config, self.truth = SimpleNamespace(setting=setting), None

    def forward(self, images):
        off = torch.randn(self.truth.shape, generator=torch.Generator().manual_seed(0))
        near, far = (SimpleNamespace(loc=self.truth + size * off) for size in (0.002, 0.006))
        return SimpleNamespace(joints=near, prior_joints=far)


def test_the_prior_nets_hand_is_measured_beside_amvurs():
    images, hand = labelled(4)
    for setting in ("final", "prior"):
        network = Both(setting)
        network.truth = targets_of(images, hand).joints
        found = held_out_errors(network, images, hand)
        assert found.pa_mpjpe_mm > 0
        if setting == "final":
            assert found.prior_pa_mpjpe_mm == pytest.approx(3 * found.pa_mpjpe_mm, rel=0.1)
            assert "prior-net's own hand" in str(found)
        else:
            assert found.prior_pa_mpjpe_mm is None


def test_the_best_is_that_of_the_least_error_in_space_where_that_is_known():
    assert HeldOutErrors(7.0, 3.0).figure == 7.0
    assert HeldOutErrors(None, 3.0).figure == 3.0
    validation = Validation(tiny_run.parts().hand, Progress())
    for error, best in (
        (None, False),
        (9.0, True),
        (9.5, False),
        (9.0, False),
        (float("inf"), False),
        (8.0, True),
    ):
        validation.progress.held_out_mm = error
        assert validation.is_best() == best
    assert validation.progress.best == 8.0


def test_the_best_weights_are_kept_beside_the_last(tmp_path):
    tiny_run.go(tmp_path, steps=6, evaluate_every=2)
    kept, last = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("best", "last"))
    assert last["card"]["step"] == 6
    assert kept["card"]["step"] in (2, 4, 6)
    assert kept["card"]["held_out_pa_mpjpe_mm"] <= last["card"]["held_out_pa_mpjpe_mm"]
