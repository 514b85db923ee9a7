"""Quantized models for tests, made in milliseconds: ranges from two random images instead of NNCF's calibration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
from onnx import helper, numpy_helper

from shufflec.ir.compare import OnnxRuntimeModel
from shufflec.models.architecture import Architecture
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.export import export_onnx

# Results that get a Q and DQ unless one of the readers below continues the island.
_ENDS = ("Relu", "Concat", "MaxPool", "GlobalAveragePool", "Conv")


@dataclass(frozen=True)
class Style:
    """How another quantizer would do it. activations: "uint8" (zero point 0 after relu), "int8" (-128) or "asymmetric".

    own_residual: conv2 has a Q before the residual addition. own_concat: the parts of a concatenation have a Q each;
    and joint_concat tells whether the result has one as well.
    """

    activations: str = "uint8"
    per_channel: bool = True
    own_residual: bool = False
    own_concat: bool = False
    joint_concat: bool = True


@cache
def shufflenet(
    groups: int, variant: str, scale: float = 0.25, style: Style = Style(), size: int = 32
) -> onnx.ModelProto:
    """A random ShuffleNet as QDQ model with 10 classes."""
    checkpoint = random_checkpoint(Architecture(groups, scale, variant, 10, size))
    return quantize(export_onnx(checkpoint), style)


def images(count: int, size: int = 32, seed: int = 0) -> np.ndarray:
    """Random images, float32 (count, 1, 3, size, size)."""
    return np.random.default_rng(seed).standard_normal((count, 1, 3, size, size)).astype(np.float32)


def quantize(model: onnx.ModelProto, style: Style = Style()) -> onnx.ModelProto:
    """A float model with Q and DQ around its islands; weights int8 per output channel."""
    return _Quantizer(model, style).result()


class _Quantizer:
    def __init__(self, model: onnx.ModelProto, style: Style):
        self.model, self.style = model, style
        self.graph = model.graph
        self.constants = {item.name: numpy_helper.to_array(item) for item in self.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        self.new_constants: dict[str, np.ndarray] = {}
        self.renamed: dict[str, str] = {}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.values = self._values()

    def _values(self) -> dict[str, np.ndarray]:
        names = tuple(node.output[0] for node in self.graph.node)
        runtime = OnnxRuntimeModel(self.model, names)
        size = self.graph.input[0].type.tensor_type.shape.dim[2].dim_value
        runs = [runtime.run(image) | {self.graph.input[0].name: image} for image in images(2, size, seed=7)]
        return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}

    def result(self) -> onnx.ModelProto:
        self._behind(self.graph.input[0].name, per_channel=False)
        for node in self.graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            if node.op_type in ("Conv", "Gemm"):
                copy.input[1] = self._weights(node.input[1])
            for index, name in enumerate(copy.input):
                copy.input[index] = self.renamed.get(name, name)
            self.nodes.append(copy)
            if self._ends_island(node):
                readers = self.readers.get(node.output[0], [])
                deep = any(_is_depthwise(reader, self.constants) for reader in _past_shuffle(self, readers))
                same = self.renamed[node.input[0]] if node.op_type == "MaxPool" else None
                self._behind(node.output[0], self.style.per_channel and deep, same)
        constants = {**self.constants, **self.new_constants}
        used = {name for node in self.nodes for name in node.input}
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.node[:], model.graph.initializer[:]
        model.graph.node.extend(self.nodes)
        model.graph.initializer.extend(
            numpy_helper.from_array(constants[name], name) for name in constants if name in used
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _ends_island(self, node: onnx.NodeProto) -> bool:
        readers = [reader.op_type for reader in self.readers.get(node.output[0], [])]
        if "Add" in readers and node.op_type == "Conv":
            return self.style.own_residual
        if "Concat" in readers:
            return self.style.own_concat
        if node.op_type == "Concat" and self.style.own_concat and "Relu" not in readers:
            return self.style.joint_concat
        return node.op_type in _ENDS and "Relu" not in readers

    def _behind(self, tensor: str, per_channel: bool, same: str | None = None) -> None:
        if same is not None:
            source = next(node for node in self.nodes if node.output[0] == same)
            scale, zero = source.input[1], source.input[2]
        else:
            scale, zero = self._grid(tensor, per_channel)
        axis = {"axis": 1} if per_channel else {}
        codes, real = f"{tensor}.q", f"{tensor}.dq"
        self.nodes.append(
            helper.make_node("QuantizeLinear", [tensor, scale, zero], [codes], f"{tensor}.quantize", **axis)
        )
        self.nodes.append(
            helper.make_node("DequantizeLinear", [codes, scale, zero], [real], f"{tensor}.dequantize", **axis)
        )
        self.renamed[tensor] = real

    def _grid(self, tensor: str, per_channel: bool) -> tuple[str, str]:
        value = self.values[tensor]
        axes = (0, 2, 3) if per_channel else None
        low, high = np.minimum(value.min(axis=axes), 0), value.max(axis=axes)
        high = np.maximum(high, np.max(high) / 100)
        kind, signed = np.uint8, bool(np.min(low) < 0)
        if self.style.activations == "asymmetric":
            scale = (high - low) / 255
            zero = np.rint(-low / scale)
        elif signed:
            kind, scale = np.int8, np.maximum(high, -low) / 127
            zero = np.zeros_like(scale)
        else:
            scale, zero = high / 255, np.zeros_like(high)
            if self.style.activations == "int8":
                kind, zero = np.int8, zero - 128
        return self._constant(f"{tensor}.scale", scale.astype(np.float32)), self._constant(
            f"{tensor}.zero", zero.astype(kind)
        )

    def _weights(self, name: str) -> str:
        weight = self.constants[name]
        scale = np.maximum(np.abs(weight.reshape(len(weight), -1)).max(axis=1), 1e-6) / 127
        codes = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
        inputs = [
            self._constant(f"{name}.codes", codes),
            self._constant(f"{name}.scale", scale.astype(np.float32)),
            self._constant(f"{name}.zero", np.zeros(len(scale), np.int8)),
        ]
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}.dq"], f"{name}.dequantize", axis=0))
        return f"{name}.dq"

    def _constant(self, name: str, value: np.ndarray) -> str:
        self.new_constants[name] = np.asarray(value)
        return name


def _past_shuffle(quantizer: _Quantizer, readers: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    while readers and readers[0].op_type in ("Reshape", "Transpose"):
        readers = quantizer.readers[readers[0].output[0]]
    return readers


def _is_depthwise(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> bool:
    groups = next((item.i for item in node.attribute if item.name == "group"), 1)
    return node.op_type == "Conv" and groups > 1 and constants[node.input[1]].shape[1] == 1
