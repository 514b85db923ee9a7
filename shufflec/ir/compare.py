"""Compares the integer graph with ONNX Runtime on the same QDQ model, operator by operator.

Each operator is fed the tensors that ONNX Runtime computed (teacher forcing), so that a difference is the
operator's own and does not add up through the network. Used by tests and by anyone who doubts a rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from shufflec.ir.graph import Graph
from shufflec.ir.passes.lower_to_integer import lower_to_graph
from shufflec.ir.pipeline import qdq_module
from shufflec.ir.reference import KERNELS
from shufflec.quantize.onnx_graph import name_nodes


@dataclass(frozen=True)
class Difference:
    """One operator's output beside ONNX Runtime's tensor. largest: in steps; share: of values that differ at all."""

    name: str
    kind: str
    largest: int
    share: float


class OnnxRuntimeModel:
    """A model in ONNX Runtime without graph optimizations, which would fuse Q and DQ into other roundings."""

    def __init__(self, model: onnx.ModelProto, extra_outputs: tuple[str, ...] = ()):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        known = {item.name for item in copy.graph.output}
        copy.graph.output.extend(
            helper.make_empty_tensor_value_info(name) for name in extra_outputs if name not in known
        )
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(copy.SerializeToString(), options, ["CPUExecutionProvider"])

    def run(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Every output by name for one input, float32 (1, 3, H, W)."""
        names = [item.name for item in self._session.get_outputs()]
        feed = {self._session.get_inputs()[0].name: np.asarray(x, np.float32)}
        return dict(zip(names, self._session.run(names, feed), strict=True))


class Comparison:
    """A QDQ model in both forms; `differences(x)` compares them on one input."""

    def __init__(self, model: onnx.ModelProto):
        graph, origins = lower_to_graph(qdq_module(model))
        named = onnx.ModelProto()
        named.CopyFrom(model)
        name_nodes(named.graph)
        outputs = {node.name: node.output[0] for node in named.graph.node if node.op_type == "QuantizeLinear"}
        self.graph: Graph = graph
        self.quantized = {tensor: outputs[origin] for tensor, origin in origins.items() if origin in outputs}
        self._runtime = OnnxRuntimeModel(named, tuple(self.quantized.values()))

    def differences(self, x: np.ndarray) -> list[Difference]:
        """One entry for each operator whose output ONNX Runtime has as well, in execution order."""
        theirs = self._runtime.run(x)
        values: dict[str, np.ndarray] = {self.graph.input: x}
        found = []
        for op in self.graph.ops:
            ours = KERNELS[op.kind](op, *(values[name] for name in op.inputs))
            values[op.output] = ours
            if op.output in self.quantized:
                expected = as_codes(theirs[self.quantized[op.output]])
                values[op.output] = expected
                found.append(_difference(op.name, op.kind, ours, expected))
        return found


def as_codes(tensor: np.ndarray) -> np.ndarray:
    """ONNX's quantized tensor (1, C, H, W) or (1, C), uint8 or int8, as the integer graph has it: int8 (H, W, C)."""
    codes = (tensor.astype(np.int16) - 128).astype(np.int8) if tensor.dtype == np.uint8 else tensor
    return np.ascontiguousarray(codes.reshape(*codes.shape[1:], *(1,) * (4 - codes.ndim)).transpose(1, 2, 0))


def _difference(name: str, kind: str, ours: np.ndarray, theirs: np.ndarray) -> Difference:
    steps = np.abs(ours.astype(np.int64) - theirs)
    return Difference(name, kind, int(steps.max()), float(np.mean(steps > 0)))
