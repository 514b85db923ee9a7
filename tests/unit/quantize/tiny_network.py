"""A network of eight convolutions with all that makes ShuffleNets hard to quantize, small enough for any test.

stem -> pool -> slices, branch, concat, shuffle (as in V2) -> grouped 1x1, depthwise, 1x1, residual (as in V1) ->
average pool beside a convolution, concat -> classifier
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 3
SIZE = 16


class _Builder:
    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def op(self, kind: str, name: str, *inputs: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(self, name: str, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> str:
        shape = (outputs, inputs // groups, kernel, kernel)
        weight = self.random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        bias = self.random.normal(0, 0.1, outputs).astype(np.float32)
        names = self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)
        pads = [kernel // 2] * 4
        return self.op(
            "Conv", name, x, *names, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, group=groups
        )

    def slice(self, name: str, x: str, begin: int, end: int) -> str:
        bounds = [
            self.constant(f"{name}.{key}", np.array([value], np.int64))
            for key, value in (("begin", begin), ("end", end), ("axis", 1))
        ]
        return self.op("Slice", name, x, *bounds)

    def shuffle(self, name: str, x: str, channels: int, size: int) -> str:
        split = self.constant(f"{name}.split.shape", np.array([1, 2, channels // 2, size, size], np.int64))
        merge = self.constant(f"{name}.merge.shape", np.array([1, channels, size, size], np.int64))
        x = self.op("Reshape", f"{name}.split", x, split)
        x = self.op("Transpose", f"{name}.transpose", x, perm=[0, 2, 1, 3, 4])
        return self.op("Reshape", f"{name}.merge", x, merge)


def tiny_network(seed: int = 0, outlier: float = 1.0) -> onnx.ModelProto:
    """Float ONNX: input [1, 3, 16, 16] -> logits [1, 3].

    outlier: how many times larger one channel of the residual tensors is than it need be; its readers have smaller
    weights for it, so that the logits are the same for powers of two.
    """
    build = _Builder(seed)
    x = build.op("Relu", "stem.relu", build.conv("stem", "input", 3, 8, 3, stride=2))
    x = build.op("MaxPool", "stem.pool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    passing, taken = build.slice("passing", x, 0, 4), build.slice("taken", x, 4, 8)
    y = build.op("Relu", "a.relu1", build.conv("a.conv1", taken, 4, 4, 1))
    y = build.conv("a.conv2", build.conv("a.dw", y, 4, 4, 3, groups=4), 4, 4, 1)
    x = build.op("Concat", "a.concat", passing, build.op("Relu", "a.relu2", y), axis=1)
    x = build.shuffle("a.shuffle", x, 8, 4)
    x = build.op("Relu", "widen.relu", build.conv("widen", x, 8, 8, 1))
    y = build.op("Relu", "b.relu1", build.conv("b.conv1", x, 8, 8, 1, groups=2))
    y = build.conv("b.conv2", build.conv("b.dw", y, 8, 8, 3, groups=8), 8, 8, 1, groups=2)
    x = build.op("Relu", "b.relu2", build.op("Add", "b.add", x, y))
    pool = build.op(
        "AveragePool", "c.pool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1
    )
    y = build.op("Relu", "c.relu", build.conv("c.conv", x, 8, 8, 3, stride=2))
    x = build.op("GlobalAveragePool", "global_pool", build.op("Concat", "c.concat", pool, y, axis=1))
    x = build.op("Flatten", "flatten", x, axis=1)
    weight = build.constant("classifier.weight", build.random.normal(0, 0.5, (CLASSES, 16)).astype(np.float32))
    bias = build.constant("classifier.bias", np.zeros(CLASSES, np.float32))
    build.nodes.append(helper.make_node("Gemm", [x, weight, bias], ["logits"], name="classifier", transB=1))
    _enlarge_channel(build, outlier)
    graph = helper.make_graph(
        build.nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])],
        build.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def _enlarge_channel(build: _Builder, factor: float) -> None:
    """Makes channel 0 of the tensors `widen.relu` and `b.relu2` `factor` times larger, without changing the logits."""
    changes = {
        "widen.weight": np.s_[0],
        "widen.bias": np.s_[0],
        "b.conv2.weight": np.s_[0],
        "b.conv2.bias": np.s_[0],
    }
    readers = {"b.conv1.weight": np.s_[:4, 0], "c.conv.weight": np.s_[:, 0], "classifier.weight": np.s_[:, 0]}
    for item in build.constants:
        value = numpy_helper.to_array(item).copy()
        if item.name in changes:
            value[changes[item.name]] *= factor
        elif item.name in readers:
            value[readers[item.name]] /= factor
        item.CopyFrom(numpy_helper.from_array(value, item.name))


def tiny_images(count: int, seed: int = 0) -> np.ndarray:
    """float32 [count, 3, 16, 16]."""
    return np.random.default_rng(seed).standard_normal((count, 3, SIZE, SIZE)).astype(np.float32)
