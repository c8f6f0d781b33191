"""Distributions of vertices, joints and 2D joints, pushed forward through the model of the paper (§3.1).

A scale is a standard deviation, always. Errors of the print are not repeated: each function says which.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

VertexErrors = Literal["together", "independent"]


def joint_distribution(
    vertices: Normal, regressor: Float[Tensor, "K V"], errors: VertexErrors = "together"
) -> Normal:
    """Return the distribution of joints J = B V of vertices (…,V,3), with B's rows summing to 1.

    `"together"`: the errors of the vertices around a joint move as one, so its scale is B σ (exact then,
    an upper bound otherwise). `"independent"`: they do not know of each other, so it is sqrt(B² σ²).
    """
    loc = regressor @ vertices.loc
    if errors == "together":
        return Normal(loc, regressor @ vertices.scale, validate_args=False)
    return Normal(loc, (regressor.square() @ vertices.variance).sqrt(), validate_args=False)


def project_distribution(
    joints: Normal,
    scale: Float[Tensor, "*batch"],
    rotation: Float[Tensor, "*batch 3 3"],
    translation: Float[Tensor, "*batch 2"],
) -> Normal:
    """Return the distribution of weak-perspective 2D joints s (R J)_xy + T of joints (…,K,3).

    Its variance is s² (R∘R)_xy σ², with the correlation that R makes between axes left out. T moves the
    mean and never a scale (the print's S_m(σ) adds it: eq. 6).
    """
    rows = rotation[..., :2, :]
    loc = scale[..., None, None] * joints.loc @ rows.transpose(-1, -2) + translation[..., None, :]
    variance = joints.variance @ rows.square().transpose(-1, -2)
    return Normal(loc, scale.abs()[..., None, None] * variance.sqrt(), validate_args=False)


def prior_distribution(loc: Float[Tensor, "*batch N D"], scale: float) -> Normal:
    """Return P(V|I): a normal distribution about the parametric hand, of one named scale."""
    return Normal(loc, torch.full_like(loc, scale), validate_args=False)
