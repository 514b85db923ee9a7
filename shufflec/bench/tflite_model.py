"""Float ONNX -> a TensorFlow Lite model, in float or int8, of the same layers in TensorFlow's NHWC.

int8 is what TensorFlow's own post-training quantization makes: activations with a scale and zero point a tensor from
the range seen in calibration, weights symmetric with a scale an output channel, int32 bias; pools and shuffles keep
the scale of their input, and a concat's inputs are brought to its scale. A channel shuffle is RESHAPE, TRANSPOSE,
RESHAPE; padding that VALID windows need is a PAD, as the converters write it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from shufflec.bench.tflite_file import RELU, VALID_PADDING, Code, Model, Operator, Tensor
from shufflec.errors import UnsupportedModelError

Range = tuple[float, float]
_TO_NHWC = (0, 2, 3, 1)


def to_tflite(model: onnx.ModelProto, ranges: Mapping[str, Range] | None = None) -> bytes:
    """Converts a float ONNX ShuffleNet (batch norm folded); with `ranges` to int8.

    ranges: (least, largest) value of each float tensor over the calibration. Input and output stay float32; the input
    becomes NHWC. Raises UnsupportedModelError for an operator that this conversion does not know.
    """
    return _Conversion(model, ranges).convert().to_bytes()


class _Conversion:
    """One walk over the ONNX nodes; Conv or Add and a following Relu become one operator."""

    def __init__(self, model: onnx.ModelProto, ranges: Mapping[str, Range] | None):
        self.graph, self.ranges, self.out = model.graph, ranges, Model()
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.numbers: dict[str, int] = {}  # ONNX name -> tensor
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self.done: set[str] = set()

    def convert(self) -> Model:
        entry = self.graph.input[0]
        _, channels, height, width = (dim.dim_value for dim in entry.type.tensor_type.shape.dim)
        number = self.tensor(entry.name, (1, height, width, channels), "float32")
        self.out.inputs = [number]
        if self.ranges is not None:
            scale, zero = _activation(self.ranges[entry.name])
            whole = self.quantized(f"{entry.name}.int8", (1, height, width, channels), scale, zero)
            number = self.emit(Code.QUANTIZE, [number], whole)
        self.numbers[entry.name] = number
        for node in self.graph.node:
            if node.op_type == "Constant" or node.output[0] in self.done:
                continue
            convert = _CONVERTERS.get(node.op_type)
            if convert is None:
                raise UnsupportedModelError(f"TFLite conversion: operator {node.op_type} of {node.name} is not known")
            convert(self, node)
        last = self.numbers[self.graph.output[0].name]
        if self.ranges is not None:
            last = self.emit(Code.DEQUANTIZE, [last], self.tensor("output", self.shape(last), "float32"))
        self.out.outputs = [last]
        return self.out

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str, **more) -> int:
        self.out.tensors.append(Tensor(name, tuple(map(int, shape)), dtype, **more))
        return len(self.out.tensors) - 1

    def quantized(self, name: str, shape: tuple[int, ...], scale, zero) -> int:
        return self.tensor(name, shape, "int8", scale=scale, zero_point=zero)

    def constant(self, name: str, data: np.ndarray, **more) -> int:
        return self.tensor(name, data.shape, data.dtype.name, data=data, **more)

    def emit(self, code: Code, inputs: list[int], output: int, **options: int) -> int:
        self.out.operators.append(Operator(code, inputs, [output], options))
        return output

    def shape(self, number: int) -> tuple[int, ...]:
        return self.out.tensors[number].shape

    def fresh(self, name: str, shape: tuple[int, ...]) -> int:
        """A tensor with the range of ONNX tensor `name`."""
        if self.ranges is None:
            return self.tensor(name, shape, "float32")
        return self.quantized(name, shape, *_activation(self.ranges[name]))

    def like(self, name: str, shape: tuple[int, ...], source: int) -> int:
        """A tensor with the scale of tensor number `source`."""
        given = self.out.tensors[source]
        return self.tensor(name, shape, given.dtype, scale=given.scale, zero_point=given.zero_point)

    def activation(self, node: onnx.NodeProto) -> tuple[str, int]:
        """(name of the output, fused activation), where a Relu that alone follows is taken into the operator."""
        after = self.consumers.get(node.output[0], [])
        if len(after) == 1 and after[0].op_type == "Relu":
            self.done.add(after[0].output[0])
            return after[0].output[0], RELU
        return node.output[0], 0

    def padded(self, node: onnx.NodeProto, attributes: dict) -> int:
        source = self.numbers[node.input[0]]
        top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
        if not any((top, left, bottom, right)):
            return source
        _, height, width, channels = self.shape(source)
        table = self.constant(f"{node.name}.pads", np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
        shape = (1, height + top + bottom, width + left + right, channels)
        return self.emit(Code.PAD, [source, table], self.like(f"{node.name}.padded", shape, source))

    def weights(self, name: str, source: int, weight: np.ndarray, bias: np.ndarray, axis: int) -> list[int]:
        """Constants of a convolution or classifier. axis: of the output channels."""
        bias = np.asarray(bias, np.float32)
        if self.ranges is None:
            return [
                self.constant(f"{name}.weight", weight.astype(np.float32)),
                self.constant(f"{name}.bias", bias),
            ]
        others = tuple(i for i in range(weight.ndim) if i != axis)
        reach = np.abs(weight).max(axis=others)
        scale = np.where(reach == 0, 1.0, reach).astype(np.float64) / 127
        values = np.rint(weight / scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)]))
        bias_scale = scale * float(self.out.tensors[source].scale)
        wide = np.clip(np.rint(bias / bias_scale), -(2**31), 2**31 - 1).astype(np.int32)
        zero = np.zeros(len(scale), np.int64)
        return [
            self.constant(f"{name}.weight", values.astype(np.int8), scale=scale, zero_point=zero, axis=axis),
            self.constant(f"{name}.bias", wide, scale=bias_scale, zero_point=zero),
        ]

    def conv(self, node: onnx.NodeProto) -> None:
        attributes, weight = _attributes(node), self.constants[node.input[1]]
        bias = self.constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight), np.float32)
        name, relu = self.activation(node)
        source = self.padded(node, attributes)
        stride_h, stride_w = attributes.get("strides", (1, 1))
        _, height, width, channels = self.shape(source)
        outputs, depth, kernel_h, kernel_w = weight.shape
        depthwise = depth == 1 and attributes.get("group", 1) == channels == outputs
        packed = weight.transpose(1, 2, 3, 0) if depthwise else weight.transpose(0, 2, 3, 1)
        constants = self.weights(name, source, packed, bias, axis=3 if depthwise else 0)
        shape = (1, (height - kernel_h) // stride_h + 1, (width - kernel_w) // stride_w + 1, outputs)
        options = {"padding": VALID_PADDING, "stride_w": stride_w, "stride_h": stride_h, "relu": relu}
        code = Code.DEPTHWISE_CONV_2D if depthwise else Code.CONV_2D
        options |= {"multiplier": 1} if depthwise else {}
        self.numbers[name] = self.emit(code, [source, *constants], self.fresh(name, shape), **options)

    def pool(self, node: onnx.NodeProto) -> None:
        attributes = _attributes(node)
        average = node.op_type == "AveragePool"
        padded = any(attributes.get("pads", (0,)))
        if average and padded and not attributes.get("count_include_pad", 0):
            raise UnsupportedModelError(f"TFLite conversion: {node.name} averages without its padding")
        if not average and padded and not self._follows_relu(node.input[0]):
            raise UnsupportedModelError(f"TFLite conversion: {node.name} pads values that may be negative")
        source = self.padded(node, attributes)
        (kernel_h, kernel_w), (stride_h, stride_w) = attributes["kernel_shape"], attributes["strides"]
        _, height, width, channels = self.shape(source)
        shape = (1, (height - kernel_h) // stride_h + 1, (width - kernel_w) // stride_w + 1, channels)
        output = self.like(node.output[0], shape, source)
        options = {"padding": VALID_PADDING, "stride_w": stride_w, "stride_h": stride_h}
        code = Code.AVERAGE_POOL_2D if average else Code.MAX_POOL_2D
        options |= {"filter_w": kernel_w, "filter_h": kernel_h}
        self.numbers[node.output[0]] = self.emit(code, [source], output, **options)

    def _follows_relu(self, name: str) -> bool:
        return any(node.op_type == "Relu" and node.output[0] == name for node in self.graph.node)

    def reshape(self, node: onnx.NodeProto) -> None:
        """reshape-transpose-reshape of a channel shuffle; in NHWC the channels are last."""
        shape = self.constants.get(node.input[1])
        source = self.numbers[node.input[0]]
        transpose = (self.consumers.get(node.output[0]) or [None])[0]
        back = (self.consumers.get(transpose.output[0]) or [None])[0] if transpose is not None else None
        if shape is None or len(shape) != 5 or back is None or list(_attributes(transpose)["perm"]) != [0, 2, 1, 3, 4]:
            raise UnsupportedModelError(f"TFLite conversion: node {node.name} is a Reshape that is no channel shuffle")
        self.done.update((transpose.output[0], back.output[0]))
        _, height, width, channels = self.shape(source)
        rows = int(shape[1])
        split, merged = (1, height, width, rows, channels // rows), (1, height, width, channels // rows, rows)
        number = self._reshaped(node.name, source, split)
        order = self.constant(f"{node.name}.order", np.array([0, 1, 2, 4, 3], np.int32))
        turned = self.like(f"{node.name}.turned", merged, source)
        number = self.emit(Code.TRANSPOSE, [number, order], turned)
        self.numbers[back.output[0]] = self._reshaped(back.output[0], number, (1, height, width, channels))

    def _reshaped(self, name: str, source: int, shape: tuple[int, ...]) -> int:
        table = self.constant(f"{name}.shape", np.array(shape, np.int32))
        return self.emit(Code.RESHAPE, [source, table], self.like(name, shape, source))

    def add(self, node: onnx.NodeProto) -> None:
        name, relu = self.activation(node)
        inputs = [self.numbers[operand] for operand in node.input]
        self.numbers[name] = self.emit(Code.ADD, inputs, self.fresh(name, self.shape(inputs[0])), relu=relu)

    def split(self, node: onnx.NodeProto) -> None:
        """SPLIT makes equal parts along the last axis; a part keeps the scale of the whole."""
        source, sizes = self.numbers[node.input[0]], self.constants[node.input[1]]
        if len(set(sizes.tolist())) != 1:
            raise UnsupportedModelError(f"TFLite conversion: {node.name} splits channels into unequal parts")
        shape = (*self.shape(source)[:3], int(sizes[0]))
        outputs = [self.like(name, shape, source) for name in node.output]
        axis = self.constant(f"{node.name}.axis", np.array(3, np.int32))
        self.out.operators.append(Operator(Code.SPLIT, [axis, source], outputs, {"parts": len(outputs)}))
        self.numbers |= dict(zip(node.output, outputs, strict=True))

    def concat(self, node: onnx.NodeProto) -> None:
        inputs = [self.numbers[operand] for operand in node.input]
        shape = (*self.shape(inputs[0])[:3], sum(self.shape(number)[3] for number in inputs))
        output = self.fresh(node.output[0], shape)
        if self.ranges is not None:
            inputs = [
                self.emit(Code.QUANTIZE, [number], self.like(f"{node.name}.{i}", self.shape(number), output))
                for i, number in enumerate(inputs)
            ]
        self.numbers[node.output[0]] = self.emit(Code.CONCATENATION, inputs, output, axis=3)

    def global_average(self, node: onnx.NodeProto) -> None:
        source = self.numbers[node.input[0]]
        axes = self.constant(f"{node.name}.axes", np.array([1, 2], np.int32))
        output = self.fresh(node.output[0], (1, self.shape(source)[3]))
        self.numbers[node.output[0]] = self.emit(Code.MEAN, [source, axes], output)

    def flatten(self, node: onnx.NodeProto) -> None:
        self.numbers[node.output[0]] = self.numbers[node.input[0]]  # the mean is flat already

    def gemm(self, node: onnx.NodeProto) -> None:
        weight = self.constants[node.input[1]]
        weight = weight if _attributes(node).get("transB", 0) else weight.T
        source = self.numbers[node.input[0]]
        constants = self.weights(node.name, source, weight, self.constants[node.input[2]], axis=0)
        output = self.fresh(node.output[0], (1, len(weight)))
        self.numbers[node.output[0]] = self.emit(Code.FULLY_CONNECTED, [source, *constants], output)


_CONVERTERS: dict[str, Callable[[_Conversion, onnx.NodeProto], None]] = {
    "Conv": _Conversion.conv,
    "Gemm": _Conversion.gemm,
    "MaxPool": _Conversion.pool,
    "AveragePool": _Conversion.pool,
    "GlobalAveragePool": _Conversion.global_average,
    "Add": _Conversion.add,
    "Concat": _Conversion.concat,
    "Split": _Conversion.split,
    "Flatten": _Conversion.flatten,
    "Reshape": _Conversion.reshape,
}


def _activation(seen: Range) -> tuple[np.float32, np.int64]:
    """(scale, zero point) of int8 for a range of values, which is widened to hold zero."""
    low, high = min(seen[0], 0.0), max(seen[1], 0.0)
    scale = np.float32(max(high - low, 1e-8) / 255)
    return scale, np.int64(np.clip(np.rint(-128 - low / scale), -128, 127))


def _attributes(node: onnx.NodeProto) -> dict:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
