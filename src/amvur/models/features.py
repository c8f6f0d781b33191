"""What every backbone gives."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """The pooled feature F of every picture and the map F_map behind the first stage of convolutions."""

    pooled: Float[Tensor, "B D"]
    shallow: Float[Tensor, "B C h w"]
