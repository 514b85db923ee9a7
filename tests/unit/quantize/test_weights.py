"""Weights take each channel's own range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from quantized import copied, float_model, quantized

from shufflec.quantize.onnx_graph import GraphEditor
from shufflec.quantize.weights import quantize_weight, requantize_weights

VALUES = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)


@given(arrays.arrays(np.float32, st.tuples(*[st.integers(1, 5)] * 3), elements=VALUES), st.integers(0, 2))
def test_error_is_half_a_step(weight, axis):
    values, scale = quantize_weight(weight, axis)
    assert values.dtype == np.int8 and abs(values.astype(int)).max() <= 127
    assert scale.shape == (weight.shape[axis],) and (scale > 0).all()
    step = np.moveaxis(np.broadcast_to(scale, (*np.delete(weight.shape, axis), len(scale))), -1, axis)
    assert (abs(values * step.astype(np.float64) - weight) <= step * 0.50001).all()


def test_a_giant_channel_does_not_coarsen_the_others():
    weight = np.array([[300.0, -100.0], [0.25, 0.5], [0.0, 0.0]], np.float32)
    values, scale = quantize_weight(weight, 0)
    assert values.tolist() == [[127, -42], [64, 127], [0, 0]]
    assert scale[1] == pytest.approx(0.5 / 127)
    assert scale[2] == pytest.approx(300 / 127 / 4096)


def test_model_gets_weights_anew():
    model = copied(quantized(3, "paper"))
    editor = GraphEditor(model.graph)
    name = editor.producers[editor.producers["stage2.1.dw"].input[1]].input[0]
    expected = editor.constant(name).copy()
    editor.set_initializer(name, np.zeros_like(expected))
    assert requantize_weights(model, float_model(3, "paper")) == 50
    assert np.array_equal(GraphEditor(model.graph).constant(name), expected)
