"""Reads ONNX files that may come from anywhere, and tells what kind of model they hold."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

from shufflec.errors import InputFileError, UnsupportedModelError
from shufflec.files import read_limited
from shufflec.quantize.check_weights import check_weights

MAX_BYTES = 512 << 20
MAX_NODES = 100_000
_WHAT = "an ONNX model"
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_OTHER_FORMS = ("QLinear", "ConvInteger", "MatMulInteger", "DynamicQuantize")


def load_onnx(path: str | Path) -> onnx.ModelProto:
    """Reads a model of at most 512 MiB that holds all its weights itself, and checks it.

    Raises InputFileError when the file is missing, larger, truncated, corrupt, not ONNX, has weights that are not
    finite, or refers to other files;
    UnsupportedModelError for control flow (If, Loop, ...).
    """
    path = Path(path)
    data = read_limited(path, MAX_BYTES, _WHAT)
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise InputFileError(path, "is truncated, corrupt, or not an ONNX model", "export or copy it again") from error
    if len(model.graph.node) > MAX_NODES:
        raise InputFileError(path, f"has {len(model.graph.node)} nodes, more than the {MAX_NODES} allowed")
    for node in model.graph.node:
        # A damaged text comes out of protobuf as bytes.
        if not all(isinstance(text, str) for text in (node.name, node.op_type, *node.input, *node.output)):
            raise InputFileError(path, f"has a name that is no text at a {node.op_type} node: the file is corrupt")
        if any(item.HasField("g") or item.graphs for item in node.attribute):
            raise UnsupportedModelError(f"{path}: {node.op_type} node {node.name} is control flow, expected none")
    for tensor in _tensors(model):
        _check_tensor(path, tensor)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputFileError(path, f"is not a valid ONNX model: {reason}", "export or copy it again") from error
    check_weights(path, model)
    return model


def model_kind(model: onnx.ModelProto) -> str:
    """`float`, or `qdq` for a model with QuantizeLinear and DequantizeLinear nodes.

    Raises UnsupportedModelError for quantized models of another form (QLinearConv, ConvInteger, ...).
    """
    kinds = {node.op_type for node in model.graph.node}
    for node in model.graph.node:
        if node.op_type.startswith(_OTHER_FORMS):
            raise UnsupportedModelError(
                f"{node.op_type} node {node.name} is quantized in another form than QDQ",
                "give the float model, and shufflec quantizes it",
            )
    return "qdq" if kinds & set(_QUANTIZERS) else "float"


def input_shape(model: onnx.ModelProto) -> tuple[int | None, ...]:
    """Shape of the only image input, e.g. (1, 3, 224, 224); None for a dimension that the file leaves open.

    Raises UnsupportedModelError unless there is exactly one input that is float32 [N, 3, H, W].
    """
    constants = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in constants]
    if len(inputs) != 1:
        raise UnsupportedModelError(f"the model has {len(inputs)} inputs, expected one image")
    shape = _shape(inputs[0])
    if inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT or len(shape) != 4 or shape[1] != 3:
        raise UnsupportedModelError(f"input {inputs[0].name} is not float32 [N, 3, H, W] but {_in_words(inputs[0])}")
    return shape


def class_count(model: onnx.ModelProto) -> int:
    """Number of logits. Raises UnsupportedModelError unless there is exactly one output, [N, classes]."""
    if len(model.graph.output) != 1:
        raise UnsupportedModelError(f"the model has {len(model.graph.output)} outputs, expected the logits alone")
    output = model.graph.output[0]
    shape = _shape(output)
    if len(shape) != 2 or not shape[1]:
        raise UnsupportedModelError(f"output {output.name} is not [N, classes] but {_in_words(output)}")
    return shape[1]


def _shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.WhichOneof("value") == "dim_value" else None for dim in dims)


def _in_words(value: onnx.ValueInfoProto) -> str:
    kind = value.type.tensor_type.elem_type
    name = TensorProto.DataType.Name(kind).lower() if kind in TensorProto.DataType.values() else "of unknown type"
    return f"{name} [{', '.join('?' if dim is None else str(dim) for dim in _shape(value))}]"


def _tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    found = list(model.graph.initializer)
    for sparse in model.graph.sparse_initializer:
        found += [sparse.values, sparse.indices]
    for node in model.graph.node:
        for item in node.attribute:
            if item.HasField("t"):
                found.append(item.t)
            found += item.tensors
    return found


def _check_tensor(path: Path, tensor: onnx.TensorProto) -> None:
    """Refuses weights in other files, and a declared size that the stored bytes do not have."""
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise InputFileError(
            path,
            f"keeps weight {tensor.name} in another file, expected one file with all weights",
            "save it again with onnx.save(model, path, save_as_external_data=False)",
        )
    if any(dim < 0 for dim in tensor.dims):
        raise InputFileError(path, f"weight {tensor.name} has a negative dimension: the file is corrupt")
    if tensor.HasField("raw_data"):
        try:
            item_bytes = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        except (KeyError, ValueError, TypeError) as error:
            raise InputFileError(path, f"weight {tensor.name} has unknown type {tensor.data_type}") from error
        count = math.prod(tensor.dims)
        # 2 and 4 bit types are packed; no more than one byte a value then.
        if len(tensor.raw_data) > count * item_bytes or (item_bytes > 1 and len(tensor.raw_data) != count * item_bytes):
            raise InputFileError(
                path, f"weight {tensor.name} has {len(tensor.raw_data)} bytes for shape {list(tensor.dims)}: corrupt"
            )
