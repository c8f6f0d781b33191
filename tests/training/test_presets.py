"""Presets and the options that change them: the paper to the letter, its tables, what cannot be asked for."""

import itertools
import math
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from amvur.cli.options import Train
from amvur.cli.train import check_train, find_preset
from amvur.errors import InputError, ModelFileError
from amvur.models.backbone import Backbone
from amvur.training.backbone_weights import load_backbone
from amvur.training.config import TrainingConfig
from amvur.training.objective import Weights
from amvur.training.optimization import learning_rate, make_optimizer
from amvur.training.presets import PRESETS

PAPERS = {
    f"{what}_{kind}" for what in ("vertices", "joints", "joints_2d") for kind in ("likelihood", "divergence")
}


def switched_on(name):
    return {term for term, weight in vars(PRESETS[name].objective.weights).items() if weight}


def differs(one, other):
    return {field.name for field in fields(one) if getattr(one, field.name) != getattr(other, field.name)}


def test_the_papers_preset_is_the_papers():
    paper = PRESETS["paper"]
    assert switched_on("paper") == PAPERS | {"camera"}
    assert {vars(paper.objective.weights)[term] for term in switched_on("paper")} == {1.0}
    run = paper.training
    assert (run.optimizer, run.batch_size, run.augment, run.ema_decay) == ("adam", 32, False, 0.0)
    assert paper.network.backbone == "resnet50"
    assert (paper.network.setting, paper.network.amvur_base) == ("final", "template")
    assert learning_rate(run, 0, 0.0) == learning_rate(run, 10_000, 1.0) == run.learning_rate


def test_rows_of_table_4_add_one_term_each():
    rows = [switched_on(f"table4-{row}") for row in ("2d", "2d-c", "2d-c-v", "2d-c-v-j")]
    added = [after - before for before, after in itertools.pairwise(rows)]
    assert added == [{"camera_divergence"}, {"vertices_divergence"}, {"joints_divergence"}]
    assert all(before < after for before, after in itertools.pairwise(rows))


def test_rows_of_table_5_are_final_models_of_one_difference():
    networks = [PRESETS[f"table5-{row}"].network for row in "abcd"]
    assert {network.setting for network in networks} == {"final"}
    assert all(differs(network, networks[-1]) <= {"amvur_design"} for network in networks)
    assert networks[-1] == PRESETS["supervised"].network


def options(**changes):
    return Train(output=Path("out"), **{"preset": "tiny", **changes})


def test_every_choice_is_an_option():
    told = find_preset(
        options(
            backbone="resnet18",
            learning_rate=3e-4,
            optimizer="adam",
            weights=("vertices_divergence=0.5", "camera=0"),
            prior_std_mm=7.0,
            no_augment=True,
        )
    )
    assert (told.network.backbone, told.network.prior_std_mm) == ("resnet18", 7.0)
    assert (told.training.learning_rate, told.training.optimizer, told.training.augment) == (
        3e-4,
        "adam",
        False,
    )
    usual = PRESETS["tiny"].objective.weights
    assert differs(told.objective.weights, usual) == {"vertices_divergence", "camera"}
    assert (told.objective.weights.vertices_divergence, told.objective.weights.camera) == (0.5, 0.0)
    assert find_preset(options()) == PRESETS["tiny"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": ("vertices=1",)}, "a TERM of .*vertices_likelihood.*'vertices=1'"),
        ({"weights": ("camera=much",)}, "--weights camera wants a number .*'much'"),
        ({"weights": ("camera=-1",)}, "at least 0"),
        ({"weights": ("camera",)}, "--weights camera"),
    ],
)
def test_terms_that_are_none_are_listed(changes, message):
    with pytest.raises(InputError, match=message):
        find_preset(options(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.0}, "--learning-rate"),
        ({"learning_rate": math.inf}, "--learning-rate"),
        ({"prior_std_mm": -1.0}, "--prior-std-mm"),
        ({"start": "default", "backbone": "resnet18"}, "Leave --backbone out"),
        ({"start": "default", "pretrained": "download"}, "Leave --pretrained out"),
    ],
)
def test_options_that_cannot_work_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        check_train(options(**changes))


def test_the_optimizer_is_the_one_asked_for():
    layer = torch.nn.Linear(2, 2)
    for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        assert type(make_optimizer(layer, TrainingConfig(optimizer=name))) is kind
    assert len(fields(Weights)) == len(vars(PRESETS["tiny"].objective.weights))


@pytest.fixture(scope="module")
def backbone():
    return Backbone("mobilenetv3_small_050")


@pytest.mark.parametrize("kind", ["safetensors", "pth", "pth in a state_dict"])
def test_a_backbones_weights_come_from_a_file(tmp_path, backbone, kind):
    other = Backbone("mobilenetv3_small_050").network
    state = {**other.state_dict(), "classifier.weight": torch.zeros(3, 4)}
    path = tmp_path / f"weights.{kind.split()[0]}"
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state} if "state_dict" in kind else state, path)
    load_backbone(backbone, path)
    for name, value in backbone.network.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name])


def test_other_files_are_named(tmp_path, backbone):
    other = Backbone("resnet18").network.state_dict()
    save_file(other, tmp_path / "resnet.safetensors")
    with pytest.raises(ModelFileError, match=r"resnet\.safetensors do not fit.*is missing"):
        load_backbone(backbone, tmp_path / "resnet.safetensors")
    (tmp_path / "a.pth").write_bytes(b"no weights")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("a.pth", "list.pth", "absent.pth"):
        with pytest.raises(InputError, match=name):
            load_backbone(backbone, tmp_path / name)
    with pytest.raises(InputError, match="of its own"):
        load_backbone(torch.nn.Linear(2, 2), tmp_path / "resnet.safetensors")


@pytest.mark.parametrize(("name", "first"), [("resnet18", "conv1"), ("efficientnet_b0", "conv_stem")])
def test_the_feature_map_is_the_first_convolutions(name, first):
    """§4.1; at half the picture's size."""
    found = Backbone(name)
    shallow = found(torch.zeros(1, 3, 64, 64)).shallow
    assert shallow.shape == (1, getattr(found.network, first).out_channels, 32, 32)
    assert found.shallow_width == shallow.shape[1]
