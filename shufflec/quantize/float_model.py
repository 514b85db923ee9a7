"""Brings a float ONNX model that another tool wrote into the form that the quantizer expects."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from shufflec.errors import UnsupportedModelError
from shufflec.quantize.gathered_parts import splits_of_gathers
from shufflec.quantize.inspect import class_count, input_shape
from shufflec.quantize.onnx_graph import hold_constants, name_nodes
from shufflec.quantize.runtime import open_session

MIN_OPSET = 13  # the first with per-channel DequantizeLinear


def set_batch_to_one(model: onnx.ModelProto) -> None:
    """Declares a batch of one for the input and the output, in place."""
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]  # inferred under the former batch


def standardize(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with batch 1, batch norms folded into convolutions, constants folded and every node named.

    ONNX Runtime's own basic rewrites do it; they keep to standard operators. Raises UnsupportedModelError for an
    input of open height or width, an opset below 13, or operators that ONNX Runtime does not know.
    """
    shape = input_shape(model)
    if not all(shape[1:]):
        raise UnsupportedModelError(
            f"input {model.graph.input[0].name} leaves its height or width open", "export the model for one input size"
        )
    class_count(model)
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    if opset < MIN_OPSET:
        raise UnsupportedModelError(f"the model uses opset {opset}, expected {MIN_OPSET} or later", "export it again")
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    set_batch_to_one(fixed)
    hold_constants(fixed.graph)
    pools_of_means(fixed)
    result = _optimize(fixed)
    splits_of_gathers(result)  # now that shapes are constants
    used = {node.domain for node in result.graph.node}
    imports = [item for item in result.opset_import if item.domain in used]
    del result.opset_import[:]
    result.opset_import.extend(imports)
    del result.metadata_props[:]
    result.metadata_props.extend(model.metadata_props)
    name_nodes(result.graph)
    return result


def pools_of_means(model: onnx.ModelProto) -> None:
    """Writes each mean over height and width as a GlobalAveragePool, in place; torch's newer exporter makes them."""
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "ReduceMean" or not _is_over_pixels(node, constants):
            nodes.append(node)
            continue
        keeps = next((item.i for item in node.attribute if item.name == "keepdims"), 1)
        pooled = node.output[0] if keeps else f"{node.output[0]}.pooled"
        name = node.name or node.output[0]
        nodes.append(helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=name))
        if not keeps:
            nodes.append(helper.make_node("Flatten", [pooled], [node.output[0]], name=f"{name}.flatten", axis=1))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _is_over_pixels(node: onnx.NodeProto, constants: Mapping[str, np.ndarray]) -> bool:
    axes = next((list(item.ints) for item in node.attribute if item.name == "axes"), None)
    if axes is None and len(node.input) > 1 and node.input[1] in constants:  # since opset 18
        axes = constants[node.input[1]].reshape(-1).tolist()
    return axes is not None and sorted(axis % 4 for axis in axes) == [2, 3]


def _optimize(model: onnx.ModelProto) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory(prefix="shufflec-") as folder:
        path = Path(folder) / "optimized.onnx"
        open_session(model, optimized=path)
        return onnx.load_model(path)
