"""ONNX files are untrusted: whatever is wrong with one is one clear line that names it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from quantized import copied, float_model, quantized

from shufflec.errors import InputFileError, UnsupportedModelError
from shufflec.quantize import inspect
from shufflec.quantize.check_weights import variance_note
from shufflec.quantize.inspect import class_count, input_shape, load_onnx, model_kind
from shufflec.quantize.onnx_graph import GraphEditor


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(float_model(3, "paper").SerializeToString())
    return path


def save(path, model) -> None:
    path.write_bytes(model.SerializeToString())


def test_a_good_file(saved):
    model = load_onnx(saved)
    assert model == float_model(3, "paper")
    assert model_kind(model) == "float" and model_kind(quantized(3, "paper")) == "qdq"
    assert input_shape(model) == (1, 3, 32, 32) and class_count(model) == 10


@pytest.mark.parametrize("keep", [0, 1, 100, 5000, -1])
def test_truncated(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(InputFileError, match=r"model\.onnx: is (truncated, corrupt|not a valid)"):
        load_onnx(saved)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(100), b"hello", b"PK\x03\x04" + bytes(50)])
def test_another_kind_of_file(saved, content):
    saved.write_bytes(content)
    with pytest.raises(InputFileError, match="not a"):
        load_onnx(saved)


def test_missing_or_folder(tmp_path):
    with pytest.raises(InputFileError, match="no such file"):
        load_onnx(tmp_path / "none.onnx")
    with pytest.raises(InputFileError, match="is a folder"):
        load_onnx(tmp_path)


def test_too_large(saved, monkeypatch):
    monkeypatch.setattr(inspect, "MAX_BYTES", 1000)
    with pytest.raises(InputFileError, match="more than the 1000 allowed"):
        load_onnx(saved)
    monkeypatch.undo()
    monkeypatch.setattr(inspect, "MAX_NODES", 100)
    with pytest.raises(InputFileError, match="nodes, more than the 100"):
        load_onnx(saved)


@pytest.mark.parametrize("location", ["weights.bin", "../../etc/passwd", "/etc/passwd"])
def test_weights_in_another_file(saved, location):
    model = copied(float_model(3, "paper"))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    save(saved, model)
    with pytest.raises(InputFileError, match=r"keeps weight stem\.weight in another file"):
        load_onnx(saved)


def test_declared_size_is_not_believed(saved):
    model = copied(float_model(3, "paper"))
    model.graph.initializer[0].dims[0] = 1 << 40
    save(saved, model)
    with pytest.raises(InputFileError, match=r"weight stem\.weight has 648 bytes for shape"):
        load_onnx(saved)
    model.graph.initializer[0].dims[0] = -6
    save(saved, model)
    with pytest.raises(InputFileError, match="negative dimension"):
        load_onnx(saved)


def test_weight_of_unknown_type(saved):
    model = copied(float_model(3, "paper"))
    model.graph.initializer[0].data_type = 77
    save(saved, model)
    with pytest.raises(InputFileError, match="unknown type 77"):
        load_onnx(saved)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(saved, value):
    model = copied(float_model(3, "paper"))
    GraphEditor(model.graph).set_initializer("classifier.bias", np.full(10, value, np.float32))
    save(saved, model)
    with pytest.raises(InputFileError, match=r"weight classifier\.bias has values that are not finite"):
        load_onnx(saved)


def _constant_node(model, values):
    """The first weight as a Constant node."""
    weight = model.graph.initializer[0]
    model.graph.node.insert(0, helper.make_node("Constant", [], [weight.name], value=numpy_helper.from_array(values)))
    model.graph.initializer.remove(weight)


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.float64])
def test_a_constant_node_that_is_not_finite(saved, kind):
    model = copied(float_model(3, "paper"))
    values = numpy_helper.to_array(model.graph.initializer[0]).astype(kind)
    values.reshape(-1)[0] = np.inf
    _constant_node(model, values)
    save(saved, model)
    with pytest.raises(InputFileError, match="a Constant node has values that are not finite"):
        load_onnx(saved)


def _normalised(variance, scale=1.0):
    """A batch norm of two channels by itself."""
    names = ("scale", "bias", "mean", "variance")
    values = ([scale, scale], [0, 0], [0, 0], variance)
    graph = helper.make_graph(
        [helper.make_node("BatchNormalization", ["x", *names], ["y"], name="norm")],
        "norm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 4, 4])],
        [numpy_helper.from_array(np.float32(value), name) for name, value in zip(names, values, strict=True)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_negative_variance_is_an_error(saved):
    onnx.save(_normalised([1.0, -1e-6]), saved)
    with pytest.raises(InputFileError, match="batch norm norm has a negative variance"):
        load_onnx(saved)


def test_no_variance_is_legal_and_said():
    assert variance_note(_normalised([1.0, 0.5])) is None
    assert variance_note(_normalised([0.0, 0.0], scale=0.0)) is None
    assert variance_note(_normalised([1.0, 0.0])).startswith("1 batch-norm channel has no variance, the first is chann")
    assert "2 batch-norm channels have no variance, the first is channel 0 of norm" in variance_note(
        _normalised([0.0, 0.0])
    )


def test_control_flow(saved):
    body = helper.make_graph([], "body", [], [])
    model = copied(float_model(3, "paper"))
    model.graph.node.append(helper.make_node("If", ["c"], ["o"], name="choice", then_branch=body, else_branch=body))
    save(saved, model)
    with pytest.raises(UnsupportedModelError, match="If node choice is control flow"):
        load_onnx(saved)


def test_tensors_in_attributes_are_checked_too(saved):
    model = copied(float_model(3, "paper"))
    value = numpy_helper.from_array(np.zeros(4, np.float32))
    value.data_location = TensorProto.EXTERNAL
    model.graph.node.append(helper.make_node("Constant", [], ["c"], name="c", value=value))
    save(saved, model)
    with pytest.raises(InputFileError, match="in another file"):
        load_onnx(saved)


@pytest.mark.parametrize("op_type", ["QLinearConv", "ConvInteger", "DynamicQuantizeLinear"])
def test_quantized_in_another_form(op_type):
    model = onnx.ModelProto()
    model.graph.node.append(helper.make_node(op_type, [], ["y"], name="first"))
    with pytest.raises(UnsupportedModelError, match=f"{op_type} node first is quantized in another form"):
        model_kind(model)


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("(float[1,3,8,8] x, float[1] k) => (float[1,5] y)", "2 inputs"),
        ("(float[1,1,8,8] x) => (float[1,5] y)", r"input x is not float32 \[N, 3, H, W\] but float \[1, 1, 8, 8\]"),
        ("(uint8[1,3,8,8] x) => (float[1,5] y)", "but uint8"),
        ("(float[1,3,8] x) => (float[1,5] y)", r"but float \[1, 3, 8\]"),
        ("(float[N,3,8,8] x) => (float[1,5] y, float[1] z)", "2 outputs"),
        ("(float[N,3,8,8] x) => (float[1,5,1,1] y)", r"output y is not \[N, classes\] but float \[1, 5, 1, 1\]"),
        ("(float[N,3,8,8] x) => (float[N,C] y)", r"but float \[\?, \?\]"),
    ],
)
def test_other_inputs_and_outputs(signature, message):
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {signature} {{ }}')
    with pytest.raises(UnsupportedModelError, match=message):
        input_shape(model)
        class_count(model)
