"""Small QDQ graphs by hand, for forms that no exporter of ours writes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class QdqGraph:
    """Appends ONNX nodes; every method takes and returns tensor names. `start` is the input, quantized."""

    def __init__(self, shape=(1, 3, 8, 8), seed: int = 0, opset: int = 17):
        self.rng = np.random.default_rng(seed)
        self.shape, self.opset = shape, opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.start = self.requantize("input", 0.02)

    def node(self, kind: str, inputs: list[str], name: str | None = None, **attributes) -> str:
        """Any node; its output has its name."""
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, value) -> str:
        """An initializer."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def requantize(self, x: str, scale=0.02, zero=0, dtype=np.int8, name: str | None = None) -> str:
        """Q and DQ; an array of scales runs along the channels."""
        grid = [self.constant(np.asarray(scale, np.float32)), self.constant(np.asarray(zero, dtype))]
        axis = {"axis": 1} if np.ndim(scale) else {}
        codes = self.node("QuantizeLinear", [x, *grid], name and f"{name}.q", **axis)
        return self.node("DequantizeLinear", [codes, *grid], name, **axis)

    def weights(self, *shape: int, axis: int = 0, dtype=np.int8) -> str:
        """Random quantized weights, dequantized per channel of `axis`."""
        offset = 128 if dtype == np.uint8 else 0
        codes = (self.rng.integers(-127, 128, shape) + offset).astype(dtype)
        scale = self.rng.uniform(0.002, 0.004, shape[axis]).astype(np.float32)
        zero = np.full(shape[axis], offset, dtype)
        inputs = [self.constant(codes), self.constant(scale), self.constant(zero)]
        return self.node("DequantizeLinear", inputs, axis=axis)

    def conv(
        self, x: str, channels: int, depth: int, size: int = 1, name: str | None = None, bias=True, **attributes
    ) -> str:
        """A convolution with random weights (channels, depth, size, size)."""
        inputs = [x, self.weights(channels, depth, size, size)]
        if bias:
            inputs.append(self.constant(self.rng.uniform(-0.3, 0.3, channels).astype(np.float32)))
        return self.node("Conv", inputs, name, **attributes)

    def classify(self, x: str, channels: int, classes: int = 5) -> onnx.ModelProto:
        """Global pool, Q and fully connected layer behind x, which has a DQ; the finished model."""
        pooled = self.requantize(self.node("GlobalAveragePool", [x], "global_pool"), 0.02)
        flat = self.node("Flatten", [pooled])
        bias = self.constant(self.rng.uniform(-1, 1, classes).astype(np.float32))
        return self.finish(self.node("Gemm", [flat, self.weights(classes, channels), bias], "classifier", transB=1))

    def finish(self, output: str, batch=1) -> onnx.ModelProto:
        """The model with `output` as its output."""
        graph = helper.make_graph(
            self.nodes,
            "test",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, *self.shape[1:]])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", "classes"])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        return model
