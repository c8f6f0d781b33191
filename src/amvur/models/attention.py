"""Attention among mesh vertices and joints, dense and factored: the same weights, the same function.

Every token of AMVUR (paper, §3.3) is [F; x] with one image feature F and a template coordinate x: an
affine function of 3 numbers. Linear maps, attention, residuals and LayerNorm keep tokens affine in a
few numbers each, so they are kept as `coefficients @ basis` (`AffineTokens`) and only the MLPs after
them are evaluated token by token. `dense=True` runs the textbook form, the reference of the tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn


@dataclass(frozen=True)
class AffineTokens:
    """N tokens of dimension D as `coefficients @ basis`; the first coefficient of every token is 1."""

    coefficients: Float[Tensor, "B N R"]
    basis: Float[Tensor, "B R D"]

    def dense(self) -> Float[Tensor, "B N D"]:
        """Return the tokens themselves."""
        return self.coefficients @ self.basis

    def at(self, rows: Int64[Tensor, "N"]) -> AffineTokens:
        """Return some of the tokens."""
        return AffineTokens(self.coefficients[:, rows], self.basis)


def feature_tokens(feature: Float[Tensor, "B F"], coordinates: Float[Tensor, "N C"]) -> AffineTokens:
    """Return the tokens [F; x_n] of points `coordinates` (paper, §3.3: features with positions attached)."""
    batch, n, c = feature.shape[0], *coordinates.shape
    ones = coordinates.new_ones(n, 1)
    coefficients = torch.cat([ones, coordinates], -1).expand(batch, n, 1 + c)
    constant = torch.cat([feature, feature.new_zeros(batch, c)], -1)[:, None]
    units = torch.cat([feature.new_zeros(c, feature.shape[1]), torch.eye(c).to(feature)], -1)
    return AffineTokens(coefficients, torch.cat([constant, units.expand(batch, -1, -1)], 1))


def attend(queries: Float[Tensor, "B H N R"], keys: Float[Tensor, "B 1 M R"]) -> Float[Tensor, "B H N R"]:
    """Return softmax(queries keysᵀ) keys without ever holding the N×M weights.

    The fused kernels want the last axis in multiples of 16: zeros there change nothing.
    """
    width = queries.shape[-1]
    padding = (0, -width % 16)
    query, key = F.pad(queries, padding), F.pad(keys, padding).expand(-1, queries.shape[1], -1, -1)
    return F.scaled_dot_product_attention(query, key, key, scale=1.0)[..., :width]


class Attention(nn.Module):
    """One attention block with a residual: queries' tokens + attention over keys' tokens (eqs. 9, 10).

    `heads=1` is the paper's. With several heads an output map mixes them.
    """

    def __init__(self, width: int, heads: int = 1) -> None:
        """Make maps for tokens of dimension `width`, which `heads` must divide."""
        super().__init__()
        if width % heads:
            raise ValueError(f"The token width {width} is not divisible by {heads} heads.")
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.mix = nn.Linear(width, width) if heads > 1 else nn.Identity()

    def forward(self, queries: AffineTokens, keys: AffineTokens) -> AffineTokens:
        """Attend in factored form: logits are `C_q (Q Kᵀ / √d) C_kᵀ` with a core of a few numbers squared.

        What a query finds is the mean of the keys' coefficients under its weights, so the result is
        affine in the query's coefficients and, for every head, the found ones (all but the constant 1).
        """
        query, key, value = (
            self._split(linear, tokens)
            for linear, tokens in zip(self._maps(), (queries, keys, keys), strict=True)
        )
        core = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        found = attend(queries.coefficients[:, None] @ core, keys.coefficients[:, None])
        values = self._join(value)
        constant = queries.basis[:, :1] + values[:, :, :1].sum(1) + self._mix_bias()
        basis = torch.cat([constant, queries.basis[:, 1:], values[:, :, 1:].flatten(1, 2)], 1)
        found = found[..., 1:].transpose(1, 2).flatten(2)
        return AffineTokens(torch.cat([queries.coefficients, found], -1), basis)

    def dense(self, queries: Float[Tensor, "B N D"], keys: Float[Tensor, "B M D"]) -> Float[Tensor, "B N D"]:
        """Attend in the textbook form: the reference."""
        query, key, value = (
            m(t).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for m, t in zip(self._maps(), (queries, keys, keys), strict=True)
        )
        weights = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1)
        mixed: Tensor = self.mix((weights @ value).transpose(1, 2).flatten(2))
        return queries + mixed

    def _maps(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        return self.query, self.key, self.value

    def _split(self, linear: nn.Linear, tokens: AffineTokens) -> Float[Tensor, "B H R E"]:
        """Map a basis (its bias goes to the constant row) and split it into heads."""
        mapped: Tensor = tokens.basis @ linear.weight.T
        mapped = torch.cat([mapped[:, :1] + linear.bias, mapped[:, 1:]], 1)
        split: Tensor = mapped.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return split

    def _join(self, value: Float[Tensor, "B H R E"]) -> Float[Tensor, "B H R D"]:
        """Put each head's values in its place of the full width and mix them."""
        if isinstance(self.mix, nn.Identity):
            return value
        weight: Tensor = self.mix.weight.T.unflatten(0, (self.heads, -1))
        return value @ weight

    def _mix_bias(self) -> Tensor | float:
        bias: Tensor | float = 0.0 if isinstance(self.mix, nn.Identity) else self.mix.bias
        return bias


class TokenNorm(nn.LayerNorm):
    """LayerNorm of tokens, exact in factored form: mean and variance come from a small Gram matrix."""

    def factored(self, tokens: AffineTokens) -> AffineTokens:
        """Normalise affine tokens: one more coefficient, the constant of the bias."""
        centered = tokens.basis - tokens.basis.mean(-1, keepdim=True)
        gram = centered @ centered.transpose(-1, -2) / centered.shape[-1]
        variance = ((tokens.coefficients @ gram) * tokens.coefficients).sum(-1, keepdim=True)
        scaled = tokens.coefficients * (variance.clamp_min(0) + self.eps).rsqrt()
        ones = torch.ones_like(variance)
        bias = self.bias.expand(centered.shape[0], 1, -1)
        return AffineTokens(torch.cat([ones, scaled], -1), torch.cat([bias, centered * self.weight], 1))


class TokenMlp(nn.Module):
    """A perceptron on every token; in factored form its input layer costs R numbers a token."""

    def __init__(self, width: int, hidden: int, output: int, layers: int = 2) -> None:
        """Make `layers` maps width → hidden → ... → output with GELU between."""
        super().__init__()
        self.first, self.last = nn.Linear(width, hidden), nn.Linear(hidden, output)
        self.inner = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers - 2))

    def forward(self, tokens: AffineTokens) -> Float[Tensor, "B N O"]:
        """Evaluate on affine tokens."""
        first = self.first
        return self.rest(tokens.coefficients @ (tokens.basis @ first.weight.T) + first.bias)

    def dense(self, tokens: Float[Tensor, "B N D"]) -> Float[Tensor, "B N O"]:
        """Evaluate on dense tokens: the reference."""
        return self.rest(self.first(tokens))

    def rest(self, hidden: Float[Tensor, "B N H"]) -> Float[Tensor, "B N O"]:
        """Evaluate all that follows the first layer."""
        for layer in self.inner:
            hidden = layer(nn.functional.gelu(hidden))
        output: Tensor = self.last(nn.functional.gelu(hidden))
        return output
