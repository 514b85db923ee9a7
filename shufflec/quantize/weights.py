"""Weight scales from each channel's own range.

NNCF does not let a channel's range fall below a hundredth of the layer's largest. A trained ShuffleNet has depthwise
channels that hardly ever fire, whose folded batch norm makes weights of a hundred and more; with NNCF's floor they
take the precision of all other channels of the layer.
"""

from __future__ import annotations

import numpy as np
import onnx

from shufflec.quantize.onnx_graph import GraphEditor, attribute

LEVELS = 127  # symmetric: -128 is not used, so that two products of int8 fit 16 bits
_SMALLEST = 2.0**-12  # of the layer's largest scale: a floor for channels that are all zero


def requantize_weights(quantized: onnx.ModelProto, float_model: onnx.ModelProto) -> int:
    """Replaces int8 values and scale of every per-channel weight, in place; returns how many weights it replaced.

    A layer of the quantized model is found in the float model by its node's name.
    """
    editor, source = GraphEditor(quantized.graph), GraphEditor(float_model.graph)
    float_nodes = {node.name: node for node in float_model.graph.node}
    replaced = 0
    for node in quantized.graph.node:
        original = float_nodes.get(node.name)
        dequantize = editor.producer(node.input[1], "DequantizeLinear") if len(node.input) > 1 else None
        if node.op_type not in ("Conv", "Gemm", "MatMul") or original is None or dequantize is None:
            continue
        weight = source.constant(original.input[1])
        scale = editor.constant(dequantize.input[1])
        if weight is None or scale is None or scale.ndim != 1:
            continue
        axis = attribute(dequantize, "axis", 1) % weight.ndim
        values, scale = quantize_weight(weight, axis)
        editor.set_initializer(dequantize.input[0], values)
        editor.set_initializer(dequantize.input[1], scale)
        replaced += 1
    return replaced


def quantize_weight(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8 values in [-127, 127] and float32 scales, one an index of `axis`."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    reach = np.abs(weight.astype(np.float64)).max(axis=others)
    largest = reach.max()
    if largest == 0.0:
        largest = 1.0
    scale = (np.maximum(reach, largest * _SMALLEST) / LEVELS).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    values = np.rint(weight / scale.reshape(shape))
    return np.clip(values, -LEVELS, LEVELS).astype(np.int8), scale
