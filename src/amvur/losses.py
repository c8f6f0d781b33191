"""The terms of the paper's objective (eqs. 3–6), unreduced: the caller masks and averages.

Where the print is wrong (the ratio in eq. 3's logarithm is upside down, eqs. 3, 5 and 6 use σ as a variance
in one term and as a standard deviation in the other) these are the right ones.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal, kl_divergence


def negative_log_likelihood(distribution: Normal, target: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return -ln Q(target) of every coordinate: (x - μ)² / 2σ² + ln(σ √2π)."""
    nll: Tensor = -distribution.log_prob(target)
    return nll


def beta_negative_log_likelihood(
    distribution: Normal, target: Float[Tensor, "*shape"], beta: float = 0.5
) -> Float[Tensor, "*shape"]:
    """Return the negative log-likelihood weighted by σ^(2β), the weight without gradient.

    At β = 1 the mean learns as under a squared error, so that early large scales cannot starve it
    (Seitzer et al., "On the pitfalls of heteroscedastic uncertainty estimation", 2022).
    """
    return negative_log_likelihood(distribution, target) * distribution.variance.detach() ** beta


def divergence(posterior: Normal, prior: Normal) -> Float[Tensor, "*shape"]:
    """Return KL(Q‖P) of every coordinate: ln(σ_p/σ) + (σ² + (μ - μ_p)²) / 2σ_p² - ½."""
    kl: Tensor = kl_divergence(posterior, prior)
    return kl


def camera_error(
    predicted: Float[Tensor, "*batch C"], target: Float[Tensor, "*batch C"]
) -> Float[Tensor, "*batch C"]:
    """Return the squared error of every camera parameter (eq. 4)."""
    return (predicted - target).square()


def color_negative_log_likelihood(
    colors: Float[Tensor, "*batch 3"],
    scale: Float[Tensor, "*batch"],
    target: Float[Tensor, "*batch 3"],
    beta: float = 0.5,
) -> Float[Tensor, "*batch"]:
    """Return the β-weighted negative log-likelihood of a color whose channels share one σ, mean of three.

    See `beta_negative_log_likelihood`; colors are sRGB in [0, 1] and `scale` is in the same unit.
    """
    distribution = Normal(colors, scale[..., None].expand_as(colors), validate_args=False)
    return beta_negative_log_likelihood(distribution, target, beta).mean(-1)


def masked_color_error(
    rendered: Float[Tensor, "*batch 3"], image: Float[Tensor, "*batch 3"], mask: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Return the squared color difference of every pixel inside the occlusion mask, 0 outside (eq. 12).

    Eq. 12 is the root of the sum of these over a picture.
    """
    return (rendered - image).square().sum(-1) * mask
