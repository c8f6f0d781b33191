"""Any image network of timm as a feature extractor: a global feature and a shallow map (paper, §3.2)."""

from __future__ import annotations

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from amvur.errors import InputError
from amvur.models.features import Features
from amvur.models.landmark_backbone import LANDMARK_BACKBONE, TUNED_BACKBONE, LandmarkBackbone

# The statistics that timm's weights expect; harmless for weights trained from nothing.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A timm network without its classifier. `width` is D, `shallow_width` is C."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, pretrained: bool = False) -> None:
        """Build the network `name`; `pretrained` weights are downloaded by timm.

        Raises `InputError` for a name that timm does not know or a network without feature maps.
        """
        super().__init__()
        if not timm.is_model(name):
            near = ", ".join(timm.list_models(f"{name[:6]}*")[:4])
            raise InputError(f"timm knows no network {name!r}. Similar names: {near or 'none'}.")
        self.network = timm.create_model(name, pretrained=pretrained, num_classes=0)
        if not hasattr(self.network, "forward_intermediates"):
            raise InputError(f"timm's {name!r} does not give feature maps: choose a ResNet or EfficientNet.")
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        training = self.network.training
        with torch.no_grad():
            found = self.eval()(torch.zeros(1, 3, 64, 64))
        self.train(training)
        self.width, self.shallow_width = found.pooled.shape[1], found.shallow.shape[1]

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Features:
        """Return the features of RGB pictures in [0, 1]."""
        normalized = (images - self.mean) / self.std
        deep, maps = self.network.forward_intermediates(normalized, indices=[0])
        # a ResNet's first intermediate is its first convolution, an EfficientNet's the block behind it
        stem = getattr(self.network, "conv_stem", None)
        shallow = maps[0] if stem is None else stem(normalized)
        return Features(self.network.forward_head(deep, pre_logits=True), shallow)


def make_backbone(name: str, pretrained: bool = False) -> Backbone | LandmarkBackbone:
    """Return the backbone of a name: timm's, or MediaPipe's; raises what building it raises."""
    if name in (LANDMARK_BACKBONE, TUNED_BACKBONE):
        return LandmarkBackbone(tuned=name == TUNED_BACKBONE)
    return Backbone(name, pretrained)
