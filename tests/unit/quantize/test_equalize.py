"""Equalization changes no output, and brings wide channels down to the median."""

from __future__ import annotations

import numpy as np
import pytest
from quantized import copied, float_model, images

from shufflec.quantize.accuracy import predictor
from shufflec.quantize.equalize import equalize
from shufflec.quantize.onnx_graph import GraphEditor
from shufflec.quantize.runtime import watch


def ranges(model, name, inputs):
    return np.max([np.abs(tensors[0]).max((0, 2, 3)) for tensors in watch(model, [name], inputs)], 0)


@pytest.mark.parametrize(("groups", "variant"), [(1, "paper"), (3, "paper"), (8, "megvii"), (4, "mindcv")])
def test_same_outputs_and_narrower_ranges(groups, variant):
    model, inputs = copied(float_model(groups, variant)), list(images(3)[:, None])
    before = [ranges(model, f"{unit}.dw", inputs) for unit in ("stage2.1", "stage4.0")]
    expected = predictor(model)(images(5, seed=3))
    assert equalize(model, inputs) == 16
    after = [ranges(model, f"{unit}.dw", inputs) for unit in ("stage2.1", "stage4.0")]
    for wide, narrow in zip(before, after, strict=True):
        middle = np.median(wide)
        assert wide.max() > 1.2 * middle
        np.testing.assert_allclose(narrow, np.minimum(wide, middle), rtol=1e-4)
    result = predictor(model)(images(5, seed=3))
    assert abs(result - expected).max() <= 1e-4 * abs(expected).max()


def test_a_wild_channel_is_brought_down_by_a_limited_factor():
    model, inputs = copied(float_model(3, "paper")), list(images(2)[:, None])
    editor = GraphEditor(model.graph)
    editor.set_initializer("stage2.1.dw.bias", np.array([1e5] + [0] * 14, np.float32))
    wide = ranges(model, "stage2.1.dw", inputs)
    equalize(model, inputs)
    assert ranges(model, "stage2.1.dw", inputs)[0] == pytest.approx(wide[0] / 16, rel=1e-3)


def test_left_alone_where_it_would_not_be_exact():
    inputs = list(images(1)[:, None])
    model = copied(float_model(3, "paper"))
    nodes = {node.name: node for node in model.graph.node}
    # A relu in between, a second reader of the output, and filters that two convolutions share.
    nodes["stage2.1.conv2"].input[0] = "stage2.1.dw.positive"
    position = [node.name for node in model.graph.node].index("stage2.1.conv2")
    relu = type(nodes["stem"])(op_type="Relu", name="r", input=["stage2.1.dw"], output=["stage2.1.dw.positive"])
    model.graph.node.insert(position, relu)
    nodes["stage2.3.conv2"].input[1] = nodes["stage2.2.conv2"].input[1]
    assert equalize(model, inputs) == 13
