"""The whole network: backbone, prior-net and AMVUR head, one picture of a right hand to distributions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.distributions import Normal

from amvur.distributions import VertexErrors, joint_distribution, prior_distribution, project_distribution
from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.models.amvur import AmvurConfig, AmvurHead, FullyConnectedHead
from amvur.models.backbone import make_backbone
from amvur.models.features import Features
from amvur.models.folded import folded
from amvur.models.landmark_backbone import LandmarkBackbone
from amvur.models.prior_net import HandEstimate, PriorNet, PriorNetConfig, camera_scale
from amvur.settings import from_json

Setting = Literal["prior", "amvur", "final"]
Crop = Literal["square", "upright"]
_LARGEST_PX = 2048
Design = Literal["connected", "self", "cross", "template"]


@dataclass(frozen=True)
class NetworkConfig:
    """All that decides the network's shape; plain values, so that it can be stored beside the weights.

    `setting`: prior-net alone, AMVUR alone, or both joined (the paper's final model). The feature is
    mapped to `feature_width` numbers before the heads (0: used as it is, as in the paper). `prior_std_mm` is
    σ_p of P(V|I); `joint_scale` says how vertex errors move together (`distributions`). With
    `amvur_base="prior"` AMVUR's mean is an offset from the prior-net's hand instead of the template (ours).
    In training only `amvur_training_vertices` random vertices beside those that make the joints attend and
    are compared (0: all): the others stand for more of the same.
    `crop` says what pictures it learned from: any square about a hand, or one turned so that the fingers
    point up (`amvur.models.upright`).
    """

    backbone: str = "resnet50"
    image_px: int = 224
    setting: Setting = "final"
    feature_width: int = 0
    hand_model: str = "open"
    prior_std_mm: float = 10.0
    joint_scale: VertexErrors = "together"
    prior_net: PriorNetConfig = field(default_factory=PriorNetConfig)
    amvur_hidden: int = 256
    amvur_blocks: int = 1
    amvur_heads: int = 1
    amvur_normalize: bool = False
    amvur_design: Design = "template"
    amvur_mlp_layers: int = 2
    amvur_base: Literal["template", "prior"] = "template"
    amvur_training_vertices: int = 0
    crop: Crop = "square"

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> NetworkConfig:
        """Rebuild a configuration from `dataclasses.asdict`'s result after a way through JSON.

        Raises `TypeError` for what is none and `ValueError` for pictures of a size that none has.
        """
        config = from_json(NetworkConfig, values)
        if not 32 <= config.image_px <= _LARGEST_PX:
            raise ValueError(f"image_px cannot be {config.image_px}")
        return config


@dataclass(frozen=True)
class Prediction:
    """What the network says of B right hands; metres, view axes, wrist at the origin, crop units.

    View axes: the camera's, turned by the smallest rotation that takes the ray through the crop's
    centre to the optical axis. `vertices`, `joints` and `joints_2d` are Q, `prior_*` are P (of the
    prior-net); without an AMVUR head Q is P. `hand` holds parameters and camera; without a prior-net
    its mesh takes no part. `rows` are the vertices that `vertices` and `prior_vertices` hold; None: all.
    """

    vertices: Normal
    joints: Normal
    joints_2d: Normal
    prior_vertices: Normal
    prior_joints: Normal
    prior_joints_2d: Normal
    hand: HandEstimate
    rows: Int64[Tensor, "N"] | None
    feature: Float[Tensor, "B D"]
    feature_map: Float[Tensor, "B C h w"]


class HandNetwork(nn.Module):
    """Pictures of right hands → `Prediction`. The hand model's arrays are not part of the weights."""

    template: Tensor

    def __init__(self, config: NetworkConfig, hand: HandModel, pretrained: bool = False) -> None:
        """Build for `hand` (right); `pretrained` asks timm for the backbone's weights."""
        super().__init__()
        self.config = config
        self.hand = hand
        self.backbone = make_backbone(config.backbone, pretrained)
        width = config.feature_width or self.backbone.width
        self.project = nn.Linear(self.backbone.width, width) if config.feature_width else nn.Identity()
        self.prior_net = PriorNet(width, hand, config.prior_net)
        self.amvur: nn.Module | None = None
        if config.setting != "prior":
            template = hand(*(hand.v_template.new_zeros(1, n) for n in (3, 45, 10)))
            root = template.joints[0, 0]
            sizes = AmvurConfig(
                width,
                config.amvur_hidden,
                config.amvur_blocks,
                config.amvur_heads,
                config.amvur_normalize,
                mlp_layers=config.amvur_mlp_layers,
            )
            vertices, joints = template.vertices[0] - root, template.joints[0] - root
            self.register_buffer("template", vertices, persistent=False)
            if config.amvur_design == "connected":
                self.amvur = FullyConnectedHead(vertices, sizes)
            else:
                self.amvur = AmvurHead(vertices, joints, sizes, config.amvur_design)

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Prediction:
        """Estimate right hands in RGB pictures in [0, 1]."""
        return self.estimate(self.backbone(images))

    def estimate(self, features: Features) -> Prediction:
        """Estimate right hands from the backbone's features."""
        feature = self.project(features.pooled)
        # Meshes and scales need more than the few bits of mixed precision.
        with torch.autocast(feature.device.type, enabled=False):
            estimate = self.prior_net(feature.float(), self.hand)
        rows = self._rows() if self.training else None
        prior = prior_distribution(_chosen(estimate.vertices, rows), self.config.prior_std_mm / 1000)
        posterior = prior if self.amvur is None else self._posterior(feature, estimate, rows)
        with torch.autocast(feature.device.type, enabled=False):
            joints, joints_2d = self._push(posterior, estimate, rows)
            prior_joints, prior_2d = (
                (joints, joints_2d) if posterior is prior else self._push(prior, estimate, rows)
            )
        return Prediction(
            posterior,
            joints,
            joints_2d,
            prior,
            prior_joints,
            prior_2d,
            estimate,
            rows,
            feature,
            features.shallow,
        )

    def fold(self) -> HandNetwork:
        """Make inference faster (`amvur.models.folded`); the weights can no longer be saved."""
        if isinstance(self.backbone, LandmarkBackbone):
            self.backbone.trunk.fold()
        if self.amvur is not None:
            self.amvur = folded(self.amvur)
        return self

    def _rows(self) -> Int64[Tensor, "N"] | None:
        """Draw the vertices of a training step: all that the joints are made of, and some of the others."""
        count = self.config.amvur_training_vertices
        if self.amvur is None or not count:
            return None
        used = (self.hand.joint_regressor != 0).any(0)
        others = (~used).nonzero()[:, 0]
        drawn = others[torch.randperm(len(others), device=others.device)[:count]]
        return torch.cat([used.nonzero()[:, 0], drawn])

    def _posterior(
        self, feature: Float[Tensor, "B D"], estimate: HandEstimate, rows: Int64[Tensor, "N"] | None
    ) -> Normal:
        """Return Q(V|I) of the AMVUR head, about the template or the prior-net's hand."""
        assert self.amvur is not None
        distribution: Normal = self.amvur(feature) if rows is None else self.amvur(feature, rows)
        loc = distribution.loc
        if self.config.amvur_base == "prior":
            loc = loc + _chosen(estimate.vertices - self.template, rows)
        return Normal(loc, distribution.scale, validate_args=False)

    def _push(
        self, vertices: Normal, estimate: HandEstimate, rows: Int64[Tensor, "N"] | None
    ) -> tuple[Normal, Normal]:
        """Push a distribution of vertices forward to joints and, by the mean camera, to 2D joints."""
        regressor = self.hand.joint_regressor if rows is None else self.hand.joint_regressor[:, rows]
        joints = joint_distribution(vertices, regressor, self.config.joint_scale)
        root = joints.loc[:, :1]
        joints = Normal(joints.loc - root, joints.scale, validate_args=False)
        camera = estimate.camera.loc
        eye = torch.eye(3, dtype=camera.dtype, device=camera.device).expand(camera.shape[0], 3, 3)
        return joints, project_distribution(joints, camera_scale(camera), eye, camera[:, 1:])


def _chosen(vertices: Float[Tensor, "B V 3"], rows: Int64[Tensor, "N"] | None) -> Float[Tensor, "B N 3"]:
    return vertices if rows is None else vertices[:, rows]


def make_network(config: NetworkConfig, pretrained: bool = False) -> HandNetwork:
    """Build a network for the hand model that its configuration names; raises what loading that raises."""
    return HandNetwork(config, HandModel(load_hand_model(config.hand_model)), pretrained)
