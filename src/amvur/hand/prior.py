"""The prior over pose (`amvur.hand.prior_arrays`) as tensors, for training and for drawing poses."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from amvur.hand.model import HandModel
from amvur.hand.prior_arrays import PriorSettings, prior_arrays


@dataclass(frozen=True)
class HandPrior:
    """A Gaussian over anatomical angles with soft limits: residuals of unit scale, linear in the angles.

    The fields are those of `PriorArrays`.
    """

    axes: Float[Tensor, "15 3 3"]
    precision: Float[Tensor, "45 45"]
    mean: Float[Tensor, "45"]
    lower: Float[Tensor, "45"]
    upper: Float[Tensor, "45"]
    limit_scale: float
    pose_mean: Float[Tensor, "45"]

    def to(self, like: Tensor) -> HandPrior:
        """Return the prior where and as precise as a tensor is: itself, if it is so already."""
        if self.mean.device == like.device and self.mean.dtype == like.dtype:
            return self
        names = [f.name for f in fields(self) if f.name != "limit_scale"]
        return replace(self, **{name: getattr(self, name).to(like) for name in names})

    def angles(self, local_axis_angle: Float[Tensor, "*batch 15 3"]) -> Float[Tensor, "*batch 45"]:
        """Return the anatomical angles (rad) of local rotations given as axis-angle."""
        return (self.axes @ local_axis_angle[..., None])[..., 0].flatten(-2)

    def axis_angle(self, angles: Float[Tensor, "*batch 45"]) -> Float[Tensor, "*batch 45"]:
        """Return the model's `hand_pose` (axis-angle, `pose_mean` taken off) of anatomical angles."""
        local: Tensor = (self.axes.transpose(-1, -2) @ angles.unflatten(-1, (15, 3))[..., None])[..., 0]
        return local.flatten(-2) - self.pose_mean

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n 45"]:
        """Draw anatomical angles from the Gaussian, reflected into the range of motion."""
        factor = torch.linalg.cholesky(self.precision)
        noise = torch.randn(n, 45, generator=generator, dtype=self.mean.dtype)
        drawn = self.mean + torch.linalg.solve_triangular(factor.T, noise.T, upper=True).T
        inside = torch.where(drawn < self.lower, 2 * self.lower - drawn, drawn)
        inside = torch.where(inside > self.upper, 2 * self.upper - inside, inside)
        return torch.maximum(torch.minimum(inside, self.upper), self.lower)

    def violation_deg(self, angles: Float[Tensor, "*batch 45"]) -> Float[Tensor, "*batch 45"]:
        """Return by how many degrees angles leave the range of motion (0 inside)."""
        over = (angles - self.upper).clamp_min(0) + (self.lower - angles).clamp_min(0)
        return torch.rad2deg(over)


def make_prior(model: HandModel, settings: PriorSettings | None = None) -> HandPrior:
    """Build the prior of a hand model, on the model's dtype and device."""
    arrays, like = prior_arrays(model.arrays, settings), model.pose_axes
    values = {f.name: getattr(arrays, f.name) for f in fields(arrays)}
    tensors = {n: torch.as_tensor(v).to(like) for n, v in values.items() if n != "limit_scale"}
    return HandPrior(limit_scale=arrays.limit_scale, **tensors)
