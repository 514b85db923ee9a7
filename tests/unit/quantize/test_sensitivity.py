"""The layers named as worst are those that lose most."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_network import tiny_images, tiny_network

from shufflec.quantize.accuracy import predictor
from shufflec.quantize.onnx_graph import GraphEditor
from shufflec.quantize.ptq import equalized_model, quantize_model
from shufflec.quantize.sensitivity import LayerError, decibels, layer_errors, worst_layers

IMAGES = tiny_images(8)
SINGLES = list(IMAGES[:, None])


def errors_of(damage=None):
    model = tiny_network()
    quantized = quantize_model(model, [IMAGES])
    if damage is not None:
        damage(GraphEditor(quantized.graph))
    return layer_errors(equalized_model(model, [IMAGES]), quantized, SINGLES), quantized


def test_every_layer_has_its_row():
    errors, quantized = errors_of()
    names = [error.layer for error in errors]
    convolutions = {node.name for node in quantized.graph.node if node.op_type in ("Conv", "Gemm")}
    assert names[0] == "input" and names[-1] == "classifier"
    assert convolutions <= set(names) and {"stem.pool", "global_pool"} <= set(names)
    assert all(20 < error.sqnr_db <= error.alone_db + 6 for error in errors)
    # By itself the input has no layers before it.
    assert errors[0].sqnr_db == errors[0].alone_db


def test_last_row_is_the_logits_error():
    errors, quantized = errors_of()
    exact, rounded = predictor(tiny_network())(IMAGES), predictor(quantized)(IMAGES)
    assert errors[-1].sqnr_db == pytest.approx(decibels((exact**2).sum(), ((exact - rounded) ** 2).sum()), abs=0.02)


def test_a_damaged_layer_is_named_first_and_what_follows_it_is_not():
    def halve_codes(editor):
        reader = next(node for node in editor.graph.node if node.name == "b.conv1")
        name = editor.producers[reader.input[1]].input[0]
        editor.set_initializer(name, (editor.constant(name) // 32) * 32)

    errors, _ = errors_of(halve_codes)
    worst = worst_layers(errors)
    assert len(worst) == 3 and worst[0].layer == "b.conv1"
    rows = {error.layer: error for error in errors}
    before, _ = errors_of()
    untouched = {error.layer: error for error in before}
    assert rows["b.conv1"].alone_db < untouched["b.conv1"].alone_db - 10
    assert rows["b.dw"].sqnr_db < untouched["b.dw"].sqnr_db - 5
    assert rows["b.dw"].alone_db == untouched["b.dw"].alone_db


def test_a_silent_layer_has_no_figure():
    assert decibels(0.0, 1.0) is None
    assert decibels(1.0, 0.0) == 120.0
    assert decibels(100.0, 1.0) == 20.0
    rows = [LayerError("silent", None, None), LayerError("loud", 10.0, 10.0), LayerError("fine", 40.0, 40.0)]
    assert [error.layer for error in worst_layers(rows, 2)] == ["loud", "fine"]
    assert np.isfinite(decibels(1e-30, 1e-31))
