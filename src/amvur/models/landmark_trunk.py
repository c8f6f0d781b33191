"""The convolutions of MediaPipe's hand-landmark network in PyTorch, frozen or tuned in their later part.

The network (Apache-2.0, ships as an ONNX file) has seen far more photographs of hands than anyone can render;
its last convolution tells poses apart well. It is read from that file at run time, so that checkpoints hold
only what was trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from amvur.detect.networks import LANDMARKS_PX, shipped_network
from amvur.errors import ModelFileError
from amvur.reading import read_bytes, reading

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_LIMITS: dict[str, tuple[float | None, float | None]] = {
    "": (None, None),
    "Relu": (0.0, None),
    "Clip": (0.0, 6.0),
}
"""What follows an operator: nothing, ReLU or ReLU6."""
_NETWORK_BYTES = 50_000_000
_FROZEN_STEPS = 39
"""Operators that are never tuned: they hold most of the arithmetic and a quarter of the weights, and the map
behind them (112×14×14) is small enough to be stored, so that tuning the rest need not run them."""


@dataclass(frozen=True)
class _Step:
    """One operator: its kind, the tensors it reads and the one it writes."""

    kind: str
    inputs: tuple[int, ...]
    output: int
    stride: int = 1
    activation: str = ""


class LandmarkTrunk(nn.Module):
    """Pictures → the pooled feature, the map of the last residual block and the first block's map.

    Weights are buffers that no checkpoint holds, but for those of the later part where it is `tuned`: these
    are parameters.
    """

    size_px = LANDMARKS_PX

    def __init__(self, path: Path | None = None, tuned: bool = False) -> None:
        """Read the network from an ONNX file that `amvur.detect.tflite_conversion` made (None: as shipped).

        Raises `ModelFileError` if the file is missing or holds operators that are not known here.
        """
        super().__init__()
        path = path or shipped_network("hand_landmarks")
        steps, arrays, self._start, self._end = _read(path)
        self._steps = steps
        self._neck = next(step.output for step in reversed(steps) if step.kind == "add")
        # the first block: a convolution, a depthwise one, and a narrowing one
        self._shallow = steps[2].output
        self._cut = steps[_FROZEN_STEPS - 1].output
        later = {step.output for step in steps[_FROZEN_STEPS:]}
        for name, array in arrays.items():
            values = torch.from_numpy(array)
            if tuned and int(name.rsplit("_", 1)[1]) in later:
                self.register_parameter(name, nn.Parameter(values))
            else:
                self.register_buffer(name, values, persistent=False)
        self._padded: dict[int, int] = {}
        with torch.no_grad():
            known = self._known(self._start, torch.zeros(1, 3, self.size_px, self.size_px), steps)
        pooled, neck, shallow = known[self._end].mean((2, 3)), known[self._neck], known[self._shallow]
        last = {known[s.output].shape[-1]: s.output for s in steps if s.kind == "add"}
        self._levels = (self._shallow, *(last[self.size_px // stride] for stride in (4, 8, 16)))
        self._to_levels = steps[: 1 + [step.output for step in steps].index(self._levels[-1])]
        self.level_widths = tuple(known[level].shape[1] for level in self._levels)
        self.width, self.neck_width, self.shallow_width = pooled.shape[1], neck.shape[1], shallow.shape[1]

    def forward(
        self, images: Float[Tensor, "B 3 S S"]
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B E h w"], Float[Tensor, "B C H W"]]:
        """Return pooled feature, last residual map and first block's map of RGB pictures in [0, 1]."""
        middle, shallow = self.early(images)
        return *self.late(middle), shallow

    @torch.no_grad()
    def early(
        self, images: Float[Tensor, "B 3 S S"]
    ) -> tuple[Float[Tensor, "B M i j"], Float[Tensor, "B C H W"]]:
        """Return the map behind the part that is always frozen, and the first block's."""
        known = self._known(self._start, images, self._steps[:_FROZEN_STEPS])
        return known[self._cut], known[self._shallow]

    def late(self, middle: Float[Tensor, "B M i j"]) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B E h w"]]:
        """Return pooled feature and last residual map of what `early` saw."""
        known = self._known(self._cut, middle, self._steps[_FROZEN_STEPS:])
        return known[self._end].mean((2, 3)), known[self._neck]

    def pyramid(self, images: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "B _ _ _"], ...]:
        """Return the maps at strides 2, 4, 8 and 16 of RGB pictures in [0, 1].

        Stride 2 is the first block's map; the others are the last residual maps of their size. What comes
        after them, nearly half of the time for a single picture, is not run.
        """
        known = self._known(self._start, images, self._to_levels)
        return tuple(known[level] for level in self._levels)

    @torch.no_grad()
    def fold(self) -> LandmarkTrunk:
        """Pad the kernels once, for pictures of `size_px`; the weights can no longer be saved or tuned."""
        known = self._known(self._start, torch.zeros(1, 3, self.size_px, self.size_px), self._steps)
        for step in self._steps:
            if step.kind != "add" and step.output not in self._padded:
                name = f"weight_{step.output}"
                length = known[step.inputs[0]].shape[-1]
                weight, after = _centered(getattr(self, name).detach(), length, step.stride)
                delattr(self, name)
                self.register_buffer(name, weight, persistent=False)
                self._padded[step.output] = after
        return self

    def _known(self, start: int, values: Float[Tensor, "B _ _ _"], steps: list[_Step]) -> dict[int, Tensor]:
        """Run operators on a map; return every map by the place of its tensor."""
        known = {start: values.contiguous(memory_format=torch.channels_last)}
        for step in steps:
            known[step.output] = self._run(step, known)
        return known

    def _run(self, step: _Step, known: dict[int, Tensor]) -> Tensor:
        if step.kind == "add":
            result = known[step.inputs[0]] + known[step.inputs[1]]
        else:
            weight, bias = getattr(self, f"weight_{step.output}"), getattr(self, f"bias_{step.output}")
            source = known[step.inputs[0]]
            groups = source.shape[1] if step.kind == "depthwise" else 1
            after = self._padded.get(step.output)
            if after is None:
                weight, after = _centered(weight, source.shape[-1], step.stride)
            result = F.conv2d(source, weight, bias, step.stride, after, groups=groups)
        low, high = _LIMITS[step.activation]
        if low is None:
            return result
        return result.clamp(low, high) if torch.is_grad_enabled() else result.clamp_(low, high)


def _centered(weight: Float[Tensor, "O I k k"], length: int, stride: int) -> tuple[Tensor, int]:
    """Return a kernel and the even padding that together are TensorFlow's SAME padding of a map.

    SAME pads one more at the end where the sum is odd. A row and a column of zeros before the kernel are
    cheaper than a padded copy of the map.
    """
    total = max((-(-length // stride) - 1) * stride + weight.shape[-1] - length, 0)
    return F.pad(weight, (total % 2, 0) * 2), total - total // 2


def _read(path: Path) -> tuple[list[_Step], dict[str, np.ndarray], int, int]:
    """Return operators, arrays in PyTorch's layout, and the places of the input and the last map."""
    import onnx

    with reading(path, "the hand-landmark network", "Reinstall amvur.", ModelFileError):
        model: ModelProto = onnx.load_model_from_string(read_bytes(path, _NETWORK_BYTES))
        halves = {
            w.name.removesuffix("_half"): onnx.numpy_helper.to_array(w) for w in model.graph.initializer
        }
        steps: list[_Step] = []
        activations: dict[int, str] = {}
        start = -1
        for node in model.graph.node:
            if node.op_type == "Transpose" and start < 0:
                start = _place(node.output[0])
            elif node.op_type in ("Conv", "Add"):
                steps.append(_step(node))
            elif node.op_type in _LIMITS:
                activations[_place(node.output[0])] = node.op_type
            elif node.op_type == "GlobalAveragePool":
                steps = [replace(s, activation=activations.get(s.output, "")) for s in steps]
                arrays = {
                    name: halves[name].astype(np.float32)
                    for step in steps
                    for name in (f"weight_{step.output}", f"bias_{step.output}")
                    if step.kind != "add"
                }
                return steps, arrays, start, _place(node.input[0])
        raise ValueError("it has no pooling")


def _step(node: NodeProto) -> _Step:
    """Translate one operator."""
    inputs = tuple(_place(name) for name in node.input if name.startswith("map_"))
    if node.op_type == "Add":
        return _Step("add", inputs, _place(node.output[0]))
    numbers = {a.name: (a.i, list(a.ints)) for a in node.attribute}
    kind = "depthwise" if numbers["group"][0] > 1 else "conv"
    return _Step(kind, inputs, _place(node.output[0]), numbers["strides"][1][0])


def _place(name: str) -> int:
    """Return the number in a map's name."""
    return int(name.rsplit("_", 1)[1])
