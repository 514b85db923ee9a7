"""After bias correction no channel's mean differs from the float model's."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper
from quantized import copied, float_model, images, quantized

from shufflec.quantize.bias_correction import correct_biases
from shufflec.quantize.onnx_graph import GraphEditor
from shufflec.quantize.runtime import open_session


def channel_means(model, names, inputs):
    watched = copied(model)
    for name in names:
        watched.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = open_session(watched)
    runs = [session.run(names, {"input": inputs[i : i + 1]}) for i in range(len(inputs))]
    return [np.mean([run[k].mean((0, 2, 3)) for run in runs], 0) for k in range(len(names))]


def test_means_equal_the_float_model():
    source, model, inputs = float_model(3, "megvii"), copied(quantized(3, "megvii")), images(4)
    editor = GraphEditor(model.graph)
    names = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
    for name in names:
        bias = editor.producers[name].input[2]
        editor.set_initializer(bias, editor.constant(bias) + np.float32(0.1))
    assert correct_biases(model, source, list(inputs[:, None])) == 50
    wanted, reached = channel_means(source, names, inputs), channel_means(model, names, inputs)
    assert max(abs(a - b).max() for a, b in zip(wanted, reached, strict=True)) < 1e-4


def test_shared_and_missing_biases_become_their_own():
    model, inputs = copied(quantized(3, "paper")), images(2)
    editor = GraphEditor(model.graph)
    # conv2 of two units reads one constant, as exporters that merge equal constants write it; a third has none.
    first, second, third = (editor.producers[f"stage2.{unit}.conv2"] for unit in (1, 2, 3))
    shared = editor.constant(first.input[2])
    second.input[2] = first.input[2]
    del third.input[2:]
    correct_biases(model, float_model(3, "paper"), list(inputs[:, None]))
    editor = GraphEditor(model.graph)
    # The first reader got a constant of its own; the second is then the only one left and keeps the old one.
    assert first.input[2] == "stage2.1.conv2.corrected_bias"
    assert second.input[2] not in (first.input[2], third.input[2])
    assert third.input[2] == "stage2.3.conv2.corrected_bias"
    assert not np.array_equal(editor.constant(first.input[2]), shared)
    names = [f"stage2.{unit}.conv2" for unit in (1, 2, 3)]
    wanted, reached = (channel_means(item, names, inputs) for item in (float_model(3, "paper"), model))
    assert max(abs(a - b).max() for a, b in zip(wanted, reached, strict=True)) < 1e-4
