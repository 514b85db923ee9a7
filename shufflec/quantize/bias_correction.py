"""Shifts biases so that quantization does not move the mean of any layer's output.

Rounding weights shifts a channel's mean by the same amount for every image, and the next layers add it up. Source:
Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2 (empirical).
NNCF's own correction leaves grouped and depthwise convolutions out, which is nearly all of ShuffleNet.

The network is run island by island over all images, each with the corrected ones before it, so that the whole costs
two inferences an image. Between islands there are only int8 tensors.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import helper

from shufflec.quantize.onnx_graph import GraphEditor
from shufflec.quantize.runtime import open_session, runtime_errors, watch

MAX_IMAGES = 64
_LAYERS = ("Conv", "Gemm")


def correct_biases(quantized: onnx.ModelProto, float_model: onnx.ModelProto, images: list[np.ndarray]) -> int:
    """Changes the biases of `quantized` in place; returns how many layers it corrected.

    images: float32 [1, 3, H, W] each, at most MAX_IMAGES of which are used, taken at equal distances. Both models name
    the outputs of their convolutions and of the classifier alike.
    """
    chosen = np.linspace(0, len(images) - 1, min(len(images), MAX_IMAGES)).round().astype(int)
    images = [images[index] for index in chosen]
    islands = _islands(quantized)
    wanted = _float_means(float_model, [name for island in islands for name in island.layers], images)

    editor = GraphEditor(quantized.graph)
    live = {quantized.graph.input[0].name: images}
    readers = Counter(name for island in islands for name in island.inputs)
    corrected = 0
    for island in islands:
        layers = [name for name in island.layers if name in wanted]
        if layers:
            means = _means(_run(editor, quantized, island, layers, live))
            for name, mean in zip(layers, means, strict=True):
                _shift_bias(editor, editor.producers[name], wanted[name] - mean)
            corrected += len(layers)
        if island.output in readers:
            live[island.output] = [outputs[0] for outputs in _run(editor, quantized, island, [island.output], live)]
        for name in island.inputs:
            readers[name] -= 1
            if not readers[name]:
                del live[name], readers[name]
    return corrected


class _Island:
    """Nodes from quantized tensors to one quantized tensor (or to the logits), in order."""

    def __init__(self, nodes: list[onnx.NodeProto], inputs: list[str], output: str):
        self.nodes = nodes
        self.inputs = inputs
        self.output = output
        self.layers = [node.output[0] for node in nodes if node.op_type in _LAYERS]


def _islands(model: onnx.ModelProto) -> list[_Island]:
    editor = GraphEditor(model.graph)
    position = {node.output[0]: index for index, node in enumerate(model.graph.node)}
    ends = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    ends += [output.name for output in model.graph.output]
    cuts = {model.graph.input[0].name, *ends}
    islands = []
    for end in ends:
        nodes: dict[str, onnx.NodeProto] = {}
        inputs: list[str] = []
        waiting = [end]
        while waiting:
            tensor = waiting.pop()
            if tensor in cuts and tensor != end:
                if tensor not in inputs:
                    inputs.append(tensor)
            elif tensor in editor.producers and tensor not in nodes:
                nodes[tensor] = editor.producers[tensor]
                waiting.extend(editor.producers[tensor].input)
        ordered = [nodes[name] for name in sorted(nodes, key=position.__getitem__)]
        islands.append(_Island(ordered, sorted(inputs), end))
    return islands


def _run(
    editor: GraphEditor,
    model: onnx.ModelProto,
    island: _Island,
    outputs: list[str],
    live: dict[str, list[np.ndarray]],
) -> list[list[np.ndarray]]:
    """The tensors `outputs` of an island for every image."""
    constants = [
        editor.initializers[name]
        for name in dict.fromkeys(name for node in island.nodes for name in node.input)
        if name in editor.initializers
    ]
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(live[name][0].dtype), live[name][0].shape)
        for name in island.inputs
    ]
    # Their types are inferred: float inside an island, and that of the zero point at its end.
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(island.nodes, "island", inputs, results, constants)
    session = open_session(helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version))
    count = len(live[island.inputs[0]])
    with runtime_errors():
        return [session.run(outputs, {name: live[name][index] for name in island.inputs}) for index in range(count)]


def _float_means(model: onnx.ModelProto, names: list[str], images: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Mean of each channel of the float model's tensors `names`, over images and positions."""
    made = {output for node in model.graph.node for output in node.output}
    names = [name for name in names if name in made]
    means = _means(watch(model, names, images))
    return dict(zip(names, means, strict=True))


def _means(runs) -> list[np.ndarray]:
    """Mean over runs and positions of each channel (axis 1) of each tensor, float64."""
    totals: list[np.ndarray] = []
    count = 0
    for tensors in runs:
        count += 1
        means = [tensor.mean(axis=(0, *range(2, tensor.ndim)), dtype=np.float64) for tensor in tensors]
        totals = [total + mean for total, mean in zip(totals, means, strict=True)] if totals else means
    return [total / count for total in totals]


def _shift_bias(editor: GraphEditor, node: onnx.NodeProto, shift: np.ndarray) -> None:
    if len(node.input) > 2 and editor.only_consumer(node.input[2]) is not None:
        bias = editor.constant(node.input[2])
        editor.set_initializer(node.input[2], (bias + shift).astype(np.float32))
        return
    # No bias yet, or one that several layers share.
    bias = editor.constant(node.input[2]) if len(node.input) > 2 else np.zeros(len(shift))
    name = editor.add_initializer(f"{node.name}.corrected_bias", (bias + shift).astype(np.float32))
    del node.input[2:]
    node.input.append(name)
    editor.reindex()
