"""Weights of a backbone from a file of the user's: trained on pictures of the world, say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amvur.checkpoint import load_weights
from amvur.errors import InputError
from amvur.reading import LimitError, read_tensors, reading

LIMIT_BYTES = 2**31
_REMEDY = "Give the weights of this very backbone, as timm or torchvision saves them (.safetensors, .pth)."
_CLASSIFIERS = ("fc.", "classifier.", "head.fc.")
"""Where backbones keep what tells classes of pictures, which a hand network has no use for."""


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Copy weights into a `amvur.models.backbone.Backbone`; pickles are read by torch's restricted reader.

    Raises `InputError` for a file of more than 2 GiB or of no weights, and `ModelFileError` that lists what
    differs where they are those of another network.
    """
    network = getattr(backbone, "network", None)
    if not isinstance(network, nn.Module):
        raise InputError("--pretrained FILE is for backbones of timm: this one has weights of its own.")
    with reading(path, "weights of a backbone", _REMEDY):
        if path.suffix == ".safetensors":
            content: Any = read_tensors(path, "pt", LIMIT_BYTES)[0]
        else:
            if path.stat().st_size > LIMIT_BYTES:
                raise LimitError(f"it has more than {LIMIT_BYTES:,} bytes")
            content = torch.load(path, map_location="cpu", weights_only=True)
        for name in ("state_dict", "model"):
            content = content[name] if isinstance(content, Mapping) and name in content else content
        if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
            raise InputError(f"{path} holds no weights. {_REMEDY}")
    state = {name.removeprefix("module."): value for name, value in content.items()}
    load_weights(network, {n: v for n, v in state.items() if not n.startswith(_CLASSIFIERS)}, path)
