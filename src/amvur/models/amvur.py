"""AMVUR: attention-based mesh vertices uncertainty regression (paper, §3.3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from amvur.models.attention import AffineTokens, Attention, TokenMlp, TokenNorm, feature_tokens


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
        self.cross, self.inner = (
            nn.ModuleList(Attention(width, config.heads) for _ in range(config.blocks)) for _ in range(2)
        )
        self.norms = nn.ModuleList(TokenNorm(width) for _ in range(2 * config.blocks * config.normalize))
        self.mean, self.raw_scale = (TokenMlp(width, config.hidden, 3) for _ in range(2))
        nn.init.zeros_(self.mean.second.weight)
        nn.init.zeros_(self.mean.second.bias)

    def forward(self, feature: Float[Tensor, "B F"]) -> Normal:
        """Return Normal(loc, scale) of (B,V,3) root-relative vertices in metres."""
        keys, tokens = feature_tokens(feature, self.joints), feature_tokens(feature, self.vertices)
        for cross, inner, norms in self._blocks():
            tokens = _normalized(norms, 0, cross(tokens, keys))
            tokens = _normalized(norms, 1, inner(tokens, tokens))
        return self._distribution(self.mean(tokens), self.raw_scale(tokens))

    def dense(self, feature: Float[Tensor, "B F"]) -> Normal:
        """Return the same distribution by the textbook form: the reference."""
        keys = feature_tokens(feature, self.joints).dense()
        tokens = feature_tokens(feature, self.vertices).dense()
        for cross, inner, norms in self._blocks():
            tokens = cross.dense(tokens, keys)
            tokens = norms[0](tokens) if norms else tokens
            tokens = inner.dense(tokens, tokens)
            tokens = norms[1](tokens) if norms else tokens
        return self._distribution(self.mean.dense(tokens), self.raw_scale.dense(tokens))

    def _blocks(self) -> Iterator[tuple[Attention, Attention, list[TokenNorm]]]:
        """Yield each block's cross-attention, self-attention and norms (none without `normalize`)."""
        norms = cast(list[TokenNorm], list(self.norms))
        pairs = zip(self.cross, self.inner, strict=True)
        for index, pair in enumerate(cast(Iterable[tuple[Attention, Attention]], pairs)):
            yield *pair, norms[2 * index : 2 * index + 2]

    def _distribution(self, offset: Float[Tensor, "B V 3"], raw_scale: Float[Tensor, "B V 3"]) -> Normal:
        """Place the mean about the template and bound the scale between the limits (sigmoid of its log)."""
        low, high = (math.log(v) for v in self.config.scale_range)
        log_scale = low + (high - low) * raw_scale.sigmoid()
        unit = self.config.length_unit_m
        return Normal(unit * (self.vertices + offset), unit * log_scale.exp(), validate_args=False)


def _normalized(norms: list[TokenNorm], place: int, tokens: AffineTokens) -> AffineTokens:
    """Normalise affine tokens where the block has norms."""
    return norms[place].factored(tokens) if norms else tokens
