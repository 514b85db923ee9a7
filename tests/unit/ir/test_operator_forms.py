"""Each form that an operator may come in, alone: lowered as expected and within one step of ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from qdq_graph import QdqGraph

from shufflec.ir.compare import Comparison, OnnxRuntimeModel
from shufflec.ir.graph import Op
from shufflec.ir.pipeline import lower
from shufflec.ir.reference import execute


def checked(model: onnx.ModelProto, size=(1, 3, 8, 8)) -> dict[str, Op]:
    """The lowered operators by name, after a comparison of every tensor and of the logits."""
    lowered = lower(model)
    comparison, runtime = Comparison(model), OnnxRuntimeModel(model)
    output = model.graph.output[0].name
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
        assert max(item.largest for item in comparison.differences(x)) <= 1
        ours, theirs = execute(lowered.graph, x)[lowered.graph.output], runtime.run(x)[output].reshape(1, -1)
        assert np.abs(ours - theirs).max() < 0.1 * max(np.abs(theirs).max(), 0.5)
    return {op.name: op for op in lowered.graph.ops}


@pytest.mark.parametrize("order", ["reshape first", "4-D", "inverse"])
def test_shuffle_forms_become_a_write_map(order):
    g = QdqGraph()
    x = g.requantize(g.node("Relu", [g.conv(g.start, 12, 3, bias=True)]), 0.03)
    x = g.conv(x, 12, 4, group=3, name="grouped")
    x = g.requantize(g.node("Relu", [x]), 0.03)
    split, axes = {
        "reshape first": ([1, 3, 4, 8, 8], [0, 2, 1, 3, 4]),
        "4-D": ([3, 4, 8, 8], [1, 0, 2, 3]),
        "inverse": ([1, 4, 3, 64], [0, 2, 1, 3]),
    }[order]
    x = g.node("Reshape", [x, g.constant(np.array(split))], "unit.shuffle.split")
    x = g.node("Transpose", [x], "unit.shuffle.transpose", perm=axes)
    x = g.node("Reshape", [x, g.constant(np.array([1, 12, 8, 8]))], "unit.shuffle.merge")
    model = g.classify(g.requantize(g.conv(x, 12, 1, 3, group=12, pads=[1] * 4, name="dw"), 0.05), 12)
    ops = checked(model)
    assert ops["grouped"].attrs["shuffle_rows"] == (4 if order == "inverse" else 3)
    assert lower(model, fold_shuffle=False).graph.ops[3].name == "unit.shuffle"


def test_shuffle_between_relu_and_quantizer_moves_behind_it():
    g = QdqGraph()
    x = g.requantize(g.conv(g.start, 8, 3), 0.03)
    x = g.node("Reshape", [g.conv(x, 8, 4, group=2, name="grouped"), g.constant(np.array([1, 2, 4, 8, 8]))])
    x = g.node("Reshape", [g.node("Transpose", [x], perm=[0, 2, 1, 3, 4]), g.constant(np.array([1, 8, 8, 8]))])
    scales = np.linspace(0.01, 0.04, 8)
    x = g.requantize(g.node("Relu", [x]), scales, np.zeros(8))
    ops = checked(g.classify(g.requantize(g.conv(x, 8, 1, 3, group=8, name="dw"), 0.04), 8))
    assert ops["grouped"].attrs["shuffle_rows"] == 2 and ops["grouped"].attrs["clamp_min"] == 0


def test_shuffle_that_two_operators_read_before_and_after_stays_a_copy():
    g = QdqGraph()
    a = g.requantize(g.conv(g.start, 8, 3, name="first"), 0.03)
    x = g.node("Reshape", [a, g.constant(np.array([1, 2, 4, 8, 8]))])
    x = g.node("Reshape", [g.node("Transpose", [x], perm=[0, 2, 1, 3, 4]), g.constant(np.array([1, 8, 8, 8]))])
    model = g.classify(g.requantize(g.node("Add", [a, x], "sum"), 0.05), 8)
    assert checked(model)["sum"].kind == "add"
    assert lower(model).shuffle == {"found": 1, "folded": 0, "copies_left": 1}


@pytest.mark.parametrize(
    ("pool", "attributes"),
    [
        ("MaxPool", {"pads": [1, 1, 1, 1]}),
        ("MaxPool", {"pads": [0, 0, 1, 1]}),
        ("MaxPool", {"auto_pad": "SAME_UPPER"}),
        ("MaxPool", {"auto_pad": "VALID"}),
        ("MaxPool", {"ceil_mode": 1}),
        ("AveragePool", {"pads": [1, 1, 1, 1], "count_include_pad": 1}),
        ("AveragePool", {"pads": [1, 1, 1, 1], "count_include_pad": 0}),
        ("AveragePool", {"pads": [0, 0, 1, 1], "count_include_pad": 0}),
        ("AveragePool", {"auto_pad": "SAME_UPPER", "count_include_pad": 0}),
        ("AveragePool", {"auto_pad": "SAME_LOWER", "count_include_pad": 1}),
        ("AveragePool", {"ceil_mode": 1}),
    ],
)
@pytest.mark.parametrize("size", [8, 9])
def test_pool_padding_rules(pool, attributes, size):
    g = QdqGraph((1, 3, size, size))
    x = g.node(pool, [g.start], "pool", kernel_shape=[3, 3], strides=[2, 2], **attributes)
    ops = checked(g.classify(g.requantize(x, 0.02), 3), (1, 3, size, size))
    assert ops["pool"].kind == {"MaxPool": "max_pool2d", "AveragePool": "avg_pool2d"}[pool]


def test_max_pool_behind_a_convolution_pools_its_codes():
    g = QdqGraph()
    x = g.node(
        "MaxPool", [g.node("Relu", [g.conv(g.start, 6, 3, name="conv")])], "pool", kernel_shape=[2, 2], strides=[2, 2]
    )
    ops = checked(g.classify(g.requantize(x, 0.02, 0, np.uint8), 6))
    assert ops["pool"].inputs == ("conv",)


def test_max_pool_with_another_grid_requantizes_its_result():
    g = QdqGraph()
    x = g.node("MaxPool", [g.start], "pool", kernel_shape=[2, 2], strides=[2, 2])
    ops = checked(g.classify(g.requantize(x, 0.031), 3))
    assert ops["pool.requantize"].inputs == ("pool",)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.0, None), (-0.4, 0.7)])
def test_clip_is_a_clamp(bounds):
    g = QdqGraph()
    ends = ["" if end is None else g.constant(np.float32(end)) for end in bounds]
    x = g.node("Clip", [g.conv(g.start, 6, 3, name="conv"), *ends])
    op = checked(g.classify(g.requantize(x, 0.02, 10), 6))["conv"]
    assert op.attrs["clamp_min"] == 10 + round(bounds[0] / 0.02)
    assert op.attrs["clamp_max"] == min(127, 10 + round((bounds[1] or 9) / 0.02))


def test_relu_on_a_quantized_tensor_is_a_requantize_or_nothing():
    g = QdqGraph()
    x = g.requantize(g.conv(g.start, 6, 3, name="conv"), 0.03)
    x = g.requantize(g.node("Relu", [x], "relu"), 0.03, 0, np.int8)
    x = g.requantize(g.node("Relu", [g.requantize(x, 0.03, 0, np.uint8)]), 0.03, 0, np.uint8)
    ops = checked(g.classify(x, 6))
    assert [op.kind for op in ops.values()].count("requantize") == 2
    assert ops["conv.requantize"].attrs["clamp_min"] == 0


def test_bias_as_int32_and_weights_as_uint8():
    g = QdqGraph()
    codes = g.constant(g.rng.integers(-20000, 20000, 6).astype(np.int32))
    bias = g.node(
        "DequantizeLinear", [codes, g.constant(np.full(6, 6e-5, np.float32)), g.constant(np.zeros(6, np.int32))], axis=0
    )
    x = g.node("Conv", [g.start, g.weights(6, 3, 3, 3, dtype=np.uint8), bias], "conv", auto_pad="SAME_UPPER")
    assert checked(g.classify(g.requantize(x, 0.02), 6))["conv"].constants["weight"].dtype == np.int8


@pytest.mark.parametrize("form", ["MatMul", "Gemm", "Gemm with transB", "Conv"])
def test_classifier_forms(form):
    g = QdqGraph()
    pooled = g.requantize(g.node("ReduceMean", [g.start], axes=[2, 3], keepdims=1 if form == "Conv" else 0), 0.01)
    bias = g.constant(g.rng.uniform(-1, 1, 5).astype(np.float32))
    if form == "Conv":
        logits = g.node("Flatten", [g.conv(pooled, 5, 3, name="classifier")])
    elif form == "MatMul":
        logits = g.node("Add", [g.node("MatMul", [pooled, g.weights(3, 5, axis=1)], "classifier"), bias])
    elif form == "Gemm":
        logits = g.node("Gemm", [pooled, g.weights(3, 5, axis=1), bias], "classifier")
    else:
        logits = g.node("Gemm", [pooled, g.weights(5, 3), bias], "classifier", transB=1)
    ops = checked(g.finish(logits))
    assert (ops["classifier"].kind, ops["logits"].kind) == ("dense", "dequantize")


def test_quantized_logits_are_a_convolution_and_an_int8_dequantize():
    g = QdqGraph()
    flat = g.node("Flatten", [g.requantize(g.node("GlobalAveragePool", [g.start]), 0.01)])
    logits = g.requantize(g.node("Gemm", [flat, g.weights(5, 3)], "classifier", transB=1), 0.004, 3)
    ops = checked(g.finish(logits))
    assert (ops["classifier"].kind, ops["logits"].attrs["zero_point"]) == ("conv2d", 3)


def test_concat_of_quantized_parts_without_a_quantizer_gets_the_widest_grid():
    g = QdqGraph()
    a = g.requantize(g.conv(g.start, 4, 3, name="a"), 0.01)
    b = g.requantize(g.conv(g.start, 4, 3, name="b"), 0.03)
    joined = g.node("Concat", [a, b], "joined", axis=1)
    model = g.classify(g.requantize(g.conv(joined, 6, 8, name="after"), 0.05), 6)
    lowered = lower(model)
    ops = {op.name: op for op in lowered.graph.ops}
    assert ops["joined"].inputs == ("a.requantize", "b")
    runtime = OnnxRuntimeModel(model)
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    assert np.allclose(execute(lowered.graph, x)["logits"], runtime.run(x)["classifier"], atol=0.05)


def test_concat_of_signed_and_unsigned_parts_covers_both():
    g = QdqGraph()
    a = g.requantize(g.node("Relu", [g.conv(g.start, 4, 3, name="a")]), 0.02, 0, np.uint8)
    b = g.requantize(g.conv(g.start, 4, 3, name="b"), 0.02)
    model = g.classify(g.requantize(g.conv(g.node("Concat", [a, b], axis=1), 6, 8), 0.05), 6)
    lowered = lower(model)
    runtime = OnnxRuntimeModel(model)
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    assert np.allclose(execute(lowered.graph, x)["logits"], runtime.run(x)["classifier"], atol=0.06)


def test_node_names_of_torch_become_module_paths():
    g = QdqGraph()
    x = g.requantize(g.conv(g.start, 4, 3, name="/stage2/stage2.0/conv1/Conv"), 0.03)
    ops = checked(g.classify(g.requantize(g.conv(x, 4, 1, group=4, name="/features/0/dw/Conv_1"), 0.05), 4))
    assert {"stage2.0.conv1", "features.0.dw"} <= set(ops)
