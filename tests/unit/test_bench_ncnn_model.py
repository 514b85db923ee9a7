"""The conversion to ncnn: layers, splits, int8 scales, and the size of the weights against what ncnn reads."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from shufflec.bench.ncnn_model import NcnnModel, to_ncnn
from shufflec.bench.workload import absmax as largest
from shufflec.bench.workload import measure_ranges
from shufflec.errors import UnsupportedModelError
from shufflec.models.architecture import Architecture
from shufflec.models.architecture_v2 import ArchitectureV2
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.export import export_onnx


@pytest.fixture(scope="module", params=["paper", "megvii", "v2"])
def float_model(request: pytest.FixtureRequest) -> onnx.ModelProto:
    if request.param == "v2":
        return export_onnx(random_checkpoint(ArchitectureV2(0.5, "torchvision", 10, 32)))
    architecture = Architecture(groups=3, scale=0.25, variant=request.param, classes=10, input_size=(32, 32))
    return export_onnx(random_checkpoint(architecture))


@pytest.fixture(scope="module")
def absmax(float_model: onnx.ModelProto) -> dict[str, float]:
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    return largest(measure_ranges(float_model, (image, 2 * image)))


def _layers(model: NcnnModel) -> list[tuple[str, list[str], list[str], dict[int, int]]]:
    """(type, bottoms, tops, parameters) of every line."""
    found = []
    for line in model.param.splitlines()[2:]:
        kind, _, bottoms, tops, *rest = line.split()
        split = int(bottoms), int(bottoms) + int(tops)
        params = {int(k): int(v) if "," not in v else v for k, v in (word.split("=") for word in rest[split[1] :])}
        found.append((kind, rest[: split[0]], rest[split[0] : split[1]], params))
    return found


def _bytes_read(kind: str, params: dict[int, int]) -> int:
    """What ncnn's load_model of that layer reads (convolution.cpp, convolutiondepthwise.cpp, innerproduct.cpp)."""
    if kind == "InnerProduct":
        words = 1 + params[2] + params[0] * params[1]
        return 4 * (words + (params[0] + 1 if params.get(8) else 0))
    if not kind.startswith("Convolution"):
        return 0
    words = 1 + params[6] + params[0] * params[5]
    if params.get(8):
        words += (params[7] if kind == "ConvolutionDepthWise" else params[0]) + 1 + (params[8] > 100)
    return 4 * words


@pytest.mark.parametrize("quantized", [False, True])
def test_weights_are_what_ncnn_reads(float_model: onnx.ModelProto, absmax: dict[str, float], quantized: bool) -> None:
    model = to_ncnn(float_model, absmax if quantized else None)
    assert len(model.weights) == sum(_bytes_read(kind, params) for kind, _, _, params in _layers(model))


def test_every_blob_has_one_producer_and_one_consumer(float_model: onnx.ModelProto) -> None:
    model = to_ncnn(float_model)
    layers = _layers(model)
    produced = [blob for _, _, tops, _ in layers for blob in tops]
    consumed = [blob for _, bottoms, _, _ in layers for blob in bottoms]
    assert len(set(produced)) == len(produced)
    assert sorted([*consumed, model.output]) == sorted(produced)
    magic, counts = model.param.splitlines()[:2]
    assert magic == "7767517"
    assert counts == f"{len(layers)} {len(produced)}"
    assert (model.input, model.output) == ("input", "logits")


def test_operators_become_ncnns_own(float_model: onnx.ModelProto) -> None:
    kinds = [kind for kind, _, _, _ in _layers(to_ncnn(float_model))]
    convolutions = sum(node.op_type == "Conv" for node in float_model.graph.node)
    shuffles = sum(node.op_type == "Transpose" for node in float_model.graph.node)
    assert kinds.count("Convolution") + kinds.count("ConvolutionDepthWise") == convolutions
    assert kinds.count("ShuffleChannel") == shuffles > 0
    splits = sum(node.op_type == "Split" for node in float_model.graph.node)
    assert kinds.count("Slice") == splits
    others = (kinds.count("Concat"), kinds.count("BinaryOp"), kinds.count("InnerProduct"))
    assert others == ((16, 0, 1) if splits else (3, 13, 1))


def test_half_of_the_channels_pass_by() -> None:
    layers = _layers(to_ncnn(export_onnx(random_checkpoint(ArchitectureV2(0.5, "torchvision", 10, 32)))))
    slices = [layer for layer in layers if layer[0] == "Slice"]
    assert len(slices) == 13
    assert slices[0][1:] == (
        ["stage2.0.shuffle.merge"],
        ["stage2.1.passing", "stage2.1.taken"],
        {-23300: "2,24,24", 1: 0},
    )


def test_a_convolution_before_another_writes_int8(float_model: onnx.ModelProto, absmax: dict[str, float]) -> None:
    layers = _layers(to_ncnn(float_model, absmax))
    consumer = {blob: layer for layer in layers for blob in layer[1]}
    terms = []
    for kind, _, tops, params in layers:
        if kind.startswith("Convolution"):
            base = 1 if kind == "ConvolutionDepthWise" else 2
            fused = consumer[tops[0]][0].startswith("Convolution")
            assert params[8] == base + 100 * fused
            terms.append(params[8])
    assert any(term > 100 for term in terms)
    assert any(term < 100 for term in terms)


def test_scales_come_from_the_ranges(float_model: onnx.ModelProto, absmax: dict[str, float]) -> None:
    model = to_ncnn(float_model, absmax)
    kind, _, _, stem = next(layer for layer in _layers(model) if layer[0] == "Convolution")
    values = np.frombuffer(model.weights, "<f4", _bytes_read(kind, stem) // 4)
    weight = values[1 : 1 + stem[6]].reshape(stem[0], -1)
    scales = values[1 + stem[6] + stem[0] :]
    np.testing.assert_allclose(scales[: stem[0]], 127 / np.abs(weight).max(axis=1), rtol=1e-6)
    np.testing.assert_allclose(scales[stem[0]], 127 / absmax["input"], rtol=1e-6)


def test_absmax_is_the_largest_over_all_images(float_model: onnx.ModelProto) -> None:
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    ranges = measure_ranges(float_model, (3 * image, image))
    assert largest(ranges)["input"] == np.abs(3 * image).max()
    assert ranges["input"] == (3 * image.min(), 3 * image.max())
    assert {name for node in float_model.graph.node for name in (node.input[0], *node.output)} == set(ranges)


def test_an_unknown_operator_is_named(float_model: onnx.ModelProto) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(float_model)
    relu = next(node for node in model.graph.node if node.op_type == "MaxPool")
    relu.op_type = "Softsign"
    with pytest.raises(UnsupportedModelError, match=f"Softsign of {relu.name}"):
        to_ncnn(model)


def test_a_transpose_that_is_no_shuffle_is_refused(float_model: onnx.ModelProto) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(float_model)
    node = next(node for node in model.graph.node if node.op_type == "Transpose")
    node.attribute[0].ints[:] = [0, 1, 2, 4, 3]
    with pytest.raises(UnsupportedModelError, match="no channel shuffle"):
        to_ncnn(model)
