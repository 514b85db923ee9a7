"""Each way to quantize after training gives another network, integer throughout; the default's bytes do not move."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest
from tiny_network import tiny_images, tiny_network

from shufflec.errors import OptionError
from shufflec.ir.pipeline import lower
from shufflec.ir.reference import predict
from shufflec.quantize.accuracy import predictor
from shufflec.quantize.cache import cache_key
from shufflec.quantize.calibration import Calibration
from shufflec.quantize.onnx_graph import GraphEditor
from shufflec.quantize.ptq import equalized_model, quantize_model
from shufflec.quantize.runtime import open_session
from shufflec.quantize.sensitivity import decibels
from shufflec.quantize.settings import DEFAULT, SINGLE_CHANGES, PtqSettings
from shufflec.quantize.unsigned_grids import unsigned_grids

WORKING = [settings for settings in SINGLE_CHANGES if settings.bias != "accurate"]


@cache
def quantized(settings: PtqSettings) -> onnx.ModelProto:
    """Callers must not change it."""
    return quantize_model(tiny_network(), [tiny_images(8)], None, settings)


def logits_db(settings: PtqSettings, inputs: np.ndarray) -> float:
    exact, rounded = predictor(tiny_network())(inputs), predictor(quantized(settings))(inputs)
    return decibels((exact**2).sum(), ((exact - rounded) ** 2).sum())


@pytest.mark.parametrize("settings", WORKING, ids=lambda settings: settings.label)
def test_every_way_is_another_and_lowers_to_integers(settings):
    model = quantized(settings)
    assert model.SerializeToString() != quantized(DEFAULT).SerializeToString()
    inputs = tiny_images(8, seed=1)
    assert logits_db(settings, inputs) > 20
    graph = lower(model).graph
    integers = np.stack([predict(graph, image[None]).reshape(-1) for image in inputs])
    assert np.abs(integers - predictor(model)(inputs)).max() < 0.1


def test_labels_and_what_is_not_known():
    assert DEFAULT.label == "ptq" and DEFAULT.changed == ()
    assert PtqSettings(preset="mixed", ranges="percentile").label == "ptq, mixed, percentile ranges"
    assert len({settings.label for settings in SINGLE_CHANGES}) == len(SINGLE_CHANGES) == 6
    with pytest.raises(OptionError, match="bias full: expected one of own, fast, accurate, off"):
        PtqSettings(bias="full")


def test_cache_tells_the_ways_apart():
    calibration = Calibration(tiny_images(2), "set.npz")
    model = tiny_network()
    keys = {cache_key(model, calibration, settings) for settings in (DEFAULT, *SINGLE_CHANGES)}
    assert len(keys) == 7
    assert cache_key(model, calibration) in keys


def test_smooth_factors_keep_the_logits():
    inputs = tiny_images(4)
    smooth = equalized_model(tiny_network(), [inputs], PtqSettings(smooth=True))
    plain = equalized_model(tiny_network(), [inputs])
    assert np.allclose(predictor(smooth)(inputs), predictor(tiny_network())(inputs), atol=1e-5)
    weights = [GraphEditor(model.graph).constant("b.dw.weight") for model in (smooth, plain)]
    assert not np.allclose(*weights, rtol=1e-3)


def test_mixed_preset_has_zero_points_only_where_values_are_negative():
    editor = GraphEditor(quantized(PtqSettings(preset="mixed")).graph)
    behind_relu = other = 0
    for node in editor.graph.node:
        if node.op_type == "QuantizeLinear":
            zero = editor.constant(node.input[2])
            if editor.producer(node.input[0], "Relu") is not None:
                behind_relu += 1
                assert zero.dtype == np.uint8 and not zero.any(), node.name
            else:
                other += int(zero.any())
    assert behind_relu > 3 and other > 0


def test_unsigned_grid_is_the_same_grid():
    """int8 with zero point -128 and uint8 with 0 round alike; symmetric graphs are left alone."""
    x, scale = np.linspace(-1, 40, 500, dtype=np.float32), np.float32(0.11)
    one = onnx.helper.make_node("QuantizeLinear", ["r", "s", "z"], ["q"], name="q")
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Relu", ["x"], ["r"], name="r"),
            one,
            onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="d"),
        ],
        "relu",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [500])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [500])],
        [onnx.numpy_helper.from_array(scale, "s"), onnx.numpy_helper.from_array(np.int8(-128), "z")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    before = open_session(model).run(None, {"x": x})[0]
    assert unsigned_grids(GraphEditor(model.graph)) == 1
    onnx.checker.check_model(model, full_check=True)
    assert np.array_equal(open_session(model).run(None, {"x": x})[0], before)
    assert unsigned_grids(GraphEditor(quantized(DEFAULT).graph)) == 0
