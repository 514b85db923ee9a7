"""Each rewrite on the smallest graph that needs it, and the verifier on graphs that break its rules."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from shufflec.errors import UnsupportedModelError
from shufflec.quantize.accuracy import predictor
from shufflec.quantize.islands import (
    check_islands,
    check_operators,
    close_max_pool,
    free_residual_branch,
    make_islands,
    merge_concat_quantizers,
    positive_weight_axes,
    widen_empty_ranges,
)
from shufflec.quantize.onnx_graph import GraphEditor

HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'
CONSTANTS = """
    float s = {0.05}, float t = {0.05}, float r = {0.04}, int8 z = {0}, uint8 u = {0},
    int8[3, 3, 1, 1] w = {90, -7, 3, 5, 100, -20, -60, 33, 127},
    float[3] ws = {0.01, 0.02, 0.005}, int8[3] wz = {0, 0, 0},
    float[3] b = {0.1, -0.2, 0.3}
"""


def graph(body: str, output: str = "y", shape: str = "1, 3, 6, 6") -> onnx.ModelProto:
    """A model whose nodes are named after their first output."""
    text = f"{HEADER} g (float[1, 3, 6, 6] x) => (float[{shape}] {output}) <{CONSTANTS}> {{ {body} }}"
    model = parser.parse_model(text)
    for node in model.graph.node:
        node.name = node.output[0]
    onnx.checker.check_model(model, full_check=True)
    return model


def counts(model: onnx.ModelProto) -> Counter:
    return Counter(node.op_type for node in model.graph.node)


def run(model: onnx.ModelProto) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    return predictor(model)(np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32))


INPUT = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)"
WEIGHT = "wd = DequantizeLinear<axis = 0>(w, ws, wz)"
POOLED = f"""{INPUT} {WEIGHT}
    m = MaxPool<kernel_shape = [3, 3], strides = [1, 1], pads = [1, 1, 1, 1]>(d)
    c = Conv(m, wd, b) p = AveragePool<kernel_shape = [1, 1]>(m) a = Add(c, p)
    yq = QuantizeLinear(a, r, z) y = DequantizeLinear(yq, r, z)"""
RESIDUAL = f"""{INPUT} {WEIGHT}
    c = Conv(d, wd, b) cq = QuantizeLinear(c, t, z) cd = DequantizeLinear(cq, t, z)
    a = Add(d, cd) e = Relu(a) yq = QuantizeLinear(e, r, u) y = DequantizeLinear(yq, r, u)"""
JOINED = f"""{INPUT} {WEIGHT}
    c = Conv(d, wd, b) e = Relu(c) eq = QuantizeLinear(e, t, u) ed = DequantizeLinear(eq, t, u)
    p = AveragePool<kernel_shape = [1, 1]>(d) pq = QuantizeLinear(p, r, u) pd = DequantizeLinear(pq, r, u)
    y = Concat<axis = 1>(pd, ed)"""


def test_max_pool_gets_a_quantizer_that_changes_no_value():
    model = graph(POOLED)
    before = run(model)
    assert close_max_pool(GraphEditor(model.graph)) == 1
    assert counts(model)["QuantizeLinear"] == 3
    assert np.array_equal(run(model), before)
    editor = GraphEditor(model.graph)
    # Both readers of the pool now read the same DQ, and the pool's result goes to the Q alone.
    assert editor.producers["c"].input[0] == editor.producers["p"].input[0] == "dq_output_m_1"
    assert editor.only_consumer("m").op_type == "QuantizeLinear"
    assert close_max_pool(editor) == 0


def test_residual_branch_loses_its_quantizer_and_the_shortcut_keeps_its_own():
    model = graph(RESIDUAL)
    before = run(model)
    assert free_residual_branch(GraphEditor(model.graph)) == 1
    assert counts(model)["QuantizeLinear"] == 2
    assert list(GraphEditor(model.graph).producers["a"].input) == ["d", "c"]
    # Only the branch's own rounding, at most half of its step, is gone; the result is on a grid of 0.04.
    assert 0 < abs(run(model) - before).max() <= 0.04 * 1.001


def test_residual_branch_with_a_second_reader_stays():
    body = RESIDUAL.replace("a = Add(d, cd)", "f = Relu(c) fq = QuantizeLinear(f, t, u) a = Add(d, cd)")
    model = graph(body)
    assert free_residual_branch(GraphEditor(model.graph)) == 0
    assert counts(model)["QuantizeLinear"] == 4


def test_concat_gets_one_quantizer_with_the_larger_scale():
    model = graph(JOINED, shape="1, 6, 6, 6")
    assert merge_concat_quantizers(GraphEditor(model.graph)) == 1
    editor = GraphEditor(model.graph)
    assert list(editor.producers["y"].input) == ["p", "e"]
    quantize = next(node for node in model.graph.node if node.name == "QuantizeLinear_y_1")
    assert float(editor.constant(quantize.input[1])) == np.float32(0.05)
    assert editor.constant(quantize.input[2]).dtype == np.uint8


def test_concat_of_signed_and_unsigned_covers_both():
    body = JOINED.replace(
        "pq = QuantizeLinear(p, r, u) pd = DequantizeLinear(pq, r, u)",
        "pq = QuantizeLinear(p, r, z) pd = DequantizeLinear(pq, r, z)",
    )
    model = graph(body, shape="1, 6, 6, 6")
    merge_concat_quantizers(GraphEditor(model.graph))
    editor = GraphEditor(model.graph)
    quantize = next(node for node in model.graph.node if node.name == "QuantizeLinear_y_1")
    assert editor.constant(quantize.input[2]).dtype == np.int8
    # 0.05 * 255 = 12.75 is further than 0.04 * 127.
    assert float(editor.constant(quantize.input[1])) == pytest.approx(12.75 / 127)


def test_empty_range_gets_an_ordinary_scale():
    model = graph(RESIDUAL)
    editor = GraphEditor(model.graph)
    editor.set_initializer("r", np.array(3e-7, np.float32))
    assert widen_empty_ranges(editor) == 1
    assert float(editor.constant("r")) == 1 / 128
    assert float(editor.constant("s")) == np.float32(0.05)


def test_weight_axis_is_counted_from_the_front():
    model = graph(RESIDUAL.replace("axis = 0", "axis = -4"))
    positive_weight_axes(GraphEditor(model.graph))
    assert GraphEditor(model.graph).producers["wd"].attribute[0].i == 0


def test_all_rewrites_together_leave_islands():
    model = graph(POOLED)
    with pytest.raises(UnsupportedModelError, match="Conv node c reads a float tensor"):
        check_islands(model)
    make_islands(model)
    check_islands(model)
    assert {item.name for item in model.graph.initializer} == {"s", "r", "z", "w", "ws", "wz", "b"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("c = Conv(d, wd, b)", "c = Conv(x, wd, b)", "Conv node c reads a float input"),
        ("c = Conv(d, wd, b)", "n = Relu(d) c = Conv(n, wd, b)", "Conv node c reads a float tensor"),
        ("wd = DequantizeLinear<axis = 0>(w, ws, wz)", "wd = Cast<to = 1>(w)", "Cast node wd is not an operator"),
        ("a = Add(d, cd)", "a = Add(x, cd)", "Add node a reads a tensor that is not dequantized"),
        ("e = Relu(a)", "e = Sigmoid(a)", "Sigmoid node e is not an operator that shufflec compiles"),
        ("y = DequantizeLinear(yq, r, u)", "v = DequantizeLinear(yq, r, u) y = Relu(v)", "output y is not made by"),
    ],
)
def test_verifier_names_the_node(old, new, message):
    assert old in RESIDUAL
    with pytest.raises(UnsupportedModelError, match=message):
        check_islands(graph(RESIDUAL.replace(old, new)))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_verifier_refuses_impossible_scales(scale):
    model = graph(RESIDUAL)
    GraphEditor(model.graph).set_initializer("t", np.array(scale, np.float32))
    with pytest.raises(UnsupportedModelError, match="QuantizeLinear node cq has a scale"):
        check_islands(model)


def test_float_operators_are_checked_by_name():
    check_operators(graph("y = Relu(x)"))
    with pytest.raises(UnsupportedModelError, match="Sigmoid node y is not an operator"):
        check_operators(graph("y = Sigmoid(x)"))
    model = graph("y = Relu(x)")
    model.graph.node[0].domain = "com.example"
    with pytest.raises(UnsupportedModelError, match="Relu node y"):
        check_operators(model)


def test_editor_refuses_a_name_twice():
    editor = GraphEditor(graph(RESIDUAL).graph)
    with pytest.raises(ValueError, match="s exists"):
        editor.add_initializer("s", np.zeros(1, np.float32))
    assert numpy_helper.to_array(editor.initializers["s"]) == np.float32(0.05)
