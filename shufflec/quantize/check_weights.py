"""Weights of an ONNX file that no network can have: not finite, or a batch norm whose variance is no variance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from shufflec.errors import InputFileError
from shufflec.models.dead_channels import no_variance_note

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
_HINT = "train or export it again"


def check_weights(path: Path, model: onnx.ModelProto) -> None:
    """Raises InputFileError for a weight that is not finite and for a batch norm with a negative variance."""
    for tensor in _tensors(model):
        if tensor.data_type in _FLOATS and not np.isfinite(numpy_helper.to_array(tensor).astype(np.float64)).all():
            name = tensor.name or "of a Constant node"
            raise InputFileError(path, f"weight {name} has values that are not finite", _HINT)
    for name, variance, _ in _norms(model):
        if (variance < 0).any():
            raise InputFileError(path, f"batch norm {name} has a negative variance", _HINT)


def variance_note(model: onnx.ModelProto) -> str | None:
    """One sentence on batch norms that have channels without any variance; None where there are none."""
    channels = [
        (name, int(channel))
        for name, variance, scale in _norms(model)
        for channel in np.flatnonzero((variance == 0) & (scale != 0))
    ]
    return no_variance_note(channels)


def _norms(model: onnx.ModelProto) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(name, variance, scale) of every batch norm whose statistics are constants."""
    constants = {item.name: item for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constants[node.output[0]] = node.attribute[0].t
    found = []
    for node in model.graph.node:
        if node.op_type != "BatchNormalization" or len(node.input) < 5:
            continue
        if node.input[1] in constants and node.input[4] in constants:
            scale, variance = (numpy_helper.to_array(constants[node.input[i]]) for i in (1, 4))
            if scale.shape == variance.shape:
                found.append((node.name or node.output[0], variance, scale))
    return found


def _tensors(model: onnx.ModelProto) -> list[TensorProto]:
    found = list(model.graph.initializer) + [sparse.values for sparse in model.graph.sparse_initializer]
    return found + [item.t for node in model.graph.node for item in node.attribute if item.HasField("t")]
