"""The objective: the paper's terms (eqs. 3–8), each switchable and weighted, and what we add to them.

Every term is a mean over coordinates, so that weights do not depend on the number of vertices. Terms
in metres are computed in units of `UNIT_M`. `docs/network.md` maps equations to functions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Normal

from amvur.detect.convention import load_convention
from amvur.geometry.rotations import matrix_to_axis_angle
from amvur.hand.joints import JOINT_BONES
from amvur.hand.model import HandModel
from amvur.hand.prior import make_prior
from amvur.losses import beta_negative_log_likelihood, camera_error, divergence, negative_log_likelihood
from amvur.models.network import HandNetwork, Prediction
from amvur.models.prior_net import apply_camera
from amvur.training.targets import Targets

UNIT_M = 0.01
"""Vertices and joints are compared in centimetres: errors of a trained network are near 1."""
_CROP_UNIT = 0.05
"""2D joints are compared in 20ths of the crop's half width, for the same reason."""


@dataclass(frozen=True)
class Weights:
    """A weight a term; 0 switches it off. The first eight are the paper's, the others ours.

    `*_likelihood` is -ln Q(truth), `*_divergence` KL(Q‖P), of vertices, joints and 2D joints (eqs. 3, 5,
    6), `camera` eq. 4. `prior_*` are squared errors of the prior-net's own output, `rotations` and
    `betas` of its parameters. `camera_divergence`, `plausible_pose` and `plausible_shape` keep the
    weakly supervised scheme (eqs. 7, 8) among hands; `prior_joints_2d` makes its prior-net see.
    """

    vertices_likelihood: float = 1.0
    vertices_divergence: float = 0.1
    joints_likelihood: float = 1.0
    joints_divergence: float = 0.1
    joints_2d_likelihood: float = 0.5
    joints_2d_divergence: float = 0.05
    camera: float = 1.0
    camera_divergence: float = 0.0
    prior_vertices: float = 0.0
    prior_joints: float = 0.0
    prior_joints_2d: float = 0.0
    rotations: float = 0.0
    betas: float = 0.0
    plausible_pose: float = 0.0
    plausible_shape: float = 0.0


@dataclass(frozen=True)
class ObjectiveConfig:
    """`weak`: only 2D joints and their confidences are looked at. `beta` weighs likelihoods by σ^(2β)
    without gradient (`beta_negative_log_likelihood`): 0 is the paper's, 0.5 keeps large scales from
    starving the mean. `pixel_std` is the standard deviation of weak 2D labels in crop units."""

    weak: bool = False
    beta: float = 0.5
    pixel_std: float = 0.02
    weights: Weights = field(default_factory=Weights)


class Objective:
    """Sums the weighted terms of a prediction against its targets."""

    def __init__(self, config: ObjectiveConfig, network: HandNetwork) -> None:
        """Prepare the hand prior of the weak scheme for the network's hand model."""
        self.config = config
        self._hand = network.hand
        self._prior = make_prior(network.hand)

    def __call__(
        self,
        prediction: Prediction,
        targets: Targets,
        step: int = 0,
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss and its unweighted terms; `generator` draws the weak scheme's samples."""
        if self.config.weak:
            terms = self._weak(prediction, targets, generator)
        else:
            terms = self._supervised(prediction, targets.finite_3d())
        weights = vars(self.config.weights)
        total = sum((weights[name] * value for name, value in terms.items() if weights[name]), 0.0)
        return torch.as_tensor(total), terms

    def _supervised(self, p: Prediction, t: Targets) -> dict[str, Tensor]:
        beta = self.config.beta
        confidence = t.joint_confidence[..., None].expand_as(t.joints_2d)
        # detectors' landmarks are no truth for joints; what is not labelled in 3D takes part in no other term
        confidence = confidence * (~t.by_detector)[:, None, None]
        has = t.has_3d
        vertices, joints = scaled(p.vertices, UNIT_M), scaled(p.joints, UNIT_M)
        flat = scaled(p.joints_2d, _CROP_UNIT)
        prior_vertices, prior_joints = scaled(p.prior_vertices, UNIT_M), scaled(p.prior_joints, UNIT_M)
        prior_flat = scaled(p.prior_joints_2d, _CROP_UNIT)
        likelihood = beta_negative_log_likelihood if beta else negative_log_likelihood
        options = {"beta": beta} if beta else {}
        joined = p.vertices is not p.prior_vertices
        truth = t.vertices if p.rows is None else t.vertices[:, p.rows]
        terms = {
            "vertices_likelihood": marked_mean(likelihood(vertices, truth / UNIT_M, **options), has),
            "joints_likelihood": marked_mean(likelihood(joints, t.joints / UNIT_M, **options), has),
            "joints_2d_likelihood": weighted_mean(
                likelihood(flat, t.joints_2d / _CROP_UNIT, **options), confidence
            ),
            "camera": marked_mean(camera_error(p.hand.camera.loc, t.camera), has),
            "prior_vertices": marked_mean(absolute(prior_vertices.loc, truth / UNIT_M), has),
            "prior_joints": marked_mean(absolute(prior_joints.loc, t.joints / UNIT_M), has),
            "prior_joints_2d": weighted_mean(absolute(prior_flat.loc, t.joints_2d / _CROP_UNIT), confidence),
            "rotations": marked_mean((p.hand.rotations - t.rotations).square(), has),
            "betas": marked_mean((p.hand.betas - t.betas).square(), has),
        }
        if joined:
            terms["vertices_divergence"] = marked_mean(divergence(vertices, prior_vertices), has)
            terms["joints_divergence"] = marked_mean(divergence(joints, prior_joints), has)
            terms["joints_2d_divergence"] = marked_mean(divergence(flat, prior_flat), has)
        return terms

    def _weak(self, p: Prediction, t: Targets, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Return eqs. 7–8: samples of vertices and camera must explain the 2D joints, and stay near P."""
        confidence = t.joint_confidence[..., None].expand_as(t.joints_2d)
        label = torch.where(confidence > 0, t.joints_2d, 0)
        vertices = drawn(p.vertices, generator)
        regressor = self._hand.joint_regressor
        joints = (regressor if p.rows is None else regressor[:, p.rows]) @ vertices
        camera = drawn(p.hand.camera, generator)
        shift = detector_shift(p, self._hand) * t.by_detector[:, None, None]
        flat = apply_camera(joints - joints[:, :1] + shift, camera)
        spread = Normal(flat, torch.full_like(flat, self.config.pixel_std), validate_args=False)
        prior_flat = p.prior_joints_2d.loc + flat_shift(p, shift)
        terms = {
            "joints_2d_likelihood": weighted_mean(
                negative_log_likelihood(scaled(spread, _CROP_UNIT), label / _CROP_UNIT), confidence
            ),
            "camera_divergence": divergence(p.hand.camera, _usual_camera(p.hand.camera)).mean(),
            "prior_joints_2d": weighted_mean(
                absolute(prior_flat / _CROP_UNIT, label / _CROP_UNIT), confidence
            ),
            "plausible_pose": self._pose_cost(p),
            "plausible_shape": p.hand.betas.square().mean(),
        }
        if p.vertices is not p.prior_vertices:
            prior_joints = scaled(p.prior_joints, UNIT_M)
            terms["vertices_divergence"] = divergence(
                scaled(p.vertices, UNIT_M), scaled(p.prior_vertices, UNIT_M)
            ).mean()
            terms["joints_divergence"] = divergence(scaled(p.joints, UNIT_M), prior_joints).mean()
        return terms

    def _pose_cost(self, p: Prediction) -> Float[Tensor, ""]:
        """Return the anatomical prior's squared residuals, soft limits included, per angle."""
        prior = self._prior = self._prior.to(p.hand.betas)
        angles = prior.angles(matrix_to_axis_angle(p.hand.rotations[:, 1:]))
        offset = angles - prior.mean
        cost = ((offset @ prior.precision) * offset).sum(-1)
        over = (angles - prior.upper).clamp_min(0) + (prior.lower - angles).clamp_min(0)
        return (cost + (over / prior.limit_scale).square().sum(-1)).mean() / angles.shape[-1]


def scaled(distribution: Normal, unit: float) -> Normal:
    """Return a distribution in another unit."""
    return Normal(distribution.loc / unit, distribution.scale / unit, validate_args=False)


def drawn(distribution: Normal, generator: torch.Generator | None) -> Tensor:
    """Draw one sample with gradients to mean and scale (reparameterisation)."""
    loc = distribution.loc
    noise = torch.randn(loc.shape, generator=generator, device=loc.device, dtype=loc.dtype)
    return loc + distribution.scale * noise


def detector_shift(p: Prediction, hand: HandModel) -> Float[Tensor, "B 21 3"]:
    """Return how far MediaPipe's landmarks lie from the joints of the predicted hands (m, view axes)."""
    # the turn of a bone is all that matters: without gradient the labels cannot bend a hand by it
    rotations = p.hand.rotations.detach().float()
    turns = hand.pose(rotations, hand.joint_template.expand(len(rotations), -1, -1))[0][:, list(JOINT_BONES)]
    offsets = torch.from_numpy(load_convention("mediapipe").offsets_m).to(turns)
    return (turns @ offsets[..., None])[..., 0]


def flat_shift(p: Prediction, shift: Float[Tensor, "B 21 3"]) -> Float[Tensor, "B 21 2"]:
    """Return what a shift of joints is in the picture, by the prior-net's mean camera."""
    camera = p.hand.camera.loc
    return apply_camera(shift, camera) - camera[:, None, 1:]


def marked_mean(values: Float[Tensor, "B *shape"], marked: Bool[Tensor, "B"]) -> Float[Tensor, ""]:
    """Return the mean over the marked pictures, 0 without any."""
    if bool(marked.all()):
        return values.mean()
    weight = marked.to(values).view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    return weighted_mean(values, weight)


def weighted_mean(values: Float[Tensor, "*shape"], weight: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the weighted mean; what weighs nothing may be anything, NaN too."""
    kept = torch.where(weight > 0, values, torch.zeros_like(values))
    return (kept * weight).sum() / weight.sum().clamp_min(1e-6)


def absolute(a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return a smooth absolute difference: quadratic below 0.1, linear above (Huber)."""
    return torch.nn.functional.smooth_l1_loss(a, b, beta=0.1, reduction="none")


def _usual_camera(like: Normal) -> Normal:
    """Return the prior of the weak camera: a hand that fills about half of the crop, near its middle."""
    scale = like.scale.new_tensor([0.4, 0.5, 0.5]).expand_as(like.scale)
    return Normal(torch.zeros_like(like.loc), scale, validate_args=False)
