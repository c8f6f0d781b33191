"""The AMVUR head with the products of its weights computed once: what inference runs.

In `amvur.models.attention` tokens are affine in a few numbers, and of the affine map only the constant row
depends on the picture, linearly: it is P F + p. A key's part in that row adds the same to all logits of a
query, which softmax does not see. So logits and perceptrons need F through thin matrices only; no map of a
token's full width is left to be evaluated. Same function, to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from amvur.models.amvur import AmvurHead, bounded_normal
from amvur.models.attention import Attention, attend


@dataclass(frozen=True)
class _Basis:
    """What tokens are affine in: the constant row P F + p, and rows that are the same for all pictures."""

    of_feature: Float[Tensor, "D F"]
    offset: Float[Tensor, "D"]
    rows: Float[Tensor, "R D"]


class _Thin(nn.Module):
    """An affine map of the feature to a few numbers, and what the constant rows are mapped to."""

    weight: Tensor
    bias: Tensor
    rows: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, rows: Tensor) -> None:
        super().__init__()
        for name, value in (("weight", weight), ("bias", bias), ("rows", rows)):
            self.register_buffer(name, value.contiguous(), persistent=False)

    def forward(self, feature: Float[Tensor, "B F"]) -> Float[Tensor, "B N"]:
        """Map the feature."""
        return torch.nn.functional.linear(feature, self.weight, self.bias)


class FoldedHead(nn.Module):
    """Image feature → Q(V|I), as `AmvurHead.forward` of the head it was made of; its weights are frozen.

    Raises `ValueError` for a head with LayerNorm, whose scale needs the whole constant row.
    """

    vertices: Tensor
    vertex_places: Tensor
    joint_places: Tensor

    @torch.no_grad()
    def __init__(self, head: AmvurHead) -> None:
        """Multiply the weights (a second at the paper's width)."""
        super().__init__()
        if head.config.normalize:
            raise ValueError("A head with LayerNorm cannot be folded.")
        self.config = head.config
        for name in ("vertices", "vertex_places", "joint_places"):
            self.register_buffer(name, getattr(head, name), persistent=False)
        start = _start(head)
        tokens, self.cross, self.inner = start, nn.ModuleList(), nn.ModuleList()
        for cross, inner in zip(head.cross, head.inner, strict=True):
            if head.design != "self":
                thin, tokens = _fold(cast(Attention, cross), tokens, start)
                self.cross.append(thin)
            thin, tokens = _fold(cast(Attention, inner), tokens, tokens)
            self.inner.append(thin)
        mean, scale = head.mean, head.raw_scale
        self.first = nn.ModuleList(_thin_layer(mlp.first, tokens) for mlp in (mean, scale))
        self.mean, self.raw_scale = mean, scale

    def forward(self, feature: Float[Tensor, "B F"]) -> Normal:
        """Return Normal(loc, scale) of (B,V,3) root-relative vertices in metres."""
        batch = feature.shape[0]
        numbers, keys = (p.expand(batch, -1, -1) for p in (self.vertex_places, self.joint_places))
        for i, inner in enumerate(self.inner):
            if len(self.cross):
                numbers = _attended(cast(_Thin, self.cross[i]), feature, numbers, keys)
            numbers = _attended(cast(_Thin, inner), feature, numbers, numbers)
        outputs = []
        for thin, mlp in zip(self.first, (self.mean, self.raw_scale), strict=True):
            outputs.append(mlp.rest(thin(feature)[:, None] + numbers @ cast(_Thin, thin).rows))
        return bounded_normal(self.vertices, outputs[0].float(), outputs[1].float(), self.config)


def folded(head: nn.Module) -> nn.Module:
    """Return the head's folded form, or the head itself where there is none."""
    return FoldedHead(head) if isinstance(head, AmvurHead) and not head.config.normalize else head


def _start(head: AmvurHead) -> _Basis:
    """Return the basis of the tokens [F; x]."""
    width, count = head.config.feature_width, head.vertex_places.shape[1]
    like = head.mean.first.weight
    eye = torch.eye(width + count, dtype=like.dtype, device=like.device)
    return _Basis(eye[:, :width], torch.zeros_like(eye[0]), eye[width:])


def _fold(attention: Attention, queries: _Basis, keys: _Basis) -> tuple[_Thin, _Basis]:
    """Return a block's map from the feature to the logits' core, and the basis behind its residual."""
    heads, width = attention.heads, attention.query.weight.shape[0] // attention.heads
    root = math.sqrt(width)
    key = (keys.rows @ attention.key.weight.T).unflatten(-1, (heads, width)) / root
    query_weight, query_bias = attention.query.weight.unflatten(0, (heads, width)), attention.query.bias
    # (H, R_key, D): from a query token to its logits' coefficients
    core = torch.einsum("rhe,hed->hrd", key, query_weight)
    core_bias = torch.einsum("rhe,he->hr", key, query_bias.unflatten(0, (heads, width)))
    thin = _Thin(
        (core @ queries.of_feature).flatten(0, 1),
        (core @ queries.offset + core_bias).flatten(),
        (queries.rows @ core.transpose(-1, -2)),
    )
    value_weight: Tensor = attention.value.weight
    value_bias: Tensor = attention.value.bias
    mix = attention.mix
    if isinstance(mix, nn.Linear):
        blocks = mix.weight.unflatten(1, (heads, width))
        parts = torch.einsum("ohe,hed->hod", blocks, value_weight.unflatten(0, (heads, width)))
        value_weight, value_bias = mix.weight @ value_weight, mix.weight @ value_bias + mix.bias
    else:
        parts = value_weight[None]
    found = (keys.rows @ parts.transpose(-1, -2)).flatten(0, 1)
    return thin, _Basis(
        queries.of_feature + value_weight @ keys.of_feature,
        queries.offset + value_weight @ keys.offset + value_bias,
        torch.cat([queries.rows, found]),
    )


def _thin_layer(layer: nn.Linear, tokens: _Basis) -> _Thin:
    """Return a perceptron's first layer as a map of the feature and of the tokens' numbers."""
    weight = layer.weight
    return _Thin(weight @ tokens.of_feature, weight @ tokens.offset + layer.bias, tokens.rows @ weight.T)


def _attended(
    thin: _Thin, feature: Float[Tensor, "B F"], queries: Float[Tensor, "B N R"], keys: Float[Tensor, "B M S"]
) -> Float[Tensor, "B N T"]:
    """Return the queries' numbers with what every head finds among the keys' numbers behind them."""
    heads = thin.rows.shape[0]
    constant = thin(feature).unflatten(-1, (heads, 1, -1))
    asked = constant + queries[:, None] @ thin.rows
    found = attend(asked, keys[:, None])
    return torch.cat([queries, found.transpose(1, 2).flatten(2)], -1)
