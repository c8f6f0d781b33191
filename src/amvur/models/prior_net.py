"""The prior-net: image feature → parameters of a parametric hand and its camera (paper, §3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import normalize

from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.hand.model import HandModel
from amvur.hand.prior import make_prior

PoseSpace = Literal["6d", "pca"]
_CAMERA_SCALE = 8.0
"""Crop units a metre of a usual crop: what the camera's scale is a multiple of."""


@dataclass(frozen=True)
class PriorNetConfig:
    """`pose_space`: a 6D rotation a bone (Zhou et al. 2019) or `components` of the anatomical prior's PCA."""

    hidden: int = 512
    pose_space: PoseSpace = "6d"
    components: int = 45
    dropout: float = 0.0


@dataclass(frozen=True)
class HandEstimate:
    """A parametric hand in view axes, wrist at the origin (m), and the weak camera's distribution.

    `camera` is normal over ln(scale / 8) and the translation of 2D joints `scale * xy + translation`
    in crop units (−1 to 1 over the crop); `scale` is in crop units a metre.
    """

    rotations: Float[Tensor, "B 16 3 3"]
    betas: Float[Tensor, "B 10"]
    vertices: Float[Tensor, "B V 3"]
    joints: Float[Tensor, "B 21 3"]
    camera: Normal


def output_sizes(config: PriorNetConfig) -> tuple[int, int, int, int, int]:
    """Return how many numbers the net says of orientation, pose, shape, camera and its spread, in order."""
    return 6, 90 if config.pose_space == "6d" else config.components, 10, 3, 3


class PriorNet(nn.Module):
    """Two-layer perceptron from the feature to orientation, pose, shape and camera."""

    basis: Tensor
    pose_mean: Tensor

    def __init__(self, feature_width: int, hand: HandModel, config: PriorNetConfig) -> None:
        """Prepare for a right hand; `hand`'s arrays never become part of the weights."""
        super().__init__()
        self.config = config
        prior = make_prior(hand)
        values, vectors = torch.linalg.eigh(prior.precision.double())
        # Smallest precision first: the widest directions.
        basis = (vectors / values.sqrt())[:, : config.components]
        self.register_buffer("basis", basis.to(hand.v_template), persistent=False)
        mean = prior.axis_angle(prior.mean) + hand.pose_mean
        self.register_buffer("pose_mean", mean, persistent=False)
        self.register_buffer("axes", prior.axes, persistent=False)
        self.register_buffer("angle_mean", prior.mean, persistent=False)
        self.sizes = output_sizes(config)
        self.body = nn.Sequential(
            nn.Linear(feature_width, config.hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(),
        )
        self.head = nn.Linear(config.hidden, sum(self.sizes))
        nn.init.normal_(self.head.weight, std=1e-3)
        nn.init.zeros_(self.head.bias)

    axes: Tensor
    angle_mean: Tensor

    def forward(self, feature: Float[Tensor, "B D"], hand: HandModel) -> HandEstimate:
        """Return the hand that `hand` makes of the estimated parameters."""
        orient, pose, betas, camera, spread = self.head(self.body(feature)).float().split(self.sizes, -1)
        eye = orient.new_tensor([1.0, 0, 0, 0, 1, 0])
        root = matrix_from_6d(orient + eye)
        local = self._local(pose)
        rotations = torch.cat([root[:, None], local], 1)
        betas = 5 * torch.tanh(betas / 5)
        mesh = hand.from_matrices(rotations, betas)
        wrist = mesh.joints[:, :1]
        normal = Normal(camera, 0.02 + nn.functional.softplus(spread - 2), validate_args=False)
        return HandEstimate(rotations, betas, mesh.vertices - wrist, mesh.joints - wrist, normal)

    def _local(self, pose: Float[Tensor, "B P"]) -> Float[Tensor, "B 15 3 3"]:
        """Return the bones' local rotations, the anatomical prior's mean pose where the net says 0."""
        if self.config.pose_space == "pca":
            angles = self.angle_mean + pose @ self.basis.T
            axis_angle = self.axes.transpose(-1, -2) @ angles.unflatten(-1, (15, 3))[..., None]
            return axis_angle_to_matrix(axis_angle[..., 0])
        mean = axis_angle_to_matrix(self.pose_mean.unflatten(-1, (15, 3)))
        start = mean[..., :2].transpose(-1, -2).flatten(-2)
        return matrix_from_6d(pose.unflatten(-1, (15, 6)) + start)


def matrix_from_6d(vectors: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Turn two 3-vectors into a rotation matrix, its first two columns (Zhou et al. 2019, Gram–Schmidt)."""
    first = normalize(vectors[..., :3], dim=-1)
    along = (first * vectors[..., 3:]).sum(-1, keepdim=True)
    second = normalize(vectors[..., 3:] - along * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def apply_camera(points: Float[Tensor, "B N 3"], camera: Float[Tensor, "B 3"]) -> Float[Tensor, "B N 2"]:
    """Project points in view axes (m) with the weak camera to crop units."""
    return camera_scale(camera)[:, None, None] * points[..., :2] + camera[:, None, 1:]


def camera_scale(camera: Float[Tensor, "B 3"]) -> Float[Tensor, "B"]:
    """Return crop units a metre."""
    return _CAMERA_SCALE * camera[:, 0].clamp(-3, 3).exp()
