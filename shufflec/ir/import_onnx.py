"""ONNX -> Relax: checks that a model is one that shufflec compiles, then TVM's own importer.

The result is one function `main` over float32 NCHW tensors with R.quantize and R.dequantize around the float
operators. Each binding carries the name of its ONNX node as its span (`node_name`), for errors and reports.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import onnx
import tvm
from onnx import helper
from tvm import relax
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

from shufflec.errors import UnsupportedModelError
from shufflec.ir.passes.rewrite import named, node_name, rewrite_calls
from shufflec.quantize.onnx_graph import name_nodes, readable_name, slices_of_splits

SUPPORTED_OPS = (
    "Add", "AveragePool", "Clip", "Concat", "Constant", "Conv", "DequantizeLinear", "Dropout", "Flatten", "Gemm",
    "GlobalAveragePool", "Identity", "MatMul", "MaxPool", "QuantizeLinear", "ReduceMean", "Relu", "Reshape",
    "Slice", "Split", "Squeeze", "Transpose",
)  # fmt: skip
OPSETS = range(13, 24)  # per-axis QuantizeLinear came with 13; TVM 0.27 has converters up to 23

_FIXED_BATCH = "export the model with a fixed input of [1, 3, H, W]"


def import_onnx(model: onnx.ModelProto) -> tvm.IRModule:
    """Imports a QDQ model with one image input [1 or N, 3, H, W] float32 and one output; the batch becomes 1.

    Raises UnsupportedModelError for another interface, an operator that shufflec does not compile (named with its
    node), a model without quantization, or one that TVM cannot import.
    """
    checked = onnx.ModelProto()
    checked.CopyFrom(model)
    graph = checked.graph
    opset = _check_opset(checked)
    _check_ops(graph)
    shape = _check_interface(graph)
    _check_valid(checked)
    slices_of_splits(graph)
    name_nodes(graph)
    _explicit_pads(graph)
    importer = _NamingImporter({graph.input[0].name: shape}, "float32")
    with redirect_stdout(io.StringIO()):  # TVM prints the operator at fault; our error says it
        try:
            module = importer.from_onnx(graph, opset)
        except UnsupportedModelError:
            raise
        except Exception as error:  # whatever a converter trips over, the user gets one line
            raise UnsupportedModelError(f"the model cannot be imported: {_one_line(error)}") from error
    return _spread_names(module)


class _NamingImporter(ONNXGraphImporter):
    """TVM's importer, which drops node names, with each node's result bound to a variable that has its name."""

    def _convert_operator(self, op_name, inputs, attrs, opset):
        name = attrs["tvm_custom"]["name"]
        try:
            result = (
                self._clip(inputs) if op_name == "Clip" else super()._convert_operator(op_name, inputs, attrs, opset)
            )
        except UnsupportedModelError:
            raise
        except Exception as error:  # TVM's converters raise anything from AssertionError to TVMError
            raise UnsupportedModelError(f"{op_name} node {name} cannot be imported: {_one_line(error)}") from error
        if isinstance(result, relax.Call):
            return self.bb.emit(named(result, name), name_hint=name.replace(".", "_"))
        return result

    def _clip(self, inputs):
        """R.clip instead of TVM's own lowering to two TE kernels, which no pass could read."""
        bounds = [-float("inf"), float("inf")]
        for index, value in enumerate((inputs[1], inputs[2])):
            if value is not None:
                bounds[index] = float(value.value.numpy())
        return self.bb.normalize(relax.op.clip(inputs[0], *bounds))


def _spread_names(module: tvm.IRModule) -> tvm.IRModule:
    """Gives the calls that a converter emitted on the way (a conv before its bias) the name of their node."""
    bindings = [binding for block in module["main"].body.blocks for binding in block.bindings]
    names, current = {}, ""
    for binding in reversed(bindings):
        current = node_name(binding.value) or current
        names[binding.var] = current
    return rewrite_calls(module, lambda scope, call: named(call, names[scope.var]))


def _check_opset(model: onnx.ModelProto) -> int:
    versions = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    if len(versions) != 1 or versions[0] not in OPSETS:
        found = ", ".join(map(str, versions)) or "none"
        raise UnsupportedModelError(
            f"ONNX opset {found} is not supported, expected {OPSETS[0]} to {OPSETS[-1]}", "export with opset 17"
        )
    return versions[0]


def _check_valid(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise UnsupportedModelError(f"the model is not valid ONNX: {_one_line(error)}") from error


def _check_interface(graph: onnx.GraphProto) -> list[int]:
    """The input's shape with batch 1; sets it in the graph."""
    constants = {item.name for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise UnsupportedModelError(
            f"the model has {len(inputs)} inputs and {len(graph.output)} outputs, expected one image in, one vector out"
        )
    del graph.input[:]
    graph.input.append(inputs[0])
    tensor = inputs[0].type.tensor_type
    dims = list(tensor.shape.dim)
    words = ", ".join(dim.dim_param or str(dim.dim_value) if _known(dim) or dim.dim_param else "?" for dim in dims)
    if tensor.elem_type != onnx.TensorProto.FLOAT or len(dims) != 4 or dims[1].dim_value != 3:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise UnsupportedModelError(f"input {inputs[0].name} is {kind} [{words}], expected FLOAT [N, 3, H, W]")
    if not all(_known(dim) for dim in dims[2:]):
        raise UnsupportedModelError(
            f"input {inputs[0].name} is [{words}]: height and width must be fixed", _FIXED_BATCH
        )
    if dims[0].dim_value > 1:
        raise UnsupportedModelError(f"input {inputs[0].name} has a fixed batch of {dims[0].dim_value}", _FIXED_BATCH)
    dims[0].Clear()
    dims[0].dim_value = 1
    return [dim.dim_value for dim in dims]


def _known(dim: onnx.TensorShapeProto.Dimension) -> bool:
    return dim.WhichOneof("value") == "dim_value" and dim.dim_value > 0


def _check_ops(graph: onnx.GraphProto) -> None:
    for index, node in enumerate(graph.node):
        if node.domain not in ("", "ai.onnx") or node.op_type not in SUPPORTED_OPS:
            op = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            hint = (
                _FIXED_BATCH
                if node.op_type in ("Shape", "Gather", "Unsqueeze")
                else "supported: " + ", ".join(SUPPORTED_OPS)
            )
            raise UnsupportedModelError(f"operator {op} (node {readable_name(node, index)}) is not supported", hint)
    if not any(node.op_type == "DequantizeLinear" for node in graph.node):
        raise UnsupportedModelError("the model is not quantized", "quantize it with: shufflec quantize")


def _explicit_pads(graph: onnx.GraphProto) -> None:
    """Writes auto_pad of convolutions and pools as pads; TVM 0.27 reads VALID as two numbers and fails."""
    inferred = onnx.shape_inference.infer_shapes(helper.make_model(graph)) if _has_auto_pad(graph) else None
    if inferred is None:
        return
    shapes = {
        item.name: [dim.dim_value for dim in item.type.tensor_type.shape.dim]
        for item in (*inferred.graph.value_info, *inferred.graph.input)
    }
    weights = {item.name: list(item.dims) for item in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        mode = attributes.pop("auto_pad", b"").decode()
        if mode in ("", "NOTSET"):
            continue
        kernel = attributes.get("kernel_shape")
        if kernel is None:  # only Conv may leave it out; its weights stand behind a DequantizeLinear
            maker = makers.get(node.input[1])
            kernel = weights.get(maker.input[0] if maker is not None else node.input[1], [0, 0, 1, 1])[2:]
        size = shapes.get(node.input[0], [])[2:]
        if len(size) != 2 or 0 in size:
            raise UnsupportedModelError(f"{node.op_type} node {node.name} has auto_pad {mode} on an unknown shape")
        attributes["pads"] = _same_pads(mode, size, kernel, attributes.get("strides", [1, 1]))
        del node.attribute[:]
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())


def _has_auto_pad(graph: onnx.GraphProto) -> bool:
    return any(item.name == "auto_pad" and item.s != b"NOTSET" for node in graph.node for item in node.attribute)


def _same_pads(mode: str, size: list[int], kernel: list[int], stride: list[int]) -> list[int]:
    """ONNX pads (top, left, bottom, right) of an auto_pad mode."""
    if mode == "VALID":
        return [0, 0, 0, 0]
    begin, end = [], []
    for length, window, step in zip(size, kernel, stride, strict=True):
        total = max((-(-length // step) - 1) * step + window - length, 0)
        small, large = total // 2, total - total // 2
        begin.append(small if mode == "SAME_UPPER" else large)
        end.append(large if mode == "SAME_UPPER" else small)
    return begin + end


def _one_line(error: Exception) -> str:
    """A library's message on one line, cut where it starts to be a dump."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."
