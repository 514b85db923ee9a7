"""megvii's own ShuffleNetV2 splits channels by a reshape that fuses the batch, and an index: recognized and folded."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn

from shufflec.errors import UnsupportedModelError
from shufflec.ir.compare import Comparison, OnnxRuntimeModel
from shufflec.ir.pipeline import lower
from shufflec.models.architecture_v2 import ArchitectureV2
from shufflec.quantize.gathered_parts import splits_of_gathers
from shufflec.quantize.identify import identify
from shufflec.quantize.inspect import load_onnx
from shufflec.quantize.prepare import prepare_model

SIZE = 32


def _conv(inputs, outputs, kernel=1, stride=1, groups=1, relu=True):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs), *([nn.ReLU(inplace=True)] if relu else [])]


class _Unit(nn.Module):
    def __init__(self, inputs, channels, stride):
        super().__init__()
        main = [*_conv(inputs, channels), *_conv(channels, channels, 3, stride, channels, relu=False)]
        self.branch_main = nn.Sequential(*main, *_conv(channels, channels))
        proj = [*_conv(inputs, inputs, 3, 2, inputs, relu=False), *_conv(inputs, channels)]
        self.branch_proj = nn.Sequential(*proj) if stride == 2 else None

    def forward(self, x):
        if self.branch_proj is not None:
            return torch.cat((self.branch_proj(x), self.branch_main(x)), 1)
        passing, taken = self.channel_shuffle(x)
        return torch.cat((passing, self.branch_main(taken)), 1)

    def channel_shuffle(self, x):
        batch, channels, height, width = x.data.size()
        x = x.reshape(batch * channels // 2, 2, height * width)
        x = x.permute(1, 0, 2)
        x = x.reshape(2, -1, channels // 2, height, width)
        return x[0], x[1]


class _Network(nn.Module):
    """0.5x, with 10 classes."""

    def __init__(self):
        super().__init__()
        units, inputs = [], 24
        for count, channels in ((4, 24), (8, 48), (4, 96)):
            for index in range(count):
                units.append(_Unit(inputs if index == 0 else channels, channels, 2 if index == 0 else 1))
            inputs = 2 * channels
        pool = nn.MaxPool2d(3, 2, 1)
        self.features = nn.Sequential(*_conv(3, 24, 3, 2), pool, *units, *_conv(192, 1024), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(1024, 10, bias=False)

    def forward(self, x):
        return self.classifier(self.features(x).contiguous().view(-1, 1024))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(the file, the network)"""
    torch.manual_seed(3)
    network, path = _Network().eval(), tmp_path_factory.mktemp("megvii") / "v2.onnx"
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.normal_(0, 0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = {"input_names": ["input"], "output_names": ["logits"]}
        torch.onnx.export(network, (torch.zeros(1, 3, SIZE, SIZE),), path, dynamo=False, opset_version=17, **names)
    return path, network


def _image(seed):
    return np.random.default_rng(seed).normal(size=(1, 3, SIZE, SIZE)).astype(np.float32)


def _logits(model, x):
    return next(iter(OnnxRuntimeModel(model).run(x).values()))


def test_the_export_has_the_form_that_is_meant(exported):
    nodes = load_onnx(exported[0]).graph.node
    assert [node.op_type for node in nodes].count("Gather") == 26
    assert not any(node.op_type == "Split" for node in nodes)


def test_it_is_recognized_and_keeps_its_logits(exported):
    path, network = exported
    identity = identify(path)
    assert identity.architecture == ArchitectureV2(0.5, "megvii", 10, SIZE)
    assert "Its shuffles split the channels into even and odd: megvii's." in identity.reasons
    prepared = prepare_model(path, data="digits", samples=4, use_cache=False)
    x = _image(9)
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(_logits(prepared.float_model, x), expected, atol=1e-4 * np.abs(expected).max())
    lowered = lower(prepared.model)
    assert lowered.shuffle == {"found": 13, "folded": 13, "copies_left": 0}
    assert not {"channel_slice", "channel_shuffle"} & {op.kind for op in lowered.graph.ops}
    comparison = Comparison(prepared.model)
    assert max(item.largest for item in comparison.differences(_image(5))) <= 1


class _Reader(CalibrationDataReader):
    def __init__(self):
        self.items = iter({"input": _image(seed)} for seed in range(3))

    def get_next(self):
        return next(self.items, None)


def test_so_is_what_another_quantizer_made_of_it(exported, tmp_path):
    path = tmp_path / "qdq.onnx"
    settings = {"quant_format": QuantFormat.QDQ, "per_channel": True, "weight_type": QuantType.QInt8}
    quantize_static(exported[0], path, _Reader(), activation_type=QuantType.QUInt8, **settings)
    assert identify(path).architecture == ArchitectureV2(0.5, "megvii", 10, SIZE)
    prepared, x = prepare_model(path), _image(7)
    assert np.array_equal(_logits(prepared.model, x), _logits(load_onnx(path), x))
    assert not any(node.op_type == "Gather" for node in prepared.model.graph.node)


@pytest.mark.parametrize("parts", [2, 3, 4])
@pytest.mark.parametrize("fused", [True, False], ids=["fused batch", "axis of its own"])
def test_any_number_of_parts(parts, fused):
    channels, height, width = 12, 3, 5
    model = _small(channels, height, width, parts, fused)
    x = np.random.default_rng(1).normal(size=(1, channels, height, width)).astype(np.float32)
    before = _first(model, x)
    assert splits_of_gathers(model) == 1
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds == ["Reshape", "Transpose", "Reshape", "Split", "Concat"]
    assert np.array_equal(_first(model, x), before)


@pytest.mark.parametrize(
    "change",
    [
        {"perm": [1, 2, 0]},  # moves values inside a plane
        {"numbers": [0, 0]},  # one part twice
        {"numbers": [1, 2], "parts": 3},  # one part left out
        {"vector": True},  # an index that keeps the axis
        {"output": True},  # what is split is a result itself
    ],
)
def test_another_gather_stays(change):
    model = _small(12, 3, 5, change.pop("parts", 2), True, **change)
    assert splits_of_gathers(model) == 0
    assert [node.op_type for node in model.graph.node].count("Gather") == 2


def test_a_gather_that_stays_is_named(exported, tmp_path):
    model = load_onnx(exported[0])
    gather = next(node for node in model.graph.node if node.op_type == "Gather")
    del gather.attribute[:]
    gather.attribute.append(helper.make_attribute("axis", 0))
    gather.input[1] = next(node.input[1] for node in model.graph.node if node.op_type == "Gather" and node != gather)
    path = tmp_path / "twice.onnx"
    onnx.save(model, path)
    with pytest.raises(UnsupportedModelError, match="Gather node"):
        prepare_model(path, data="digits", samples=2, use_cache=False)


def _small(channels, height, width, parts, fused, perm=None, numbers=None, vector=False, output=False):
    """A graph that takes a shuffled plane apart and joins the parts again."""
    numbers = list(range(parts)) if numbers is None else numbers
    constants, nodes, x = {}, [], "x"
    if fused:
        constants["a"] = [channels // parts, parts, height * width]
        constants["b"] = [parts, -1, channels // parts, height, width]
        nodes = [
            helper.make_node("Reshape", ["x", "a"], ["u"], name="one"),
            helper.make_node("Transpose", ["u"], ["v"], name="two", perm=perm or [1, 0, 2]),
            helper.make_node("Reshape", ["v", "b"], ["w"], name="three"),
        ]
    else:
        constants["a"] = [1, channels // parts, parts, height, width]
        nodes = [helper.make_node("Reshape", ["x", "a"], ["w"], name="one")]
    x, axis = "w", 0 if fused else 2
    for index, number in enumerate(numbers):
        constants[f"i{index}"] = [number] if vector else number
        nodes.append(helper.make_node("Gather", [x, f"i{index}"], [f"p{index}"], name=f"g{index}", axis=axis))
    joined = [f"p{index}" for index in range(len(numbers))]
    nodes.append(helper.make_node("Concat", joined, ["y"], name="join", axis=1))
    tensors = [onnx.numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()]
    plane = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", channels, height, width])
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)]
    if output:
        results.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [None] * 5))
    graph = helper.make_graph(nodes, "small", [plane], results, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _first(model, x):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(["y"], {"x": x})[0]
