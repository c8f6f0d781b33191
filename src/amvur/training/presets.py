"""Named settings: the paper's schemes and settings, the rows of its Tables 3 to 5, and our own weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

from amvur.models.network import Design, NetworkConfig
from amvur.models.prior_net import PriorNetConfig
from amvur.training.config import TrainingConfig
from amvur.training.objective import ObjectiveConfig, Weights


@dataclass(frozen=True)
class Preset:
    """Everything that decides a training run, but for the data."""

    network: NetworkConfig
    objective: ObjectiveConfig
    training: TrainingConfig
    summary: str


_OURS = Weights(
    vertices_likelihood=1.0,
    vertices_divergence=0.05,
    joints_likelihood=1.0,
    joints_divergence=0.05,
    joints_2d_likelihood=0.5,
    joints_2d_divergence=0.02,
    camera=2.0,
    prior_vertices=1.0,
    prior_joints=1.0,
    prior_joints_2d=0.5,
    rotations=3.0,
    betas=0.02,
)
_WEAK = Weights(
    vertices_likelihood=0.0,
    joints_likelihood=0.0,
    vertices_divergence=0.05,
    joints_divergence=0.05,
    joints_2d_likelihood=0.05,
    joints_2d_divergence=0.0,
    camera=0.0,
    camera_divergence=0.02,
    prior_joints_2d=1.0,
    plausible_pose=0.05,
    plausible_shape=0.02,
)
_ALONE = {
    "vertices_divergence": 0.0,
    "joints_divergence": 0.0,
    "joints_2d_divergence": 0.0,
}
_CONSTANT_SCALE = {"vertices_likelihood": 0.1, "joints_likelihood": 0.1, "joints_2d_likelihood": 0.05}
"""For a prior-net alone: with its constant scale likelihoods are squares, which the few lost hands rule."""
_SUPERVISED = ObjectiveConfig(weights=_OURS)
_WEAKLY = ObjectiveConfig(weak=True, weights=_WEAK)
_OUR_TERMS = ("rotations", "betas", "prior_vertices", "prior_joints", "prior_joints_2d")
_PAPER = ObjectiveConfig(beta=0.0, weights=replace(_OURS, **dict.fromkeys(_OUR_TERMS, 0.0)))
"""The paper's terms alone, balanced as ours: for the rows of its Tables 3 and 5."""
_LETTER = ObjectiveConfig(
    beta=0.0,
    weights=Weights(
        vertices_divergence=1.0, joints_divergence=1.0, joints_2d_likelihood=1.0, joints_2d_divergence=1.0
    ),
)
"""Eqs. 3 to 6 summed as they stand: the paper states no weights."""
_PAPER_RUN = TrainingConfig(
    batch_size=32,
    learning_rate=1e-4,
    optimizer="adam",
    schedule="constant",
    augment=False,
    weight_decay=0.0,
    warmup_steps=0,
    clip_norm=1e9,
    ema_decay=0.0,
    precision="32-true",
)
"""§4.1: Adam, batches of 32. It states no learning rate (here 1e-4), no augmentation and none of the other
aids (here: none)."""


def _without(objective: ObjectiveConfig, *names: str) -> ObjectiveConfig:
    return replace(objective, weights=replace(objective.weights, **dict.fromkeys(names, 0.0)))


def _presets() -> dict[str, Preset]:
    """Build the table: name → preset."""
    run = TrainingConfig()
    supervised = NetworkConfig(backbone="resnet50")
    weak = NetworkConfig(backbone="efficientnet_b0")
    default = NetworkConfig(
        backbone="resnet34",
        feature_width=512,
        amvur_mlp_layers=3,
        amvur_base="prior",
        prior_net=PriorNetConfig(hidden=512),
    )
    tiny = NetworkConfig(
        backbone="mobilenetv3_small_050",
        image_px=128,
        feature_width=64,
        amvur_hidden=64,
        amvur_base="prior",
        prior_net=PriorNetConfig(hidden=128),
    )
    alone = replace(_SUPERVISED, weights=replace(_OURS, **_ALONE))
    prior_alone = replace(alone, weights=replace(alone.weights, **_CONSTANT_SCALE))
    weak_alone = replace(_WEAKLY, weights=replace(_WEAK, **_ALONE))
    table = {
        "default": (default, _SUPERVISED, "supervised, small head on resnet34"),
        "paper": (supervised, _LETTER, "the paper to the letter: its terms, ResNet-50, Adam, batches of 32"),
        "supervised": (supervised, _SUPERVISED, "prior-net and AMVUR joined (Tables 1 and 2)"),
        "supervised-prior": (replace(supervised, setting="prior"), prior_alone, "prior-net alone"),
        "supervised-amvur": (replace(supervised, setting="amvur"), alone, "AMVUR alone"),
        "weak": (weak, _WEAKLY, "2D joints only: prior-net and AMVUR joined"),
        "weak-prior": (replace(weak, setting="prior"), weak_alone, "2D joints only: prior-net alone"),
        "weak-amvur": (replace(weak, setting="amvur"), weak_alone, "2D joints only: AMVUR alone"),
        "tiny": (tiny, _SUPERVISED, "a small network at 128 px for a CPU"),
    }
    designs: tuple[Design, ...] = ("connected", "self", "cross", "template")
    for row, design in zip("abcd", designs, strict=True):
        network = replace(supervised, amvur_design=design)
        table[f"table5-{row}"] = (network, _SUPERVISED, f"Table 5, row {row.upper()}: final, {design}")
    table |= _loss_rows(supervised, weak)
    runs = {"paper": _PAPER_RUN}
    return {
        name: Preset(net, objective, runs.get(name, run), text)
        for name, (net, objective, text) in table.items()
    }


def _loss_rows(
    supervised: NetworkConfig, weak: NetworkConfig
) -> dict[str, tuple[NetworkConfig, ObjectiveConfig, str]]:
    """Return the rows that add the loss terms one by one (Table 3 supervised, Table 4 weak)."""
    rows: dict[str, tuple[NetworkConfig, ObjectiveConfig, str]] = {}
    joints = ("joints_likelihood", "joints_divergence")
    flat = ("joints_2d_likelihood", "joints_2d_divergence")
    steps: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("v", (*joints, "camera", *flat)),
        ("v-j", ("camera", *flat)),
        ("v-j-c", flat),
        ("v-j-c-2d", ()),
    )
    for name, dropped in steps:
        rows[f"table3-{name}"] = (supervised, _without(_PAPER, *dropped), f"Table 3, loss terms {name}")
    weak_steps: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("2d", ("camera_divergence", "vertices_divergence", "joints_divergence")),
        ("2d-c", ("vertices_divergence", "joints_divergence")),
        ("2d-c-v", ("joints_divergence",)),
        ("2d-c-v-j", ()),
    )
    for name, dropped in weak_steps:
        rows[f"table4-{name}"] = (weak, _without(_WEAKLY, *dropped), f"Table 4, weak loss terms {name}")
    return rows


PRESETS: dict[str, Preset] = _presets()
