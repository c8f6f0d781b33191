"""Writes small TFLite files: a list of operators over tensors, with float16 or float32 constants."""

import flatbuffers
import numpy as np
import tflite

KINDS = {np.float16: tflite.TensorType.FLOAT16, np.float32: tflite.TensorType.FLOAT32}
KINDS |= {np.int32: tflite.TensorType.INT32}


class TfliteWriter:
    """Collects tensors and operators; `write` gives the file's bytes."""

    def __init__(self, input_shape):
        self.tensors, self.operators, self.codes = [], [], []
        self.input = self.tensor(input_shape)

    def tensor(self, shape):
        self.tensors.append((tuple(shape), None))
        return len(self.tensors) - 1

    def constant(self, values):
        self.tensors.append((values.shape, np.ascontiguousarray(values)))
        return len(self.tensors) - 1

    def half(self, values):
        """A float16 constant behind a DEQUANTIZE."""
        stored = self.constant(values.astype(np.float16))
        return self.add("DEQUANTIZE", [stored], values.shape)

    def add(self, kind, inputs, shape, **options):
        output = self.tensor(shape)
        self.operators.append((kind, inputs, output, options))
        return output

    def write(self, outputs):
        self.builder = builder = flatbuffers.Builder(1 << 16)
        self.kinds = sorted({kind for kind, *_ in self.operators})
        buffers, tensors = [self._buffer(None)], []
        for shape, values in self.tensors:
            place = 0
            if values is not None:
                place = len(buffers)
                buffers.append(self._buffer(values))
            kind = KINDS[np.float32 if values is None else values.dtype.type]
            dims = builder.CreateNumpyVector(np.array(shape, np.int32))
            tflite.TensorStart(builder)
            tflite.TensorAddShape(builder, dims)
            tflite.TensorAddType(builder, kind)
            tflite.TensorAddBuffer(builder, place)
            tensors.append(tflite.TensorEnd(builder))
        operators = [self._operator(*operator) for operator in self.operators]
        codes = []
        for kind in self.kinds:
            tflite.OperatorCodeStart(builder)
            tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, getattr(tflite.BuiltinOperator, kind))
            tflite.OperatorCodeAddBuiltinCode(builder, getattr(tflite.BuiltinOperator, kind))
            codes.append(tflite.OperatorCodeEnd(builder))
        ends = [builder.CreateNumpyVector(np.array(x, np.int32)) for x in ([self.input], outputs)]
        parts = [self._vector(x) for x in (tensors, operators)]
        tflite.SubGraphStart(builder)
        tflite.SubGraphAddTensors(builder, parts[0])
        tflite.SubGraphAddInputs(builder, ends[0])
        tflite.SubGraphAddOutputs(builder, ends[1])
        tflite.SubGraphAddOperators(builder, parts[1])
        graphs = self._vector([tflite.SubGraphEnd(builder)])
        codes, buffers = self._vector(codes), self._vector(buffers)
        tflite.ModelStart(builder)
        tflite.ModelAddVersion(builder, 3)
        tflite.ModelAddOperatorCodes(builder, codes)
        tflite.ModelAddSubgraphs(builder, graphs)
        tflite.ModelAddBuffers(builder, buffers)
        builder.Finish(tflite.ModelEnd(builder), b"TFL3")
        return bytes(builder.Output())

    def _buffer(self, values):
        data = None if values is None else self.builder.CreateNumpyVector(values.ravel().view(np.uint8))
        tflite.BufferStart(self.builder)
        if data is not None:
            tflite.BufferAddData(self.builder, data)
        return tflite.BufferEnd(self.builder)

    def _operator(self, kind, inputs, output, options):
        builder = self.builder
        ends = [builder.CreateNumpyVector(np.array(x, np.int32)) for x in (inputs, [output])]
        table = None
        if options:
            name = options["table"]
            getattr(tflite, f"{name}Start")(builder)
            for field, value in options.items():
                if field != "table":
                    getattr(tflite, f"{name}Add{field}")(builder, value)
            table = getattr(tflite, f"{name}End")(builder)
        tflite.OperatorStart(builder)
        tflite.OperatorAddOpcodeIndex(builder, self.kinds.index(kind))
        tflite.OperatorAddInputs(builder, ends[0])
        tflite.OperatorAddOutputs(builder, ends[1])
        if table is not None:
            tflite.OperatorAddBuiltinOptionsType(builder, getattr(tflite.BuiltinOptions, options["table"]))
            tflite.OperatorAddBuiltinOptions(builder, table)
        return tflite.OperatorEnd(builder)

    def _vector(self, offsets):
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()
