"""How far each layer of a quantized network is from the float one: SQNR in dB, by which the worst layers are named.

Two figures a layer, each 10 log10(sum x^2 / sum (x - q)^2) over all images, x being the float network's tensor and q
what the quantized network's integers stand for:

    sqnr    as the layer's output comes out of the quantized network, with all that the layers before it did
    alone   as it comes out when the layer reads the float network's tensors: what this layer itself loses, by rounding
            its weights, what it reads, and what it writes

After quantization-aware training both also count what training has changed on purpose: a network that gives up an
outlier looks bad here and is right.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from shufflec.quantize.onnx_graph import GraphEditor
from shufflec.quantize.runtime import open_session, runtime_errors, watch

WORST = 3
MAX_IMAGES = 32
_EXACT_DB = 120.0  # stands for no error at all: float32 carries no more
_GIVEN = "given."
_READ_BACK = "read_back."
#: An island is named after the last of these in it.
_LAYERS = ("Conv", "Gemm", "MatMul", "MaxPool", "AveragePool", "GlobalAveragePool")


@dataclass(frozen=True)
class LayerError:
    """dB of one layer's output against float, see the module; None for a layer that is silent on every image."""

    layer: str
    sqnr_db: float | None
    alone_db: float | None

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return asdict(self)


def layer_errors(
    float_model: onnx.ModelProto, quantized: onnx.ModelProto, images: Iterable[np.ndarray]
) -> list[LayerError]:
    """The error of every layer of `quantized`, in order; the first is the input's rounding, the last the logits'.

    float_model: what NNCF was given (ptq.equalized_model), whose tensors have the names of those of `quantized`.
    images: float32 [1, 3, H, W] each.
    """
    editor = GraphEditor(quantized.graph)
    known = {name for node in float_model.graph.node for name in node.output} | {float_model.graph.input[0].name}
    ends = [node for node in quantized.graph.node if node.op_type == "QuantizeLinear" and node.input[0] in known]
    tensors = [node.input[0] for node in ends]
    logits = [output.name for output in quantized.graph.output if output.name in known]
    outputs = [_READ_BACK + name for name in tensors] + logits
    float_names = tensors + logits
    together = open_session(_with_read_back(quantized, ends, logits, given=False))
    apart = open_session(_with_read_back(quantized, ends, logits, given=True))
    input_name = quantized.graph.input[0].name
    signal, noise, own_noise = (np.zeros(len(float_names)) for _ in range(3))
    inner = [name for name in float_names if name != input_name]
    images = list(images)
    for image, found in zip(images, watch(float_model, inner, images), strict=True):
        wanted = dict(zip(inner, found, strict=True)) | {input_name: image}
        with runtime_errors():
            whole = together.run(outputs, {input_name: image})
            single = apart.run(outputs, {_GIVEN + name: wanted[name] for name in tensors})
        for index, name in enumerate(float_names):
            exact = wanted[name].astype(np.float64)
            signal[index] += np.square(exact).sum()
            noise[index] += np.square(exact - whole[index]).sum()
            own_noise[index] += np.square(exact - single[index]).sum()
    names = [_layer_of(editor, name) for name in float_names]
    return [
        LayerError(name, decibels(s, n), decibels(s, own))
        for name, s, n, own in zip(names, signal, noise, own_noise, strict=True)
    ]


def worst_layers(errors: Sequence[LayerError], count: int = WORST) -> list[LayerError]:
    """The layers that lose most by themselves, the worst first."""
    rated = [error for error in errors if error.alone_db is not None]
    return sorted(rated, key=lambda error: error.alone_db)[:count]


def decibels(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise) of two sums of squares, rounded to a hundredth; None without a signal."""
    if signal <= 0.0:
        return None
    if noise <= signal * 10 ** (-_EXACT_DB / 10):
        return _EXACT_DB
    return round(10.0 * math.log10(signal / noise), 2)


def _with_read_back(
    quantized: onnx.ModelProto, ends: list[onnx.NodeProto], logits: list[str], given: bool
) -> onnx.ModelProto:
    """`quantized` with an output read_back.T for each quantized tensor T: what its integers stand for.

    given: every layer reads, in place of what the layers before it computed, the rounded input given.T.
    """
    model = onnx.ModelProto()
    model.CopyFrom(quantized)
    graph = model.graph
    added = []
    for end in ends:
        tensor, codes = end.input[0], end.output[0]
        read = helper.make_node(
            "DequantizeLinear", [codes, *end.input[1:]], [_READ_BACK + tensor], name=_READ_BACK + tensor
        )
        read.attribute.extend(item for item in end.attribute if item.name == "axis")
        added.append(read)
        if not given:
            continue
        rounded = onnx.NodeProto()
        rounded.CopyFrom(end)
        rounded.name, rounded.input[0], rounded.output[0] = _GIVEN + tensor, _GIVEN + tensor, f"{_GIVEN}{tensor}.codes"
        for node in graph.node:
            for index, name in enumerate(node.input):
                if name == codes:
                    node.input[index] = rounded.output[0]
        graph.node.insert(0, rounded)
        graph.input.append(helper.make_tensor_value_info(_GIVEN + tensor, TensorProto.FLOAT, None))
    graph.node.extend(added)
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in [*(_READ_BACK + end.input[0] for end in ends), *logits]
    )
    if given:
        _feed_input(graph)
    return model


def _feed_input(graph: onnx.GraphProto) -> None:
    """The image itself is one of the given tensors: drops it as an input of its own."""
    image = graph.input[0].name
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == image:
                node.input[index] = _GIVEN + image
    graph.input.remove(graph.input[0])


def _layer_of(editor: GraphEditor, tensor: str) -> str:
    """The name of the node that computes `tensor`, looking through what only shapes, adds or joins its result."""
    waiting = [tensor]
    while waiting:
        node = editor.producer(waiting.pop())
        if node is None:
            continue
        if node.op_type in _LAYERS:
            return node.name
        if node.op_type != "DequantizeLinear":
            waiting.extend(node.input)
    return tensor
