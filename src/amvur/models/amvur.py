"""AMVUR: attention-based mesh vertices uncertainty regression (paper, §3.3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.distributions import Normal

from amvur.models.attention import AffineTokens, Attention, TokenMlp, TokenNorm, feature_tokens


@dataclass(frozen=True)
class AmvurConfig:
    """The head's size. The paper: one cross and one self block, one head, no normalisation.

    `scale_range` bounds the standard deviations, in the network's unit (`length_unit_m`). Positions
    enter tokens in `position_unit_m`: beside hundreds of numbers of F, coordinates near 1 would hardly
    count and all vertices would look alike. `mlp_layers` counts the linear maps of each MLP.
    """

    feature_width: int = 2048
    hidden: int = 256
    blocks: int = 1
    heads: int = 1
    normalize: bool = False
    length_unit_m: float = 0.1
    scale_range: tuple[float, float] = (1e-3, 1.0)
    position_unit_m: float = 0.005
    mlp_layers: int = 2


Design = Literal["self", "cross", "template"]
"""Rows of Table 5: self-attention with index positions; and cross-attention; and template positions."""


class AmvurHead(nn.Module):
    """Image feature → distribution Q(V|I) of every vertex coordinate, in the template's frame and unit.

    Tokens are [F; x] of template vertices and joints in zero pose; vertices attend to joints (eq. 9),
    then to each other (eq. 10); two MLPs give the mean, as an offset from the template, and the standard
    deviation. Template coordinates are non-persistent buffers: weights never hold a hand model.
    """

    vertices: Tensor
    vertex_places: Tensor
    joint_places: Tensor

    def __init__(
        self,
        vertices: Float[Tensor, "V 3"],
        joints: Float[Tensor, "K 3"],
        config: AmvurConfig,
        design: Design = "template",
    ) -> None:
        """Take the zero-pose template (m), wrist at the origin."""
        super().__init__()
        self.config, self.design = config, design
        for name, values in template_buffers(vertices, joints, config, design).items():
            self.register_buffer(name, values, persistent=False)
        width = config.feature_width + 3
        self.cross, self.inner = (
            nn.ModuleList(Attention(width, config.heads) for _ in range(config.blocks)) for _ in range(2)
        )
        self.norms = nn.ModuleList(TokenNorm(width) for _ in range(2 * config.blocks * config.normalize))
        self.mean, self.raw_scale = (TokenMlp(width, config.hidden, 3, config.mlp_layers) for _ in range(2))
        nn.init.zeros_(self.mean.last.weight)
        nn.init.zeros_(self.mean.last.bias)

    def forward(self, feature: Float[Tensor, "B F"], rows: Int64[Tensor, "N"] | None = None) -> Normal:
        """Return Normal(loc, scale) of (B,V,3) root-relative vertices in metres, or of the vertices `rows`.

        All vertices are attended to; those that are not asked for cost next to nothing.
        """
        keys = feature_tokens(feature, self.joint_places)
        tokens = feature_tokens(feature, self.vertex_places)
        for index, (cross, inner, norms) in enumerate(self._blocks(), 1):
            if self.design != "self":
                tokens = _normalized(norms, 0, cross(tokens, keys))
            last = index == self.config.blocks
            asked = tokens if rows is None or not last else tokens.at(rows)
            tokens = _normalized(norms, 1, inner(asked, tokens))
        return self._distribution(self.mean(tokens), self.raw_scale(tokens), rows)

    def dense(self, feature: Float[Tensor, "B F"]) -> Normal:
        """Return the same distribution by the textbook form: the reference."""
        keys = feature_tokens(feature, self.joint_places).dense()
        tokens = feature_tokens(feature, self.vertex_places).dense()
        for cross, inner, norms in self._blocks():
            if self.design != "self":
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

    def _distribution(self, offset: Tensor, raw_scale: Tensor, rows: Tensor | None = None) -> Normal:
        template = self.vertices if rows is None else self.vertices[rows]
        return bounded_normal(template, offset.float(), raw_scale.float(), self.config)


class FullyConnectedHead(nn.Module):
    """The baseline of Table 5, row A: a perceptron from the feature to all vertices at once."""

    vertices: Tensor

    def __init__(self, vertices: Float[Tensor, "V 3"], config: AmvurConfig) -> None:
        """Take the zero-pose template (m), wrist at the origin."""
        super().__init__()
        self.config = config
        self.register_buffer("vertices", vertices / config.length_unit_m, persistent=False)
        self.first = nn.Linear(config.feature_width, config.hidden)
        self.second = nn.Linear(config.hidden, vertices.numel() * 2)
        nn.init.normal_(self.second.weight, std=1e-3)
        nn.init.zeros_(self.second.bias)

    def forward(self, feature: Float[Tensor, "B F"], rows: Int64[Tensor, "N"] | None = None) -> Normal:
        """Return Normal(loc, scale) of (B,V,3) root-relative vertices in metres, or of those in `rows`."""
        values = self.second(nn.functional.gelu(self.first(feature))).float()
        offset, raw_scale = values.unflatten(-1, (2, *self.vertices.shape)).unbind(1)
        normal = bounded_normal(self.vertices, offset, raw_scale, self.config)
        return (
            normal
            if rows is None
            else Normal(normal.loc[:, rows], normal.scale[:, rows], validate_args=False)
        )


def bounded_normal(
    template: Float[Tensor, "V 3"],
    offset: Float[Tensor, "B V 3"],
    raw_scale: Float[Tensor, "B V 3"],
    config: AmvurConfig,
) -> Normal:
    """Place the mean (m) about the template and bound the scale between the limits (sigmoid of its log)."""
    low, high = (math.log(v) for v in config.scale_range)
    log_scale = low + (high - low) * raw_scale.sigmoid()
    unit = config.length_unit_m
    return Normal(unit * (template + offset), unit * log_scale.exp(), validate_args=False)


def template_buffers(
    vertices: Float[Tensor, "V 3"], joints: Float[Tensor, "K 3"], config: AmvurConfig, design: Design
) -> dict[str, Tensor]:
    """Return what `AmvurHead` knows of the zero-pose template (m), by its buffers' names."""
    unit, pitch = config.length_unit_m, config.position_unit_m
    places = [p if design == "template" else _index_places(p) for p in (vertices, joints)]
    return {
        "vertices": vertices / unit,
        "vertex_places": places[0] / pitch,
        "joint_places": places[1] / pitch,
    }


def _index_places(points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """Return positions that know the order of points only: their index (Table 5, rows B and C), 0 to 0.1."""
    steps = torch.linspace(0, 0.1, len(points), dtype=points.dtype, device=points.device)
    return torch.stack([steps, torch.zeros_like(steps), torch.zeros_like(steps)], -1)


def _normalized(norms: list[TokenNorm], place: int, tokens: AffineTokens) -> AffineTokens:
    """Normalise affine tokens where the block has norms."""
    return norms[place].factored(tokens) if norms else tokens
