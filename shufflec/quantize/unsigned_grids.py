"""Writes the grids of values that are never negative as uint8 with zero point 0.

NNCF's mixed preset writes them as int8 with zero point -128, which is the same numbers, and where a channel is silent
on every image as 0, so that a relu would clamp at another code in each channel of one tensor:

    before   Relu -> Q(int8, -128 or 0 by channel) -> DQ
    after    Relu -> Q(uint8, 0) -> DQ
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from shufflec.quantize.onnx_graph import GraphEditor, attribute

_LOWEST = -128


def unsigned_grids(editor: GraphEditor) -> int:
    """Rewrites the quantizers behind relus and their readers; returns how many. Graphs without zero points stay."""
    rewritten = 0
    for quantize in [node for node in editor.graph.node if node.op_type == "QuantizeLinear"]:
        zero = editor.constant(quantize.input[2])
        readers = editor.consumers.get(quantize.output[0], [])
        if zero is None or zero.dtype != np.int8 or not zero.any() or not np.isin(zero, (_LOWEST, 0)).all():
            continue
        if editor.producer(quantize.input[0], "Relu") is None:
            continue
        name = editor.add_initializer(f"unsigned_zero_point_{quantize.input[0]}", np.zeros(zero.shape, np.uint8))
        for node in (quantize, *readers):
            node.input[2] = name
        _type_codes(editor.graph, quantize)
        editor.reindex()
        rewritten += 1
    return rewritten


def _type_codes(graph: onnx.GraphProto, quantize: onnx.NodeProto) -> None:
    """The declared type of the codes, where there is one; an attribute for the type would contradict the zero point."""
    if attribute(quantize, "output_dtype", 0):
        kept = [item for item in quantize.attribute if item.name != "output_dtype"]
        del quantize.attribute[:]
        quantize.attribute.extend(kept)
    for value in graph.value_info:
        if value.name == quantize.output[0]:
            value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(np.uint8))
