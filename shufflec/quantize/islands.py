"""Makes a QDQ graph a chain of islands: every float op stands between DequantizeLinear and QuantizeLinear.

An island computes float from dequantized inputs and ends in one Q, so it can be run on integers alone.
NNCF leaves places that are not islands, or cost a rounding that nothing needs:

    rewrite                  before                                     after
    merge_moves              DQ(s) -> Reshape -> Q(s) -> DQ(s) -> ...   DQ(s) -> Reshape -> ...
    unsigned_grids           Relu -> Q(int8, zero point -128)           Relu -> Q(uint8, zero point 0)
    close_max_pool           DQ(s) -> MaxPool -> Conv                   DQ(s) -> MaxPool -> Q(s) -> DQ(s) -> Conv
    share_grids              Q(a,s1), Q(b,s2) that slices and Concats join   Q(a,max), Q(b,max)
    merge_concat_quantizers  DQ(Q(a,s1)), DQ(Q(b,s2)) -> Concat -> Conv a, b -> Concat -> Q(max) -> DQ -> Conv
    free_residual_branch     Conv -> Q -> DQ -> Add <- DQ(shortcut)     Conv -> Add <- DQ(shortcut)
    widen_empty_ranges       Q(s = 3e-7) of a tensor that was always 0  Q(s = 1/128)

`check_islands` is the verifier that runs after them, and on every QDQ model that a user brings.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from shufflec.errors import UnsupportedModelError
from shufflec.quantize.onnx_graph import MOVES, GraphEditor, replace_input
from shufflec.quantize.shared_grids import grid_of, joint_grid, share_grids
from shufflec.quantize.unsigned_grids import unsigned_grids

# Ops that compute from integers and whose result must meet a Q; the head of an island may be any of them.
_COMPUTES = ("Conv", "Gemm", "MatMul", "MaxPool", "AveragePool", "GlobalAveragePool")
# Ops that continue an island that has begun.
_CONTINUES = ("Relu", "Clip", "Add", "Concat")

#: Moves of which some are rewritten before anything else sees them (gathered_parts.py).
_MOVED = (*MOVES, "Gather")

_EMPTY_SCALE = 1e-6


def make_islands(model: onnx.ModelProto) -> None:
    """Applies the rewrites of the module's docstring to NNCF's result, in place, and checks the outcome.

    Raises UnsupportedModelError when a float path without a quantizer remains.
    """
    editor = GraphEditor(model.graph)
    unsigned_grids(editor)
    close_max_pool(editor)
    share_grids(editor)
    merge_concat_quantizers(editor)
    free_residual_branch(editor)
    widen_empty_ranges(editor)
    positive_weight_axes(editor)
    editor.drop_unused_initializers()
    check_islands(model)


def merge_moves(editor: GraphEditor) -> int:
    """Drops each Q and DQ that a value meets again behind ops that only move it; exact, since the grid is the same.

    ONNX Runtime's quantizer puts a pair behind every Reshape and Transpose, so inside each shuffle. Returns the
    number dropped.
    """
    merged = 0
    for dequantize in [node for node in editor.graph.node if node.op_type == "DequantizeLinear"]:
        quantize = editor.producer(dequantize.input[0], "QuantizeLinear")
        moved = editor.producer(quantize.input[0]) if quantize is not None else None
        source = moved
        while source is not None and source.op_type in _MOVED:
            source = editor.producer(source.input[0])
        if moved is None or moved.op_type not in _MOVED or source is None or source.op_type != "DequantizeLinear":
            continue
        if not all(_same_grid(editor, source, node) for node in (quantize, dequantize)):
            continue
        if any(output.name == dequantize.output[0] for output in editor.graph.output):
            continue
        editor.redirect(dequantize.output[0], quantize.input[0])
        editor.remove(dequantize)
        if not editor.consumers.get(quantize.output[0]):
            editor.remove(quantize)
        merged += 1
    return merged


def _same_grid(editor: GraphEditor, one: onnx.NodeProto, other: onnx.NodeProto) -> bool:
    """Whether two Q or DQ nodes have the same constants for a whole tensor."""
    if len(one.input) != len(other.input):
        return False
    pairs = [(editor.constant(a), editor.constant(b)) for a, b in zip(one.input[1:], other.input[1:], strict=True)]
    return all(a is not None and b is not None and a.size == 1 and a.dtype == b.dtype and a == b for a, b in pairs)


def close_max_pool(editor: GraphEditor) -> int:
    """Puts Q and DQ with the input's own scale behind each MaxPool that has no Q; exact, since max keeps the grid.

    Returns the number of pools closed.
    """
    pools = [node for node in editor.graph.node if node.op_type == "MaxPool"]
    closed = 0
    for pool in pools:
        source = editor.producer(pool.input[0], "DequantizeLinear")
        readers = editor.consumers.get(pool.output[0], [])
        if source is None or all(reader.op_type == "QuantizeLinear" for reader in readers):
            continue
        _quantize_behind(editor, pool, source.input[1], source.input[2])
        closed += 1
    return closed


def merge_concat_quantizers(editor: GraphEditor) -> int:
    """Moves the quantizers of a Concat's inputs behind it, as one with the largest of their ranges.

    The convolution that follows sums over the joined channels and so needs one scale. Returns the number merged.
    """
    merged = 0
    for concat in [node for node in editor.graph.node if node.op_type == "Concat"]:
        pairs = [_private_pair(editor, name, concat) for name in concat.input]
        if any(pair is None for pair in pairs) or len({pair[0].input[1] for pair in pairs}) == 1:
            continue
        grids = [grid_of(editor, quantize) for quantize, _ in pairs]
        if any(scale.ndim != 0 or zero.any() for scale, zero in grids):
            continue
        scale, zero = joint_grid(grids)
        for quantize, dequantize in pairs:
            replace_input(concat, dequantize.output[0], quantize.input[0])
        editor.remove(*(node for pair in pairs for node in pair))
        name = concat.output[0]
        _quantize_behind(
            editor,
            concat,
            editor.add_initializer(f"scale_{name}_1", scale),
            editor.add_initializer(f"zero_point_{name}_1", zero),
        )
        merged += 1
    return merged


def free_residual_branch(editor: GraphEditor) -> int:
    """Removes the Q/DQ pair between a convolution and the Add that alone reads it.

    The sum is then formed in 32 bits before its one rounding; the shortcut keeps its DQ. Returns the number removed.
    """
    freed = 0
    for add in [node for node in editor.graph.node if node.op_type == "Add"]:
        for name in list(add.input):
            pair = _private_pair(editor, name, add)
            if pair is None or editor.producer(pair[0].input[0], "Conv") is None:
                continue
            if not all(editor.producer(other, "DequantizeLinear") for other in add.input if other != name):
                continue
            replace_input(add, name, pair[0].input[0])
            editor.remove(*pair)
            freed += 1
            break
    return freed


def widen_empty_ranges(editor: GraphEditor) -> int:
    """Gives activations that were 0 on every calibration image an ordinary scale; NNCF's is next to nothing.

    Nothing is known about their range, and the bias in output steps would not fit any integer. Returns the number
    of scale constants changed.
    """
    widened = 0
    for name in {node.input[1] for node in editor.graph.node if node.op_type == "QuantizeLinear"}:
        scale = editor.constant(name)
        if scale is not None and np.any(scale < _EMPTY_SCALE):
            editor.set_initializer(name, np.where(scale < _EMPTY_SCALE, np.float32(1 / 128), scale).astype(np.float32))
            widened += 1
    return widened


def positive_weight_axes(editor: GraphEditor) -> None:
    """Writes the axis of a weight's DequantizeLinear from the front; NNCF counts Gemm's from the back."""
    for node in editor.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        weight = editor.constant(node.input[0])
        for item in node.attribute:
            if item.name == "axis" and item.i < 0 and weight is not None:
                item.i += weight.ndim


def check_operators(model: onnx.ModelProto) -> None:
    """Raises UnsupportedModelError that names the first operator of a float model that cannot become integer."""
    known = (*MOVES, *_COMPUTES, *_CONTINUES)
    for node in model.graph.node:
        if node.op_type not in known or node.domain not in ("", "ai.onnx"):
            raise UnsupportedModelError(
                f"{node.op_type} node {node.name or node.output[0]} is not an operator that shufflec compiles",
                f"it compiles {', '.join(sorted(known))}",
            )


def check_islands(model: onnx.ModelProto) -> None:
    """Verifies that no value travels as float from one compute op to another.

    Each tensor is `integer` (behind a DQ, or moved from one), `island` (computed, no Q yet) or a constant. Scales
    must be constants, finite and positive. Raises UnsupportedModelError with the op and node at fault.
    """
    editor = GraphEditor(model.graph)
    state: dict[str, str] = {item.name: "float input" for item in model.graph.input}
    state.update(dict.fromkeys(editor.initializers, "constant"))
    for node in model.graph.node:
        inputs = [state.get(name, "constant") for name in node.input if name]
        data = inputs[0] if inputs else "constant"
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale = editor.constant(node.input[1])
            if scale is None or not np.all(np.isfinite(scale)) or not np.all(scale > 0):
                _fail(node, "has a scale that is not a finite, positive constant")
        if node.op_type == "QuantizeLinear":
            result = "quantized"
        elif node.op_type == "DequantizeLinear":
            if data not in ("quantized", "constant"):
                _fail(node, "reads a tensor that no QuantizeLinear made")
            result = "integer"
        elif node.op_type in MOVES:
            result = data
        elif node.op_type in _COMPUTES:
            if data != "integer":
                _fail(node, f"reads {_in_words(data)} where a quantized tensor is needed")
            if node.op_type in ("Conv", "Gemm", "MatMul") and inputs[1] != "integer":
                _fail(node, "has weights that are not quantized")
            result = "island"
        elif node.op_type == "Concat" and all(item == "integer" for item in inputs):
            result = "integer"  # moves codes; where the parts' grids differ, the compiler rounds all but one again
        elif node.op_type in _CONTINUES:
            if any(item in ("float input", "quantized") for item in inputs):
                _fail(node, "reads a tensor that is not dequantized")
            result = "island"
        else:
            _fail(node, "is not an operator that shufflec compiles")
        for name in node.output:
            state[name] = result
    for output in model.graph.output:
        producer = editor.producer(output.name)
        if producer is None or producer.op_type not in ("Gemm", "MatMul", "Add", "DequantizeLinear", *MOVES):
            raise UnsupportedModelError(f"output {output.name} is not made by the classifier")


def _fail(node: onnx.NodeProto, message: str) -> None:
    raise UnsupportedModelError(
        f"{node.op_type} node {node.name or node.output[0]} {message}",
        "quantize the float model with: shufflec quantize",
    )


def _in_words(state: str) -> str:
    return {"island": "a float tensor", "quantized": "a tensor without DequantizeLinear"}.get(state, f"a {state}")


def _private_pair(
    editor: GraphEditor, tensor: str, reader: onnx.NodeProto
) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
    """The Q and DQ that make `tensor`, when `reader` is all that depends on them."""
    dequantize = editor.producer(tensor, "DequantizeLinear")
    quantize = editor.producer(dequantize.input[0], "QuantizeLinear") if dequantize is not None else None
    if quantize is None:
        return None
    chain = (quantize.input[0], quantize.output[0], dequantize.output[0])
    readers = (quantize.name, dequantize.name, reader.name)
    for name, expected in zip(chain, readers, strict=True):
        node = editor.only_consumer(name)
        if node is None or node.name != expected:
            return None
    return quantize, dequantize


def _quantize_behind(editor: GraphEditor, node: onnx.NodeProto, scale: str, zero_point: str) -> None:
    """Puts Q and DQ behind `node`'s output; all its readers then read the DQ."""
    tensor = node.output[0]
    quantize = helper.make_node(
        "QuantizeLinear", [tensor, scale, zero_point], [f"q_output_{tensor}_1"], name=f"QuantizeLinear_{tensor}_1"
    )
    dequantize = helper.make_node(
        "DequantizeLinear",
        [quantize.output[0], scale, zero_point],
        [f"dq_output_{tensor}_1"],
        name=f"DequantizeLinear_{tensor}_1",
    )
    editor.redirect(tensor, dequantize.output[0])
    editor.insert_after(node, (quantize, dequantize))
