"""AMVUR: attention-based mesh vertices uncertainty regression (paper, §3.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from amvur.models.attention import Attention, TokenMlp, TokenNorm, feature_tokens


@dataclass(frozen=True)
class AmvurConfig:
    """The head's size. The paper: one cross and one self block, one head, no normalisation.

    `scale_range` bounds the standard deviations, in the network's unit (`length_unit_m`).
    """

    feature_width: int = 2048
    hidden: int = 256
    blocks: int = 1
    heads: int = 1
    normalize: bool = False
    length_unit_m: float = 0.1
    scale_range: tuple[float, float] = (1e-3, 1.0)


class AmvurHead(nn.Module):
    """Image feature → distribution Q(V|I) of every vertex coordinate, in the template's frame and unit.

    Tokens are [F; x] of template vertices and joints in zero pose; vertices attend to joints (eq. 9),
    then to each other (eq. 10); two MLPs give the mean, as an offset from the template, and the standard
    deviation. Template coordinates are non-persistent buffers: weights never hold a hand model.
    """

    vertices: Tensor
    joints: Tensor

    def __init__(
        self, vertices: Float[Tensor, "V 3"], joints: Float[Tensor, "K 3"], config: AmvurConfig
    ) -> None:
        """Take the zero-pose template (m), wrist at the origin."""
        super().__init__()
        self.config = config
        unit = config.length_unit_m
        self.register_buffer("vertices", vertices / unit, persistent=False)
        self.register_buffer("joints", joints / unit, persistent=False)
        width = config.feature_width + 3
        self.cross, self.self_ = (
            nn.ModuleList(Attention(width, config.heads) for _ in range(config.blocks)) for _ in range(2)
        )
        self.norms = nn.ModuleList(TokenNorm(width) for _ in range(2 * config.blocks * config.normalize))
        self.mean, self.raw_scale = (TokenMlp(width, config.hidden, 3) for _ in range(2))
        nn.init.zeros_(self.mean.second.weight)
        nn.init.zeros_(self.mean.second.bias)

    def forward(self, feature: Float[Tensor, "B F"]) -> Normal:
        """Return Normal(loc, scale) of (B,V,3) root-relative vertices in metres."""
        keys = feature_tokens(feature, self.joints)
        tokens = feature_tokens(feature, self.vertices)
        norms = iter(self.norms)
        for cross, self_ in zip(self.cross, self.self_, strict=True):
            tokens = cross(tokens, keys)
            tokens = next(norms).factored(tokens) if self.config.normalize else tokens
            tokens = self_(tokens, tokens)
            tokens = next(norms).factored(tokens) if self.config.normalize else tokens
        return self._distribution(self.mean(tokens), self.raw_scale(tokens))

    def dense(self, feature: Float[Tensor, "B F"]) -> Normal:
        """Return the same distribution by the textbook form: the reference."""
        keys = feature_tokens(feature, self.joints).dense()
        tokens = feature_tokens(feature, self.vertices).dense()
        norms = iter(self.norms)
        for cross, self_ in zip(self.cross, self.self_, strict=True):
            tokens = cross.dense(tokens, keys)
            tokens = next(norms)(tokens) if self.config.normalize else tokens
            tokens = self_.dense(tokens, tokens)
            tokens = next(norms)(tokens) if self.config.normalize else tokens
        return self._distribution(self.mean.dense(tokens), self.raw_scale.dense(tokens))

    def _distribution(self, offset: Float[Tensor, "B V 3"], raw_scale: Float[Tensor, "B V 3"]) -> Normal:
        """Place the mean about the template and bound the scale between the limits (sigmoid of its log)."""
        low, high = (math.log(v) for v in self.config.scale_range)
        log_scale = low + (high - low) * raw_scale.sigmoid()
        unit = self.config.length_unit_m
        return Normal(unit * (self.vertices + offset), unit * log_scale.exp(), validate_args=False)
