"""The convolutions of MediaPipe's hand-landmark network in PyTorch, frozen or tuned in their later part.

The network (Apache-2.0, in mediapipe's wheel) has seen far more photographs of hands than anyone can
render; its last convolution tells poses apart well. It is read from the TFLite file at run time, so that
checkpoints hold only what was trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from amvur.errors import ModelFileError
from amvur.reading import read_bytes, reading

_LIMITS = {0: (None, None), 1: (0.0, None), 3: (0.0, 6.0)}
"""TFLite's fused activations: none, ReLU, ReLU6."""
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
    activation: int = 0


class LandmarkTrunk(nn.Module):
    """Pictures → the pooled feature, the map of the last residual block and the first block's map.

    Weights are buffers that no checkpoint holds, but for those of the later part where it is `tuned`: these
    are parameters.
    """

    size_px = 224

    def __init__(self, path: Path | None = None, tuned: bool = False) -> None:
        """Read the network from a TFLite file (None: the one in mediapipe's wheel).

        Raises `ModelFileError` if the file is missing or holds operators that are not known here.
        """
        super().__init__()
        path = path or landmark_model()
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
            before, after = _padding(source.shape[-1], weight.shape[-1], step.stride)
            # a row and a column of zeros before the kernel are cheaper than a padded copy of the map
            weight = F.pad(weight, (after - before, 0) * 2)
            result = F.conv2d(source, weight, bias, step.stride, after, groups=groups)
        low, high = _LIMITS[step.activation]
        if low is None:
            return result
        return result.clamp(low, high) if torch.is_grad_enabled() else result.clamp_(low, high)


def _padding(length: int, size: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's SAME padding (before, after), the second larger by one where it is not even."""
    total = max((-(-length // stride) - 1) * stride + size - length, 0)
    return total // 2, total - total // 2


def landmark_model() -> Path:
    """Return the landmark network's file in mediapipe's wheel; raises `ModelFileError` without mediapipe."""
    from importlib.util import find_spec

    spec = find_spec("mediapipe")
    if spec is None or spec.origin is None:
        raise ModelFileError(
            "This network reads its backbone from the package mediapipe==0.10.21, which is not installed. "
            "Install it with: pip install mediapipe==0.10.21"
        )
    return Path(spec.origin).parent / "modules" / "hand_landmark" / "hand_landmark_full.tflite"


def _read(path: Path) -> tuple[list[_Step], dict[str, np.ndarray], int, int]:
    """Return operators, arrays in PyTorch's layout, and the places of the input and the last map."""
    import tflite  # type: ignore[import-untyped]

    remedy = "Reinstall it with: pip install --force-reinstall mediapipe==0.10.21"
    with reading(path, "the backbone", remedy, ModelFileError):
        model = tflite.Model.GetRootAsModel(read_bytes(path, _NETWORK_BYTES), 0)
        graph = model.Subgraphs(0)
        steps: list[_Step] = []
        arrays: dict[str, np.ndarray] = {}
        source: dict[int, int] = {}
        for index in range(graph.OperatorsLength()):
            operator = graph.Operators(index)
            code = model.OperatorCodes(operator.OpcodeIndex())
            kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            inputs, output = [int(i) for i in operator.InputsAsNumpy()], int(operator.Outputs(0))
            if kind == tflite.BuiltinOperator.DEQUANTIZE:
                source[output] = inputs[0]
            elif kind == tflite.BuiltinOperator.MEAN:
                return steps, arrays, int(graph.Inputs(0)), inputs[0]
            else:
                step, weights = _step(model, graph, operator, kind, source)
                steps.append(step)
                arrays |= weights
    raise ModelFileError(f"{path} is another network: no pooling found. Install mediapipe==0.10.21.")


def _step(
    model: Any, graph: Any, operator: Any, kind: int, source: dict[int, int]
) -> tuple[_Step, dict[str, np.ndarray]]:
    """Translate one operator; its weights are float16 behind a DEQUANTIZE or float32."""
    import tflite

    inputs, output = tuple(int(i) for i in operator.InputsAsNumpy()), int(operator.Outputs(0))
    table = operator.BuiltinOptions()
    names = {
        tflite.BuiltinOperator.ADD: ("add", tflite.AddOptions),
        tflite.BuiltinOperator.CONV_2D: ("conv", tflite.Conv2DOptions),
        tflite.BuiltinOperator.DEPTHWISE_CONV_2D: ("depthwise", tflite.DepthwiseConv2DOptions),
    }
    if kind not in names:
        raise ValueError(f"an operator that is not known here: {kind}")
    name, kind_of_options = names[kind]
    options = kind_of_options()
    options.Init(table.Bytes, table.Pos)
    activation = options.FusedActivationFunction()
    if name == "add":
        return _Step(name, inputs, output, 1, activation), {}
    weight = _array(model, graph, source.get(inputs[1], inputs[1]))
    bias = _array(model, graph, source.get(inputs[2], inputs[2]))
    layout = (0, 3, 1, 2) if name == "conv" else (3, 0, 1, 2)
    weight = np.ascontiguousarray(weight.transpose(layout))
    arrays = {f"weight_{output}": weight, f"bias_{output}": bias}
    return _Step(name, inputs[:1], output, options.StrideH(), activation), arrays


def _array(model: Any, graph: Any, index: int) -> np.ndarray:
    import tflite

    tensor = graph.Tensors(index)
    kind = {tflite.TensorType.FLOAT16: np.float16, tflite.TensorType.FLOAT32: np.float32}[tensor.Type()]
    raw = model.Buffers(tensor.Buffer()).DataAsNumpy()
    values: np.ndarray = raw.view(kind).reshape(tensor.ShapeAsNumpy()).astype(np.float32)
    return values
