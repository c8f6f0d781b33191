"""From a TFLite file of MediaPipe's hand networks to an ONNX file that any onnxruntime runs.

Used once for the networks that ship (`tools/convert_hand_networks.py`) and at run time for a user's own
`.task` file. It needs the packages tflite and onnx: `pip install amvur[task]`.

Input: RGB pictures `(B, S, S, 3)` uint8, B free; the division by 255 is part of the graph. Outputs are those
of the TFLite file in its order, `(B, numbers)` float32. Opset 17.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from amvur.errors import DetectorError
from amvur.reading import reading

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

OPSET, IR_VERSION = 17, 8
_REMEDY = "Give a hand_landmarker.task file of MediaPipe, or use the networks that ship with amvur."


def to_onnx(data: bytes, source: str) -> ModelProto:
    """Return the ONNX model of the TFLite file `data`, called `source` in messages.

    Weights keep their type (float16 is widened by the graph). Raises `DetectorError` where a package is
    missing, the data are damaged, or hold an operator that these networks do not have.
    """
    try:
        import onnx
        import tflite
    except ImportError as error:
        raise DetectorError(
            f"To read {source} the packages tflite and onnx are needed ({error}). "
            "Install them with: pip install amvur[task]"
        ) from error
    with reading(source, "a TFLite network", _REMEDY, DetectorError):
        model = tflite.Model.GetRootAsModel(data, 0)
        converter = _Converter(model, model.Subgraphs(0), onnx)
        return converter.convert()


@dataclass
class _Converter:
    """One conversion: maps are NCHW in the graph made here, NHWC in TFLite's."""

    model: Any
    graph: Any
    onnx: Any
    nodes: list[NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)
    constants: dict[int, int] = field(default_factory=dict)
    """Tensor written by DEQUANTIZE → the stored one."""
    flat: set[int] = field(default_factory=set)
    """Tensors that are no maps: their axes are TFLite's."""

    def convert(self) -> ModelProto:
        """Translate all operators and check the result."""
        helper, types = self.onnx.helper, self.onnx.TensorProto
        source = int(self.graph.Inputs(0))
        side = int(self.graph.Tensors(source).ShapeAsNumpy()[1])
        self._add("Cast", ["pictures"], "numbers", to=types.FLOAT)
        self._add("Mul", ["numbers", self._constant("per_level", np.float32(1 / 255))], "levels")
        self._add("Transpose", ["levels"], _name(source), perm=[0, 3, 1, 2])
        for index in range(self.graph.OperatorsLength()):
            self._translate(self.graph.Operators(index))
        outputs = []
        for place, tensor in enumerate(int(i) for i in self.graph.OutputsAsNumpy()):
            self._add("Flatten", [_name(tensor)], f"output_{place}", axis=1)
            outputs.append(helper.make_tensor_value_info(f"output_{place}", types.FLOAT, ["batch", None]))
        pictures = helper.make_tensor_value_info("pictures", types.UINT8, ["batch", side, side, 3])
        graph = helper.make_graph(self.nodes, "hand_network", [pictures], outputs, self.weights)
        opset = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="amvur")
        self.onnx.checker.check_model(made)
        return made

    def _translate(self, operator: Any) -> None:
        """Add the nodes of one operator."""
        import tflite

        code = self.model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        inputs, output = [int(i) for i in operator.InputsAsNumpy()], int(operator.Outputs(0))
        names: dict[int, tuple[Callable[..., None], str]] = {
            tflite.BuiltinOperator.DEQUANTIZE: (self._dequantize, ""),
            tflite.BuiltinOperator.CONV_2D: (self._convolution, "Conv2DOptions"),
            tflite.BuiltinOperator.DEPTHWISE_CONV_2D: (self._convolution, "DepthwiseConv2DOptions"),
            tflite.BuiltinOperator.ADD: (self._sum, "AddOptions"),
            tflite.BuiltinOperator.PRELU: (self._prelu, ""),
            tflite.BuiltinOperator.MAX_POOL_2D: (self._max_pool, "Pool2DOptions"),
            tflite.BuiltinOperator.PAD: (self._pad, ""),
            tflite.BuiltinOperator.RESIZE_BILINEAR: (self._resize, "ResizeBilinearOptions"),
            tflite.BuiltinOperator.RESHAPE: (self._reshape, ""),
            tflite.BuiltinOperator.CONCATENATION: (self._concatenate, "ConcatenationOptions"),
            tflite.BuiltinOperator.MEAN: (self._mean, ""),
            tflite.BuiltinOperator.FULLY_CONNECTED: (self._linear, "FullyConnectedOptions"),
            tflite.BuiltinOperator.LOGISTIC: (self._logistic, ""),
        }
        if kind not in names:
            raise ValueError(f"it has an operator that hand networks do not have, number {kind}")
        translate, options_name = names[kind]
        options = getattr(tflite, options_name)() if options_name else None
        if options is not None:
            table = operator.BuiltinOptions()
            options.Init(table.Bytes, table.Pos)
        translate(inputs, output, options)

    def _dequantize(self, inputs: list[int], output: int, _: Any) -> None:
        self.constants[output] = inputs[0]

    def _convolution(self, inputs: list[int], output: int, options: Any) -> None:
        depthwise = hasattr(options, "DepthMultiplier")
        weight = self._array(inputs[1])
        weight = weight.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
        side, stride = self._shape(inputs[0])[1], int(options.StrideH())
        names = [
            _name(inputs[0]),
            self._widened(f"weight_{output}", weight),
            self._widened(f"bias_{output}", self._array(inputs[2])),
        ]
        kernel = int(weight.shape[2])
        self._add(
            "Conv",
            names,
            self._before_activation(output, options),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=_padding(side, kernel, stride, options.Padding()),
            group=int(weight.shape[0]) if depthwise else 1,
        )
        self._activate(output, options)

    def _sum(self, inputs: list[int], output: int, options: Any) -> None:
        self._add("Add", [_name(i) for i in inputs], self._before_activation(output, options))
        self._activate(output, options)

    def _prelu(self, inputs: list[int], output: int, _: Any) -> None:
        slope = self._array(inputs[1]).reshape(-1, 1, 1)
        self._add("PRelu", [_name(inputs[0]), self._widened(f"slope_{output}", slope)], _name(output))

    def _max_pool(self, inputs: list[int], output: int, options: Any) -> None:
        kernel, stride = int(options.FilterHeight()), int(options.StrideH())
        self._add(
            "MaxPool",
            [_name(inputs[0])],
            self._before_activation(output, options),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=_padding(self._shape(inputs[0])[1], kernel, stride, options.Padding()),
        )
        self._activate(output, options)

    def _pad(self, inputs: list[int], output: int, _: Any) -> None:
        amounts = self._array(inputs[1])[[0, 3, 1, 2]].T.ravel().astype(np.int64)
        self._add("Pad", [_name(inputs[0]), self._constant(f"pads_{output}", amounts)], _name(output))

    def _resize(self, inputs: list[int], output: int, options: Any) -> None:
        if options.AlignCorners() or not options.HalfPixelCenters():
            raise ValueError("it enlarges maps in another way than hand networks do")
        factors = np.array(self._shape(output)[1:3]) / self._shape(inputs[0])[1:3]
        scales = self._constant(f"scales_{output}", np.array([1, 1, *factors], np.float32))
        self._add("Resize", [_name(inputs[0]), "", scales], _name(output), mode="linear")

    def _reshape(self, inputs: list[int], output: int, _: Any) -> None:
        source = _name(inputs[0])
        if inputs[0] not in self.flat and len(self._shape(inputs[0])) == 4:
            self._add("Transpose", [source], f"rows_{output}", perm=[0, 2, 3, 1])
            source = f"rows_{output}"
        # the first axis, the batch, stays as it is
        shape = self._constant(f"shape_{output}", np.array([0, *self._shape(output)[1:]], np.int64))
        self._add("Reshape", [source, shape], _name(output))
        self.flat.add(output)

    def _concatenate(self, inputs: list[int], output: int, options: Any) -> None:
        axis = int(options.Axis())
        if all(i in self.flat for i in inputs):
            self.flat.add(output)
        else:
            axis = (0, 2, 3, 1)[axis]
        self._add("Concat", [_name(i) for i in inputs], _name(output), axis=axis)

    def _mean(self, inputs: list[int], output: int, _: Any) -> None:
        if self._array(inputs[1]).ravel().tolist() != [1, 2]:
            raise ValueError("it averages over other axes than hand networks do")
        self._add("GlobalAveragePool", [_name(inputs[0])], f"mean_{output}")
        self._add("Flatten", [f"mean_{output}"], _name(output), axis=1)
        self.flat.add(output)

    def _linear(self, inputs: list[int], output: int, options: Any) -> None:
        names = [
            _name(inputs[0]),
            self._widened(f"weight_{output}", self._array(inputs[1])),
            self._widened(f"bias_{output}", self._array(inputs[2])),
        ]
        self._add("Gemm", names, self._before_activation(output, options), transB=1)
        self._activate(output, options)
        self.flat.add(output)

    def _logistic(self, inputs: list[int], output: int, _: Any) -> None:
        self._add("Sigmoid", [_name(inputs[0])], _name(output))
        if inputs[0] in self.flat:
            self.flat.add(output)

    def _before_activation(self, output: int, options: Any) -> str:
        """Return the name of an operator's result before its fused activation."""
        return f"linear_{output}" if options.FusedActivationFunction() else _name(output)

    def _activate(self, output: int, options: Any) -> None:
        """Add a fused activation: none, ReLU or ReLU6."""
        kind = options.FusedActivationFunction()
        if kind == 1:
            self._add("Relu", [f"linear_{output}"], _name(output))
        elif kind == 3:
            low, high = (self._constant(name, np.float32(x)) for name, x in (("zero", 0), ("six", 6)))
            self._add("Clip", [f"linear_{output}", low, high], _name(output))
        elif kind:
            raise ValueError(f"it has an activation that hand networks do not have, number {kind}")

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], output, **attributes))

    def _constant(self, name: str, values: Any) -> str:
        if not any(weight.name == name for weight in self.weights):
            array = np.ascontiguousarray(values) if np.ndim(values) else np.asarray(values)
            self.weights.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def _widened(self, name: str, values: np.ndarray) -> str:
        """Store weights in their own type; return the name under which they are float32."""
        if values.dtype != np.float16:
            return self._constant(name, values)
        self._add("Cast", [self._constant(f"{name}_half", values)], name, to=self.onnx.TensorProto.FLOAT)
        return name

    def _shape(self, tensor: int) -> list[int]:
        return [int(n) for n in self.graph.Tensors(tensor).ShapeAsNumpy()]

    def _array(self, tensor: int) -> np.ndarray:
        """Return a constant tensor."""
        import tflite

        stored = self.graph.Tensors(self.constants.get(tensor, tensor))
        kinds = {
            tflite.TensorType.FLOAT16: np.float16,
            tflite.TensorType.FLOAT32: np.float32,
            tflite.TensorType.INT32: np.int32,
        }
        raw = self.model.Buffers(stored.Buffer()).DataAsNumpy()
        values: np.ndarray = raw.view(kinds[stored.Type()]).reshape(stored.ShapeAsNumpy())
        return values


def _name(tensor: int) -> str:
    return f"map_{tensor}"


def _padding(length: int, size: int, stride: int, kind: int) -> list[int]:
    """Return ONNX's pads of TensorFlow's SAME (0), the end larger by one where it is not even, or VALID."""
    total = 0 if kind else max((-(-length // stride) - 1) * stride + size - length, 0)
    before, after = total // 2, total - total // 2
    return [before, before, after, after]
