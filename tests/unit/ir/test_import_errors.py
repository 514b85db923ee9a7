"""Models that cannot be compiled end in one line that names the node, before anything is computed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from qdq_graph import QdqGraph

from shufflec.errors import ExitCode, UnsupportedModelError
from shufflec.ir.pipeline import lower


def fails(model: onnx.ModelProto, *words: str) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        lower(model)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "\n" not in text
    assert caught.value.exit_code == ExitCode.UNSUPPORTED


def small() -> tuple[QdqGraph, str]:
    g = QdqGraph()
    return g, g.requantize(g.conv(g.start, 6, 3, name="conv"), 0.03)


def test_unsupported_operator_is_named_with_its_node():
    g, x = small()
    fails(g.classify(g.requantize(g.node("HardSwish", [x], "act"), 0.03), 6), "HardSwish", "act")


def test_operator_of_another_domain():
    g, x = small()
    model = g.classify(g.requantize(g.node("Mystery", [x], "odd", domain="com.example"), 0.03), 6)
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    fails(model, "com.example.Mystery", "odd")


def test_float_model():
    g = QdqGraph()
    weight = g.constant(np.ones((6, 3, 1, 1), np.float32))
    del g.nodes[:]
    fails(g.finish(g.node("Conv", ["input", weight], "conv")), "not quantized", "shufflec quantize")


def test_float_weights():
    g = QdqGraph()
    x = g.node("Conv", [g.start, g.constant(np.ones((6, 3, 1, 1), np.float32))], "bare")
    fails(g.classify(g.requantize(x), 6), "bare", "weights")


def test_convolution_of_a_float_tensor():
    g, x = small()
    fails(g.classify(g.requantize(g.conv(g.conv(x, 6, 6), 6, 6, name="second"), 0.03), 6), "second", "float tensor")


def test_float_input_without_quantizer():
    g = QdqGraph()
    fails(g.classify(g.requantize(g.conv("input", 6, 3, name="conv"), 0.03), 6), "conv", "float input")


def test_sum_of_two_float_tensors():
    g, x = small()
    fails(g.classify(g.requantize(g.node("Add", [g.conv(x, 6, 6), g.conv(x, 6, 6)], "sum"), 0.03), 6), "sum")


def test_output_that_is_no_classifier():
    g, x = small()
    fails(g.finish(g.conv(x, 6, 6, name="last")), "last", "output")


@pytest.mark.parametrize("name", ["batch", 4])
def test_batch(name):
    g, x = small()
    model = g.classify(x, 6)
    dim = model.graph.input[0].type.tensor_type.shape.dim[0]
    if name == "batch":
        dim.Clear()
        dim.dim_param = name
        assert lower(model).graph.tensors["input"].shape == (1, 3, 8, 8)
    else:
        dim.dim_value = name
        fails(model, "batch of 4")


def test_dynamic_height():
    g, x = small()
    model = g.classify(x, 6)
    dim = model.graph.input[0].type.tensor_type.shape.dim[2]
    dim.Clear()
    dim.dim_param = "height"
    fails(model, "height", "fixed")


@pytest.mark.parametrize(("index", "value"), [(1, 4), (1, 1)])
def test_channels_of_the_input(index, value):
    g, x = small()
    model = g.classify(x, 6)
    model.graph.input[0].type.tensor_type.shape.dim[index].dim_value = value
    fails(model, "expected FLOAT [N, 3, H, W]")


def test_two_outputs():
    g, x = small()
    model = g.classify(x, 6)
    model.graph.output.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", "classes"]))
    fails(model, "2 outputs")


def test_opset():
    g, x = small()
    model = g.classify(x, 6)
    model.opset_import[0].version = 11
    fails(model, "opset 11", "opset 17")


def test_permutation_that_is_no_shuffle():
    g, x = small()
    x = g.node("Reshape", [x, g.constant(np.array([1, 6, 8, 8, 1]))], "odd.split")
    x = g.node("Reshape", [g.node("Transpose", [x], perm=[0, 1, 3, 2, 4]), g.constant(np.array([1, 6, 8, 8]))])
    fails(g.classify(g.requantize(g.conv(x, 6, 6)), 6), "odd.split", "not a channel shuffle")


def test_dilated_convolution():
    g, x = small()
    fails(g.classify(g.requantize(g.conv(x, 6, 6, 3, name="wide", dilations=[2, 2])), 6), "wide", "dilated")


def test_asymmetric_weights():
    g = QdqGraph()
    zero = g.constant(np.full(6, 3, np.int8))
    codes, scale = g.constant(np.ones((6, 3, 1, 1), np.int8)), g.constant(np.full(6, 0.01, np.float32))
    x = g.node("Conv", [g.start, g.node("DequantizeLinear", [codes, scale, zero], "skewed", axis=0)])
    fails(g.classify(g.requantize(x), 6), "skewed", "zero point")


def test_per_channel_activations_into_a_dense_convolution():
    g = QdqGraph()
    x = g.requantize(g.conv(g.start, 6, 3), np.linspace(0.01, 0.03, 6), np.zeros(6))
    fails(g.classify(g.requantize(g.conv(x, 6, 6, name="dense"), 0.03), 6), "dense", "per-channel activation scales")


def test_residual_after_relu():
    g, x = small()
    branch = g.node("Relu", [g.conv(x, 6, 6, name="branch")])
    fails(g.classify(g.requantize(g.node("Add", [branch, x]), 0.03), 6), "branch", "relu")


def test_sixteen_bit_activations():
    g, x = small()
    g.opset = 21
    fails(g.classify(g.requantize(x, 0.001, 0, np.int16, name="fine"), 6), "fine.q", "int16")


def test_scale_of_zero():
    g = QdqGraph()
    fails(g.classify(g.requantize(g.conv(g.start, 6, 3), 0.0, name="flat"), 6), "flat.q", "scale")


def test_scales_beyond_the_rule():
    g = QdqGraph()
    x = g.requantize(g.conv(g.start, 6, 3, name="conv"), 1e-12)
    fails(g.classify(x, 6), "conv", "cannot be lowered")


def test_bias_too_large_for_the_classifier():
    g = QdqGraph()
    pooled = g.requantize(g.node("GlobalAveragePool", [g.start]), 0.01)
    flat = g.node("Flatten", [pooled])
    bias = g.constant(np.full(5, 1e9, np.float32))
    fails(g.finish(g.node("Gemm", [flat, g.weights(5, 3), bias], "classifier", transB=1)), "classifier", "int32")


def test_average_over_too_many_positions():
    g = QdqGraph()
    x = g.node("AveragePool", [g.start], "pool", kernel_shape=[5, 5])
    fails(g.classify(g.requantize(x), 3), "pool", "at most 16")


def test_invalid_onnx():
    g, x = small()
    model = g.classify(x, 6)
    model.graph.node[0].input[0] = "nowhere"
    fails(model, "not valid ONNX")
