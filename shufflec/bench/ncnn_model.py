"""Float ONNX -> an ncnn model (.param text and .bin weights), in float or int8.

The int8 form is what ncnn's own ncnn2int8 tool makes of a calibration table: every convolution and the classifier
get int8_scale_term, one scale per output channel (per group for grouped convolutions) and one for the input; between
two convolutions the first one requantizes. ncnn rounds the float weights itself while it loads the model.
Source: docs of ncnn's param file and tools/quantize/ncnn2int8.cpp, ncnn 20261020.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from shufflec.errors import UnsupportedModelError

_MAGIC = 7767517
_SLICES = -23300  # id of the array parameter 0: its length and its values
_RELU = 1  # activation_type of ncnn's convolutions
_CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")


@dataclass(frozen=True)
class NcnnModel:
    """The two files of an ncnn model; `input` and `output` are its blob names."""

    param: str
    weights: bytes
    input: str
    output: str


@dataclass
class _Layer:
    type: str
    name: str
    bottoms: list[str]
    tops: list[str]
    params: dict[int, int | str] = field(default_factory=dict)
    weights: list[bytes] = field(default_factory=list)  # in the order in which ncnn's load_model reads them
    source: str = ""  # the ONNX name of the tensor that enters


def to_ncnn(model: onnx.ModelProto, input_absmax: Mapping[str, float] | None = None) -> NcnnModel:
    """Converts a float ONNX ShuffleNet (batch norm folded); with `input_absmax` to int8.

    input_absmax: for the ONNX name of the tensor that enters each Conv and Gemm, the largest absolute value seen in
    calibration. Raises UnsupportedModelError for an operator that this conversion does not know.
    """
    layers = _Conversion(model).layers()
    if input_absmax is not None:
        _quantize(layers, input_absmax)
    layers = _split_shared_blobs(layers)
    blobs = sum(len(layer.tops) for layer in layers)
    lines = [str(_MAGIC), f"{len(layers)} {blobs}"]
    for layer in layers:
        values = [f"{key}={value}" for key, value in sorted(layer.params.items())]
        counts = (str(len(layer.bottoms)), str(len(layer.tops)))
        lines.append(" ".join([layer.type, layer.name, *counts, *layer.bottoms, *layer.tops, *values]))
    weights = b"".join(part for layer in layers for part in layer.weights)
    return NcnnModel("\n".join(lines) + "\n", weights, layers[0].tops[0], layers[-1].tops[0])


class _Conversion:
    """One walk over the ONNX nodes; Conv + Relu become one layer, reshape-transpose-reshape a ShuffleChannel."""

    def __init__(self, model: onnx.ModelProto):
        self.graph = model.graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self.done: set[str] = set()  # outputs of nodes that an earlier node has taken into its layer
        self.alias: dict[str, str] = {}  # outputs of nodes that do nothing in ncnn -> the blob that stands for them

    def layers(self) -> list[_Layer]:
        inputs = [value.name for value in self.graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            found = f"{len(inputs)} inputs and {len(self.graph.output)} outputs"
            raise UnsupportedModelError(f"ncnn conversion: {found}, expected one of each")
        result = [_Layer("Input", "input", [], [inputs[0]])]
        for node in self.graph.node:
            if node.op_type == "Constant" or node.output[0] in self.done:
                continue
            convert = _CONVERTERS.get(node.op_type)
            if convert is None:
                raise UnsupportedModelError(f"ncnn conversion: operator {node.op_type} of {node.name} is not known")
            layer = convert(self, node)
            if layer is not None:
                result.append(layer)
        return result

    def blob(self, name: str) -> str:
        return self.alias.get(name, name)

    def next_only(self, name: str, op_type: str) -> onnx.NodeProto | None:
        """The node that alone consumes tensor `name`, if it is of that type."""
        nodes = self.consumers.get(name, [])
        return nodes[0] if len(nodes) == 1 and nodes[0].op_type == op_type else None

    def layer(
        self,
        kind: str,
        node: onnx.NodeProto,
        bottoms: list[str],
        params: dict[int, int | str],
        weights: Sequence[bytes] = (),
        relu: bool = False,
    ) -> _Layer:
        """relu: takes a following Relu into the layer."""
        output = node.output[0]
        after = self.next_only(output, "Relu") if relu else None
        if after is not None:
            self.done.add(after.output[0])
            output = after.output[0]
            params[9] = _RELU
        name = (node.name or node.output[0]).replace(" ", "_")
        blobs = [self.blob(bottom) for bottom in bottoms]
        return _Layer(kind, name, blobs, [output], params, list(weights), node.input[0])

    def conv(self, node: onnx.NodeProto) -> _Layer:
        weight = self.constants[node.input[1]]
        bias = self.constants[node.input[2]] if len(node.input) > 2 else None
        attributes = _attributes(node)
        groups = attributes.get("group", 1)
        params = {0: weight.shape[0], 1: weight.shape[3], 11: weight.shape[2], 5: int(bias is not None), 6: weight.size}
        params.update(_window(attributes, stride=(3, 13), pads=(4, 14, 15, 16)))
        if groups > 1:
            params[7] = groups
        weights = [_tagged(weight)] + ([_raw(bias)] if bias is not None else [])
        kind = "ConvolutionDepthWise" if groups > 1 else "Convolution"
        return self.layer(kind, node, [node.input[0]], params, weights, relu=True)

    def gemm(self, node: onnx.NodeProto) -> _Layer:
        weight = self.constants[node.input[1]]
        attributes = _attributes(node)
        if not attributes.get("transB", 0):
            weight = weight.T
        bias = self.constants[node.input[2]] if len(node.input) > 2 else None
        params = {0: weight.shape[0], 1: int(bias is not None), 2: weight.size}
        weights = [_tagged(weight)] + ([_raw(bias)] if bias is not None else [])
        return self.layer("InnerProduct", node, [node.input[0]], params, weights)

    def pool(self, node: onnx.NodeProto) -> _Layer:
        attributes = _attributes(node)
        kernel = attributes["kernel_shape"]
        average = node.op_type == "AveragePool"
        params = {0: int(average), 1: kernel[1], 11: kernel[0], 5: 1}  # pad_mode 1: floor, explicit padding
        params.update(_window(attributes, stride=(2, 12), pads=(3, 13, 14, 15)))
        if average:
            params[6] = attributes.get("count_include_pad", 0)
        return self.layer("Pooling", node, [node.input[0]], params)

    def global_average(self, node: onnx.NodeProto) -> _Layer:
        return self.layer("Pooling", node, [node.input[0]], {0: 1, 4: 1})

    def add(self, node: onnx.NodeProto) -> _Layer:
        return self.layer("BinaryOp", node, list(node.input), {0: 0})

    def relu(self, node: onnx.NodeProto) -> _Layer:
        return self.layer("ReLU", node, [node.input[0]], {})

    def concat(self, node: onnx.NodeProto) -> _Layer:
        return self.layer("Concat", node, list(node.input), {0: 0})  # ncnn counts axes without the batch

    def split(self, node: onnx.NodeProto) -> _Layer:
        sizes = self.constants[node.input[1]]
        layer = self.layer("Slice", node, [node.input[0]], {_SLICES: ",".join(map(str, [len(sizes), *sizes])), 1: 0})
        layer.tops = list(node.output)
        return layer

    def flatten(self, node: onnx.NodeProto) -> None:
        self.alias[node.output[0]] = self.blob(node.input[0])  # ncnn's global pooling is flat already

    def reshape(self, node: onnx.NodeProto) -> _Layer | None:
        shape = self.constants.get(node.input[1])
        if shape is not None and len(shape) == 2:
            return self.flatten(node)
        transpose = self.next_only(node.output[0], "Transpose")
        back = self.next_only(transpose.output[0], "Reshape") if transpose is not None else None
        if shape is None or len(shape) != 5 or back is None or list(_attributes(transpose)["perm"]) != [0, 2, 1, 3, 4]:
            raise UnsupportedModelError(f"ncnn conversion: node {node.name} is a Reshape that is no channel shuffle")
        self.done.update((transpose.output[0], back.output[0]))
        layer = self.layer("ShuffleChannel", node, [node.input[0]], {0: int(shape[1])})
        layer.tops = [back.output[0]]
        return layer


_CONVERTERS: dict[str, Callable[[_Conversion, onnx.NodeProto], _Layer | None]] = {
    "Conv": _Conversion.conv,
    "Gemm": _Conversion.gemm,
    "MaxPool": _Conversion.pool,
    "AveragePool": _Conversion.pool,
    "GlobalAveragePool": _Conversion.global_average,
    "ReduceMean": _Conversion.global_average,
    "Add": _Conversion.add,
    "Relu": _Conversion.relu,
    "Concat": _Conversion.concat,
    "Split": _Conversion.split,
    "Flatten": _Conversion.flatten,
    "Squeeze": _Conversion.flatten,
    "Reshape": _Conversion.reshape,
}


def _quantize(layers: list[_Layer], input_absmax: Mapping[str, float]) -> None:
    """Appends the scales of int8 inference to every convolution and inner product, in place."""
    scale = {}
    for layer in layers:
        if layer.type not in (*_CONVOLUTIONS, "InnerProduct"):
            continue
        per = layer.params.get(7, layer.params[0])  # scales: one per group, or per output channel without groups
        weight = np.frombuffer(layer.weights[0][4:], np.float32).reshape(per, -1)
        peak = np.abs(weight).max(axis=1)
        scale[layer.name] = np.float32(127.0 / max(input_absmax[layer.source], 1e-12))
        layer.params[8] = 1 if layer.type == "ConvolutionDepthWise" else 2
        layer.weights += [_raw(127.0 / np.where(peak == 0, 127.0, peak)), _raw(scale[layer.name])]
    consumers = Counter(bottom for layer in layers for bottom in layer.bottoms)
    for layer in layers:
        if layer.type in _CONVOLUTIONS and consumers[layer.tops[0]] == 1:
            after = next(other for other in layers if layer.tops[0] in other.bottoms)
            if after.type in _CONVOLUTIONS:
                layer.params[8] += 100  # writes int8 itself, at the scale of the next convolution's input
                layer.weights.append(_raw(scale[after.name]))


def _split_shared_blobs(layers: list[_Layer]) -> list[_Layer]:
    """ncnn allows one consumer per blob: puts a Split behind every blob that has more."""
    consumers = Counter(bottom for layer in layers for bottom in layer.bottoms)
    taken: Counter[str] = Counter()
    result = []
    for layer in layers:
        bottoms = []
        for blob in layer.bottoms:
            bottoms.append(f"{blob}_split{taken[blob]}" if consumers[blob] > 1 else blob)
            taken[blob] += 1
        result.append(_Layer(layer.type, layer.name, bottoms, layer.tops, layer.params, layer.weights))
        for blob in layer.tops:
            if consumers[blob] > 1:
                parts = [f"{blob}_split{k}" for k in range(consumers[blob])]
                result.append(_Layer("Split", f"split_{blob}", [blob], parts))
    return result


def _window(attributes: dict[str, Any], stride: tuple[int, int], pads: tuple[int, int, int, int]) -> dict[int, int]:
    """ncnn's stride (w, h) and padding (left, top, right, bottom) parameters at the ids given for each."""
    height, width = attributes.get("strides", (1, 1))
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    values = (width, height, left, top, right, bottom)
    return dict(zip((*stride, *pads), values, strict=True))


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _raw(values: np.ndarray | np.floating) -> bytes:
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def _tagged(weight: np.ndarray) -> bytes:
    return b"\0\0\0\0" + _raw(weight)  # tag 0: float32 follows
