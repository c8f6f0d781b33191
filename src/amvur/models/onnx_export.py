"""From torch to ONNX: the networks that inference runs, each checked against the one it was made of."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.func import functional_call

from amvur.errors import AmvurError
from amvur.hand.network_constants import HAND_ARRAYS, network_constants
from amvur.hand.open_hand import VERSIONS
from amvur.models.amvur import AmvurConfig, Design, template_buffers
from amvur.models.landmark_trunk import LandmarkTrunk
from amvur.models.network import HandNetwork
from amvur.models.segmentation import HandSegmenter
from amvur.models.texture import TextureHead, VertexEvidence
from amvur.onnx_network import OnnxNetwork

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20
_TOLERANCE = 2e-4
"""The largest difference to torch, in units of 1 and of the output's own largest value."""
_BATCH = 2
_STRIDES = (2, 4, 8, 16)


def hand_network_onnx(network: HandNetwork) -> bytes:
    """Return a network as an ONNX file: pictures of right hands in, distributions out (eqs. 3 to 6).

    Input `pictures` (B,S,S,3) uint8 RGB; outputs `vertices`, `joints` (m, wrist at 0, view axes), `joints_2d`
    (crop units), each with `…_std`. The open hand is part of the file. Another hand model is not: its arrays
    are inputs (`amvur.hand.network_constants`). Raises `AmvurError` where the file differs from torch. The
    network's weights can no longer be saved afterwards (`HandNetwork.fold`).
    """
    size = network.config.image_px
    constants = {name: torch.from_numpy(x) for name, x in network_constants(network.hand.arrays).items()}
    pictures = torch.randint(0, 256, (_BATCH, size, size, 3), dtype=torch.uint8)
    outputs = [f"{name}{end}" for name in ("vertices", "joints", "joints_2d") for end in ("", "_std")]
    own = network.hand.name in VERSIONS
    return to_onnx(_HandGraph(network.fold()), {"pictures": pictures}, outputs, None, constants, embedded=own)


def segmentation_onnx(network: HandSegmenter) -> bytes:
    """Return a segmentation as an ONNX file.

    Inputs `pictures` (B,S,S,3) uint8 RGB, `depth_px` and `std_px` (B,S,S) float32, and maps at strides 2, 4,
    8 and 16 (`maps_onnx`); output `logits` (B,2,S,S): see `HandSegmenter.forward`. Raises as
    `hand_network_onnx`.
    """
    size = LandmarkTrunk.size_px
    depth = torch.linspace(-40, 60, _BATCH * size * size).view(_BATCH, size, size)
    items = {
        "pictures": torch.randint(0, 256, (_BATCH, size, size, 3), dtype=torch.uint8),
        "depth_px": depth,
        "std_px": depth.abs() / 10 + 0.5,
    }
    for width, stride in zip(network.config.levels, _STRIDES, strict=True):
        items[f"map_{stride}"] = torch.randn(_BATCH, width, size // stride, size // stride)
    return to_onnx(_SegmentationGraph(network), items, ["logits"])


def maps_onnx(trunk: LandmarkTrunk) -> bytes:
    """Return the frozen part of a segmentation, `LandmarkTrunk.pyramid`, as an ONNX file.

    Input `pictures` (B,S,S,3) uint8 RGB; outputs `map_2`, `map_4`, `map_8` and `map_16`, named by their
    strides. Raises as `hand_network_onnx`.
    """
    size = trunk.size_px
    pictures = torch.randint(0, 256, (_BATCH, size, size, 3), dtype=torch.uint8)
    outputs = [f"map_{stride}" for stride in _STRIDES]
    return to_onnx(_MapsGraph(trunk.fold()), {"pictures": pictures}, outputs)


def texture_onnx(head: TextureHead) -> bytes:
    """Return a texture head as an ONNX file.

    Inputs `features` (B,V,C), `colors` (B,V,3) in [0, 1], `visible` (B,V) bool, `pooled` (B,P), `keys` (B,M)
    int64; outputs `loc` (B,V,3), `scale` and `visibility_logit` (B,V): see `TextureHead.forward`. Raises as
    `hand_network_onnx`.
    """
    config, vertices = head.config, 100
    visible = torch.arange(vertices).repeat(_BATCH, 1) % 2 == 0
    items = {
        "features": torch.randn(_BATCH, vertices, config.features) * head.features_std + head.features_mean,
        "colors": torch.rand(_BATCH, vertices, 3),
        "visible": visible,
        "pooled": torch.randn(_BATCH, config.pooled) * head.pooled_std + head.pooled_mean,
        "keys": visible[0].nonzero().T.repeat(_BATCH, 1),
    }
    free = {"keys": "keys", **dict.fromkeys(("features", "colors", "visible"), "vertices")}
    return to_onnx(_TextureGraph(head), items, ["loc", "scale", "visibility_logit"], free)


def to_onnx(
    module: nn.Module,
    items: Mapping[str, Tensor],
    outputs: Sequence[str],
    free: Mapping[str, str] | None = None,
    constants: Mapping[str, Tensor] | None = None,
    *,
    embedded: bool = False,
) -> bytes:
    """Export `module(**items)` (`module(constants=..., **items)`), whose first axes are free, as `outputs`.

    The second axes of items in `free` are free too; it names them, and those of one name are equal. With
    `embedded` the constants become part of the file, else its inputs. Matrices that halves hold exactly are
    stored as halves. Raises `AmvurError` where onnxruntime's outputs differ from torch's.
    """
    module.eval()
    constants = dict(constants or {})
    model = _exported(module, items, outputs, constants, free or {})
    _place_constants(model, constants if embedded else {})
    _halve(model)
    model.producer_name, model.producer_version = "amvur", version("amvur")
    data: bytes = model.SerializeToString()
    _check(module, data, items, constants)
    return data


def _exported(
    module: nn.Module,
    items: Mapping[str, Tensor],
    outputs: Sequence[str],
    constants: dict[str, Tensor],
    free: Mapping[str, str],
) -> ModelProto:
    """Let torch write the graph, silently: its exporter prints and warns of itself."""
    axes = {axis: torch.export.Dim(axis, min=1, max=2**20) for axis in ("batch", *set(free.values()))}
    shapes: dict[str, object] = {
        name: {0: axes["batch"], **({1: axes[free[name]]} if name in free else {})} for name in items
    }
    arguments: dict[str, object] = dict(items)
    if constants:
        arguments["constants"] = constants
        shapes["constants"] = dict.fromkeys(constants)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (),
            kwargs=arguments,
            dynamo=True,
            opset_version=OPSET,
            input_names=[*items, *constants],
            output_names=list(outputs),
            dynamic_shapes=shapes,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _place_constants(model: ModelProto, constants: Mapping[str, Tensor]) -> None:
    """Move constants from the inputs into the file, and drop inputs that nothing reads."""
    from onnx import numpy_helper

    read = {name for node in model.graph.node for name in node.input}
    for entry in list(model.graph.input):
        if entry.name in constants or entry.name not in read:
            model.graph.input.remove(entry)
        if entry.name in constants and entry.name in read:
            values = constants[entry.name].numpy()
            model.graph.initializer.append(numpy_helper.from_array(values, entry.name))


def _halve(model: ModelProto) -> None:
    """Store matrices as halves where that loses nothing."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if (half.astype(np.float32) == values).all():
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
            casts.append(
                helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_cast", to=TensorProto.FLOAT)
            )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]  # onnxruntime infers it anew


def _check(
    module: nn.Module, data: bytes, items: Mapping[str, Tensor], constants: Mapping[str, Tensor]
) -> None:
    """Raise `AmvurError` unless a file answers as torch does, for one item and for two."""
    arrays = {name: values.numpy() for name, values in constants.items()}
    network = OnnxNetwork(data, constants=arrays, limit_bytes=len(data))
    further = {"constants": dict(constants)} if constants else {}
    with torch.no_grad():
        wanted = module(**items, **further)
    found = network({name: values.numpy() for name, values in items.items()})
    for (name, values), tensor in zip(found.items(), wanted, strict=True):
        right = tensor.numpy()
        off = float(np.abs(values - right).max() / max(1.0, float(np.abs(right).max())))
        if not off <= _TOLERANCE:
            raise AmvurError(f"The ONNX network differs from torch by {off:.2g} in {name}. Please report it.")


class _HandGraph(nn.Module):
    """A `HandNetwork` whose hand model is an input."""

    def __init__(self, network: HandNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: UInt8[Tensor, "B S S 3"], constants: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Return means and standard deviations."""
        state = {f"hand.{name}": constants[name] for name in HAND_ARRAYS}
        state |= {
            "prior_net.axes": constants["pose_axes"],
            "prior_net.angle_mean": constants["angle_mean"],
            "prior_net.pose_mean": constants["pose_mean"],
        }
        head = self.network.amvur
        if head is not None:
            state["template"] = template = constants["template"]
            design = cast(Design, self.network.config.amvur_design)
            config = cast(AmvurConfig, head.config)
            buffers = template_buffers(template, constants["template_joints"], config, design)
            own = dict(head.named_buffers(recurse=False))
            state |= {f"amvur.{name}": values for name, values in buffers.items() if name in own}
        prediction = functional_call(self.network, state, (_as_images(pictures),))
        normals = (prediction.vertices, prediction.joints, prediction.joints_2d)
        return tuple(part for d in normals for part in (d.loc, d.scale.expand_as(d.loc)))


class _SegmentationGraph(nn.Module):
    """A `HandSegmenter` of pictures as they are stored."""

    def __init__(self, network: HandSegmenter) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        pictures: UInt8[Tensor, "B S S 3"],
        depth_px: Float[Tensor, "B S S"],
        std_px: Float[Tensor, "B S S"],
        map_2: Tensor,
        map_4: Tensor,
        map_8: Tensor,
        map_16: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return logits."""
        maps = (map_2, map_4, map_8, map_16)
        return (self.network(_as_images(pictures), depth_px, std_px, maps),)


class _MapsGraph(nn.Module):
    """The maps of a `LandmarkTrunk`."""

    def __init__(self, trunk: LandmarkTrunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, pictures: UInt8[Tensor, "B S S 3"]) -> tuple[Tensor, ...]:
        """Return them by stride."""
        return self.trunk.pyramid(_as_images(pictures))


class _TextureGraph(nn.Module):
    """A `TextureHead` of plain tensors."""

    def __init__(self, head: TextureHead) -> None:
        super().__init__()
        self.head = head

    def forward(
        self,
        features: Float[Tensor, "B V C"],
        colors: Float[Tensor, "B V 3"],
        visible: Tensor,
        pooled: Float[Tensor, "B P"],
        keys: Int64[Tensor, "B M"],
    ) -> tuple[Tensor, ...]:
        """Return colors, their deviations and who is hidden."""
        found = self.head(VertexEvidence(features, colors, visible, pooled), keys=keys)
        return found.loc, found.scale, found.visibility_logit


def _as_images(pictures: UInt8[Tensor, "B S S 3"]) -> Float[Tensor, "B 3 S S"]:
    """Return pictures as networks want them."""
    return pictures.permute(0, 3, 1, 2).float() / 255
