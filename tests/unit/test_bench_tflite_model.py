"""The conversion to TensorFlow Lite: the operators compute what ONNX does, int8 scales are what the kernels need."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from flatbuffers import encode, number_types
from flatbuffers.table import Table

from shufflec.bench.tflite_file import RELU, Code, Model, Operator, Tensor
from shufflec.bench.tflite_model import _Conversion, to_tflite
from shufflec.bench.workload import measure_ranges
from shufflec.errors import UnsupportedModelError
from shufflec.models.architecture import Architecture
from shufflec.models.architecture_v2 import ArchitectureV2
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.export import export_onnx


@pytest.fixture(scope="module", params=[3, 8, "v2"])
def float_model(request: pytest.FixtureRequest) -> onnx.ModelProto:
    if request.param == "v2":
        return export_onnx(random_checkpoint(ArchitectureV2(0.5, "torchvision", 10, 32)))
    return export_onnx(
        random_checkpoint(Architecture(groups=request.param, scale=0.25, variant="paper", classes=10, input_size=32))
    )


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)


def evaluate(model: Model, image: np.ndarray) -> np.ndarray:
    """The float model by the definitions of its operators, in torch."""
    values = {i: torch.from_numpy(np.array(t.data)) for i, t in enumerate(model.tensors) if t.data is not None}
    values[model.inputs[0]] = torch.from_numpy(image).permute(0, 2, 3, 1)
    for operator in model.operators:
        inputs = [values[i] for i in operator.inputs]
        result = _OPERATORS[operator.code](operator, *inputs)
        result = torch.relu(result) if operator.options.get("relu") == RELU else result
        for number, part in zip(operator.outputs, result if operator.code == Code.SPLIT else [result], strict=True):
            values[number] = part
            assert tuple(part.shape) == model.tensors[number].shape, operator
    return values[model.outputs[0]].numpy()


def _windowed(function):
    def evaluated(operator: Operator, x: torch.Tensor, *constants: torch.Tensor) -> torch.Tensor:
        stride = operator.options["stride_h"], operator.options["stride_w"]
        return function(operator, x.permute(0, 3, 1, 2), stride, *constants).permute(0, 2, 3, 1)

    return evaluated


@_windowed
def _conv(operator, x, stride, weight, bias):
    weight = weight.permute(0, 3, 1, 2)
    return torch.conv2d(x, weight, bias, stride, groups=x.shape[1] // weight.shape[1])


@_windowed
def _depthwise(operator, x, stride, weight, bias):
    return torch.conv2d(x, weight.permute(3, 0, 1, 2), bias, stride, groups=x.shape[1])


@_windowed
def _max_pool(operator, x, stride):
    return torch.max_pool2d(x, (operator.options["filter_h"], operator.options["filter_w"]), stride)


@_windowed
def _average_pool(operator, x, stride):
    kernel = operator.options["filter_h"], operator.options["filter_w"]
    return torch.nn.functional.avg_pool2d(x, kernel, stride)


_OPERATORS = {
    Code.CONV_2D: _conv,
    Code.DEPTHWISE_CONV_2D: _depthwise,
    Code.MAX_POOL_2D: _max_pool,
    Code.AVERAGE_POOL_2D: _average_pool,
    Code.PAD: lambda _, x, pads: torch.nn.functional.pad(x, [int(n) for pair in pads.flip(0) for n in pair]),
    Code.RESHAPE: lambda _, x, shape: x.reshape(shape.tolist()),
    Code.TRANSPOSE: lambda _, x, order: x.permute(order.tolist()),
    Code.ADD: lambda _, a, b: a + b,
    Code.CONCATENATION: lambda operator, *parts: torch.cat(parts, operator.options["axis"]),
    Code.SPLIT: lambda operator, axis, x: x.chunk(operator.options["parts"], int(axis)),
    Code.MEAN: lambda _, x, axes: x.mean(axes.tolist()),
    Code.FULLY_CONNECTED: lambda _, x, weight, bias: x @ weight.T + bias,
}


def test_the_operators_compute_what_onnx_does(float_model: onnx.ModelProto, image: np.ndarray) -> None:
    expected = onnxruntime.InferenceSession(float_model.SerializeToString()).run(None, {"input": image})[0]
    got = evaluate(_Conversion(float_model, None).convert(), image)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.fixture(scope="module")
def quantized(float_model: onnx.ModelProto, image: np.ndarray) -> Model:
    return _Conversion(float_model, measure_ranges(float_model, (image,))).convert()


def test_float_only_at_the_boundary(quantized: Model, float_model: onnx.ModelProto) -> None:
    floats = [i for i, tensor in enumerate(quantized.tensors) if tensor.dtype == "float32"]
    assert floats == sorted([*quantized.inputs, *quantized.outputs])
    codes = [operator.code for operator in quantized.operators]
    assert (codes[0], codes[-1]) == (Code.QUANTIZE, Code.DEQUANTIZE)
    shuffles = sum(node.op_type == "Transpose" for node in float_model.graph.node)
    assert codes.count(Code.TRANSPOSE) == shuffles > 0


def test_weights_have_a_scale_a_channel_and_the_bias_its_product(quantized: Model) -> None:
    found = 0
    for operator in quantized.operators:
        if operator.code in (Code.CONV_2D, Code.DEPTHWISE_CONV_2D, Code.FULLY_CONNECTED):
            x, weight, bias = (quantized.tensors[i] for i in operator.inputs)
            assert weight.axis == (3 if operator.code == Code.DEPTHWISE_CONV_2D else 0)
            assert len(weight.scale) == weight.shape[weight.axis] == len(bias.data)
            assert np.abs(weight.data.astype(int)).max() == 127
            np.testing.assert_allclose(bias.scale, weight.scale * x.scale, rtol=1e-6)
            found += 1
    assert found > 40


def test_movements_pools_and_concats_keep_the_scale(quantized: Model) -> None:
    keeping = [Code.PAD, Code.RESHAPE, Code.TRANSPOSE, Code.MAX_POOL_2D, Code.CONCATENATION]
    keeping.append(
        Code.SPLIT if Code.SPLIT in [operator.code for operator in quantized.operators] else Code.AVERAGE_POOL_2D
    )
    seen = set()
    for operator in quantized.operators:
        if operator.code in keeping:
            constants = [i for i in operator.inputs if quantized.tensors[i].data is not None]
            tensors = [quantized.tensors[i] for i in (*operator.inputs, *operator.outputs) if i not in constants]
            assert len({(float(t.scale), int(t.zero_point)) for t in tensors}) == 1, operator.code
            seen.add(operator.code)
    assert seen == set(keeping)


def test_the_file_is_deterministic_and_aligned(float_model: onnx.ModelProto) -> None:
    data = to_tflite(float_model)
    assert data == to_tflite(float_model)
    assert data[4:8] == b"TFL3"


def test_the_file_holds_what_the_model_does() -> None:
    constant = np.arange(6, dtype=np.int8)
    model = Model(
        [
            Tensor("x", (1, 6), "int8", np.float32(0.5), np.int64(-3)),
            Tensor("c", (6,), "int8", np.full(6, 0.25), np.zeros(6, np.int64), 0, constant),
            Tensor("y", (1, 6), "int8", np.float32(0.5), np.int64(-3)),
        ],
        [Operator(Code.ADD, [0, 1], [2], {"relu": RELU})],
        [0],
        [2],
    )
    data = bytearray(model.to_bytes())
    root = Table(data, encode.Get(number_types.UOffsetTFlags.packer_type, data, 0))
    assert _scalar(root, 0, number_types.Uint32Flags) == 3
    (graph,) = _tables(root, 2)
    names = [tensor.String(tensor.Offset(10) + tensor.Pos) for tensor in _tables(graph, 0)]
    assert names == [b"x", b"c", b"y"]
    (operator,) = _tables(graph, 3)
    assert [_ints(operator, 1), _ints(operator, 2)] == [[0, 1], [2]]
    assert _scalar(operator, 3, number_types.Uint8Flags) == 11
    quantization = Table(
        data, _tables(graph, 0)[0].Indirect(_tables(graph, 0)[0].Offset(12) + _tables(graph, 0)[0].Pos)
    )
    assert quantization.VectorLen(quantization.Offset(8)) == 1
    buffer = _tables(root, 4)[1]
    start = buffer.Vector(buffer.Offset(4))
    assert start % 16 == 0
    assert bytes(data[start : start + buffer.VectorLen(buffer.Offset(4))]) == constant.tobytes()


def _scalar(table: Table, field: int, flags) -> int:
    offset = table.Offset(4 + 2 * field)
    return table.Get(flags, offset + table.Pos) if offset else 0


def _tables(table: Table, field: int) -> list[Table]:
    offset = table.Offset(4 + 2 * field)
    first = table.Vector(offset)
    return [Table(table.Bytes, table.Indirect(first + 4 * i)) for i in range(table.VectorLen(offset))]


def _ints(table: Table, field: int) -> list[int]:
    offset = table.Offset(4 + 2 * field)
    first = table.Vector(offset)
    return [table.Get(number_types.Int32Flags, first + 4 * i) for i in range(table.VectorLen(offset))]


def test_what_cannot_be_said_in_tflite_is_refused(float_model: onnx.ModelProto) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(float_model)
    pool = next((node for node in model.graph.node if node.op_type == "AveragePool"), None)
    if pool is not None:
        next(a for a in pool.attribute if a.name == "count_include_pad").i = 0
        with pytest.raises(UnsupportedModelError, match="averages without its padding"):
            to_tflite(model)
    else:
        pool = next(node for node in model.graph.node if node.op_type == "Split")
        sizes = next(tensor for tensor in model.graph.initializer if tensor.name == pool.input[1])
        sizes.CopyFrom(onnx.numpy_helper.from_array(np.array([10, 38], np.int64), sizes.name))
        with pytest.raises(UnsupportedModelError, match="unequal parts"):
            to_tflite(model)
    pool.op_type = "Softsign"
    with pytest.raises(UnsupportedModelError, match=f"Softsign of {pool.name}"):
        to_tflite(model)
