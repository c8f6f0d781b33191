"""A color for every vertex, true also where the picture shows nothing (paper, §3.4, eqs. 10 and 11).

What is known at a vertex (the maps of a backbone and the picture at its place, its coordinates, whether the
rasteriser sees it) becomes a token beside the shared feature F of the picture. Attention among vertices,
whose keys are the seen ones alone, finds the colors that a hidden vertex takes. Tokens stay affine in a few
numbers (`amvur.models.attention`), so F costs nothing per vertex; `dense` is the textbook form of the same
weights, the reference of the tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import gelu, logsigmoid, scaled_dot_product_attention

from amvur.models.attention import AffineTokens, TokenMlp

_STD_RANGE = (0.006, 0.35)
_HIDDEN_KEY = -30.0
"""Added to the logits of keys that the rasteriser does not see; if it sees none, all count alike."""
_EDGE = 0.01


@dataclass(frozen=True)
class VertexEvidence:
    """What a picture says at every vertex of B right hands.

    `features` are numbers at the vertex (backbone maps, neighborhood, geometry), `colors` the picture at
    its place (sRGB in [0, 1]), `visible` marks what the rasteriser sees inside the picture (no objects
    considered), `pooled` is the mean of the backbone's coarsest map.
    """

    features: Float[Tensor, "B V C"]
    colors: Float[Tensor, "B V 3"]
    visible: Bool[Tensor, "B V"]
    pooled: Float[Tensor, "B P"]

    def at(self, chosen: Int64[Tensor, "B N"]) -> VertexEvidence:
        """Return the evidence at some vertices of every hand."""
        return VertexEvidence(
            take(self.features, chosen),
            take(self.colors, chosen),
            self.visible.gather(1, chosen),
            self.pooled,
        )


@dataclass(frozen=True)
class VertexColors:
    """Colors of N vertices: mean (sRGB in [0, 1]), standard deviation of a channel, and a logit.

    `visibility_logit` answers for vertices that the rasteriser sees: does the picture show their skin, or is
    an object before them? For the others it says nothing.
    """

    loc: Float[Tensor, "B N 3"]
    scale: Float[Tensor, "B N"]
    visibility_logit: Float[Tensor, "B N"]


@dataclass(frozen=True)
class TextureConfig:
    """Sizes of a `TextureHead`: numbers at a vertex, global feature, tokens and hidden layers."""

    features: int
    pooled: int
    shared: int = 64
    token: int = 20
    heads: int = 2
    hidden: int = 96


def take(values: Float[Tensor, "B V C"], chosen: Int64[Tensor, "B N"]) -> Float[Tensor, "B N C"]:
    """Return the rows `chosen` of every picture."""
    return values.gather(1, chosen[..., None].expand(-1, -1, values.shape[-1]))


class SeenAttention(nn.Module):
    """Attention of vertices to seen vertices, with a residual, in factored form (eq. 10).

    Every head's map of values is part of `out`; a bias on every key says how far it is to be believed.
    """

    def __init__(self, width: int, heads: int, key_width: int = 32) -> None:
        """Make maps for tokens of dimension `width`."""
        super().__init__()
        self.heads = heads
        self.query, self.key = (nn.Linear(width, heads * key_width) for _ in range(2))
        self.value = nn.Linear(width, heads * width)

    def forward(
        self, queries: AffineTokens, keys: AffineTokens, bias: Float[Tensor, "B M"]
    ) -> tuple[AffineTokens, Float[Tensor, "B H N R"]]:
        """Return tokens after attention and what each head found: means of the keys' coefficients."""
        query, key = (self._split(m, t.basis) for m, t in ((self.query, queries), (self.key, keys)))
        core = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        left = queries.coefficients[:, None] @ core
        right = keys.coefficients[:, None].expand(-1, self.heads, -1, -1)
        # the keys' bias is one more coordinate, so that no (N, M) matrix is ever made; torch's fast kernel
        # wants values as wide as keys
        left = torch.cat([left, torch.ones_like(left[..., :1])], -1)
        right = torch.cat([right, bias[:, None, :, None].expand(-1, self.heads, -1, 1)], -1)
        found: Tensor = scaled_dot_product_attention(left, right, right, scale=1.0)[..., :-1]
        values = self._split(self.value, keys.basis)
        constant = queries.basis[:, :1] + values[:, :, :1].sum(1)
        basis = torch.cat([constant, queries.basis[:, 1:], values[:, :, 1:].flatten(1, 2)], 1)
        coefficients = torch.cat([queries.coefficients, found[..., 1:].transpose(1, 2).flatten(2)], -1)
        return AffineTokens(coefficients, basis), found

    def dense(
        self, queries: Float[Tensor, "B N D"], keys: Float[Tensor, "B M D"], bias: Float[Tensor, "B M"]
    ) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B H N M"]]:
        """Return tokens after attention and the weights, in the textbook form: the reference."""
        query, key, value = (
            m(t).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for m, t in ((self.query, queries), (self.key, keys), (self.value, keys))
        )
        logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) + bias[:, None, None]
        weights = logits.softmax(-1)
        return queries + (weights @ value).sum(1), weights

    def _split(self, linear: nn.Linear, basis: Float[Tensor, "B R D"]) -> Float[Tensor, "B H R E"]:
        """Map a basis (the bias goes to the constant row) and split it into heads."""
        mapped: Tensor = basis @ linear.weight.T
        mapped = torch.cat([mapped[:, :1] + linear.bias, mapped[:, 1:]], 1)
        split: Tensor = mapped.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return split


class TextureHead(nn.Module):
    """Evidence at vertices → their colors, with uncertainty, and which of them an object hides.

    A visible vertex's color is a gated mean of the picture's and of what attention finds, a hidden one's what
    attention finds, both moved a little in logit space, so that colors stay in [0, 1].
    """

    features_mean: Tensor
    features_std: Tensor
    pooled_mean: Tensor
    pooled_std: Tensor

    def __init__(self, config: TextureConfig) -> None:
        """Make a head that at first returns the picture's colors, and means of them where nothing shows."""
        super().__init__()
        self.config = config
        for name, width in (("features", config.features), ("pooled", config.pooled)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_std", torch.ones(width))
        self.shared = nn.Linear(config.pooled + 6, config.shared)
        self.read_local = nn.Linear(config.features + 4, config.hidden)
        self.read_shared = nn.Linear(config.shared, config.hidden, bias=False)
        self.encode = nn.Linear(config.hidden, config.token + 1)
        self._width = config.shared + config.token + 4
        self.attention = SeenAttention(self._width, config.heads)
        self.read_out = TokenMlp(self._width, config.hidden, 5 + config.heads)
        nn.init.zeros_(self.read_out.last.weight)
        with torch.no_grad():
            self.read_out.last.bias.copy_(torch.tensor([2.0, 0, 0, 0, 0] + [0.0] * config.heads))

    def forward(
        self,
        evidence: VertexEvidence,
        queries: Int64[Tensor, "B N"] | None = None,
        keys: Int64[Tensor, "B M"] | None = None,
        dense: bool = False,
    ) -> VertexColors:
        """Return the colors of all vertices, or of `queries`.

        `keys` are the vertices that may be attended to (all if None). Leaving out queries, and keys that the
        rasteriser does not see, changes nothing; leaving out others approximates.
        """
        feature = self._feature(evidence)
        own = evidence if queries is None else evidence.at(queries)
        other = evidence if keys is None else evidence.at(keys)
        coefficients, logit = self._encode(own, feature)
        if queries is not None:
            key_coefficients, key_logit = self._encode(other, feature)
        elif keys is not None:
            key_coefficients, key_logit = take(coefficients, keys), logit.gather(1, keys)
        else:
            key_coefficients, key_logit = coefficients, logit
        bias = logsigmoid(key_logit) + _HIDDEN_KEY * ~other.visible
        basis = self._basis(feature)
        tokens, seen = AffineTokens(coefficients, basis), AffineTokens(key_coefficients, basis)
        if dense:
            mixed, weights = self.attention.dense(tokens.dense(), seen.dense(), bias)
            found, raw = weights @ other.colors[:, None], self.read_out.dense(mixed)
        else:
            after, means = self.attention(tokens, seen, bias)
            found, raw = means[..., -3:], self.read_out(after)
        return self._colors(own, found, raw, logit)

    def _feature(self, evidence: VertexEvidence) -> Float[Tensor, "B D"]:
        """Return the shared feature F: what the backbone pooled and what colors are visible."""
        weight = evidence.visible.to(evidence.colors)[..., None]
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1)
        mean = (weight * evidence.colors).sum(1)
        spread = (weight * (evidence.colors - mean[:, None]).square()).sum(1)
        pooled = (evidence.pooled - self.pooled_mean) / self.pooled_std
        # standard deviations are infinitely steep at 0
        numbers = torch.cat([pooled, mean, (spread + 1e-6).sqrt()], -1)
        return gelu(self.shared(numbers))

    def _encode(
        self, evidence: VertexEvidence, feature: Float[Tensor, "B D"]
    ) -> tuple[Float[Tensor, "B N R"], Float[Tensor, "B N"]]:
        """Return the few numbers that make a token, 1 first and the color last, and the visibility logit."""
        visible = evidence.visible.to(evidence.colors)[..., None]
        numbers = (evidence.features - self.features_mean) / self.features_std
        local = self.read_local(torch.cat([numbers, evidence.colors, visible], -1))
        code = self.encode(gelu(local + self.read_shared(feature)[:, None]))
        logit: Tensor = code[..., -1]
        shown = visible * logit.sigmoid()[..., None]
        return torch.cat([torch.ones_like(visible), code[..., :-1], shown, evidence.colors], -1), logit

    def _basis(self, feature: Float[Tensor, "B D"]) -> Float[Tensor, "B R W"]:
        """Return the basis in which a token [F; numbers] has the coefficients [1; numbers]."""
        batch, width = feature.shape
        count = self._width - width
        constant = torch.cat([feature, feature.new_zeros(batch, count)], -1)[:, None]
        units = torch.cat([feature.new_zeros(count, width), torch.eye(count).to(feature)], -1)
        return torch.cat([constant, units.expand(batch, -1, -1)], 1)

    def _colors(
        self,
        evidence: VertexEvidence,
        found: Float[Tensor, "B H N 3"],
        raw: Float[Tensor, "B N O"],
        logit: Float[Tensor, "B N"],
    ) -> VertexColors:
        """Mix the picture's color with the found ones and move the mixture."""
        gate = raw[..., :1].sigmoid() * evidence.visible[..., None]
        share = raw[..., 5:].softmax(-1)
        base = gate * evidence.colors + (1 - gate) * torch.einsum("bnh,bhnc->bnc", share, found)
        loc = (base.clamp(_EDGE, 1 - _EDGE).logit() + raw[..., 1:4]).sigmoid()
        low, high = (math.log(std) for std in _STD_RANGE)
        scale = (low + (high - low) * raw[..., 4].sigmoid()).exp()
        return VertexColors(loc, scale, logit)


class GlobalColors(nn.Module):
    """Colors of all vertices from the global feature alone, by a perceptron: what the paper compares with."""

    pooled_mean: Tensor
    pooled_std: Tensor

    def __init__(self, pooled: int, vertices: int, hidden: int = 128) -> None:
        """Make a perceptron for a mesh of so many vertices."""
        super().__init__()
        self.register_buffer("pooled_mean", torch.zeros(pooled))
        self.register_buffer("pooled_std", torch.ones(pooled))
        self.first, self.last = nn.Linear(pooled, hidden), nn.Linear(hidden, 3 * vertices)

    def forward(self, pooled: Float[Tensor, "B P"]) -> Float[Tensor, "B V 3"]:
        """Return sRGB in [0, 1]."""
        hidden = gelu(self.first((pooled - self.pooled_mean) / self.pooled_std))
        colors: Tensor = self.last(hidden).sigmoid().unflatten(-1, (-1, 3))
        return colors
