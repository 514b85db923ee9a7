"""A checkpoint as a float ONNX model, built node by node.

torch's own exporters name nodes after their internals and change between releases; the graph here follows the
`Unit` list of the architecture, so that a layer has the same name in ONNX, in the integer graph and in reports:

    stem, stem.relu, stem.pool
    stage2.0.conv1, .relu1     1x1, grouped (the first unit's is not)
    stage2.0.dw                3x3 depthwise
    stage2.0.shuffle.split, .transpose, .merge     behind .relu1 (paper, mindcv) or .dw (megvii)
    stage2.0.conv2             1x1, grouped
    stage2.0.pool, .relu2, .concat     where the stride is 2;     .add, .relu2     elsewhere
    global_pool, flatten, classifier

Batch norm is folded into the convolution before it. A node's output has the node's name.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from shufflec import __version__
from shufflec.models.architecture import Architecture, Unit
from shufflec.models.checkpoint import Checkpoint
from shufflec.quantize.model_info import read_model_info, write_model_info

__all__ = ["INPUT", "OPSET", "OUTPUT", "export_onnx", "read_model_info", "write_model_info"]

OPSET = 17
IR_VERSION = 8  # the one that belongs to opset 17
INPUT, OUTPUT = "input", "logits"


def export_onnx(checkpoint: Checkpoint) -> onnx.ModelProto:
    """The network as ONNX: `input` float32 [1, 3, H, W] -> `logits` float32 [1, classes].

    The batch is 1 throughout, as in the compiled network. Equal checkpoints give equal bytes. Raises OptionError when
    the weights do not fit the architecture.
    """
    arch = checkpoint.architecture
    network = checkpoint.build()
    graph = _GraphBuilder(network)
    with torch.no_grad():
        _add_layers(graph, arch)
    proto = helper.make_graph(
        graph.nodes,
        "shufflenet_v1",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 3, *arch.input_size])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, arch.classes])],
        graph.initializers,
    )
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="shufflec",
        producer_version=__version__,
    )
    write_model_info(model, _describe(checkpoint))
    onnx.checker.check_model(model, full_check=True)
    return model


def _describe(checkpoint: Checkpoint) -> dict[str, object]:
    return {
        "architecture": checkpoint.architecture.to_dict(),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "class_names": list(checkpoint.class_names),
        "random_weights": checkpoint.random_weights,
        "recipe": checkpoint.recipe,
        "metrics": checkpoint.metrics,
        "seed": checkpoint.seed,
    }


class _GraphBuilder:
    """Nodes and constants in order; each method adds an operator and returns the name of its output."""

    def __init__(self, network: torch.nn.Module):
        self.network = network
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def op(self, op_type: str, name: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [output or name], name=name, **attributes))
        return output or name

    def constant(self, name: str, value: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def conv(self, name: str, x: str, conv_path: str, norm_path: str) -> str:
        """The torch convolution at `conv_path` with the batch norm at `norm_path` folded in."""
        conv, norm = self.network.get_submodule(conv_path), self.network.get_submodule(norm_path)
        scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        weight = conv.weight.double() * scale.reshape(-1, 1, 1, 1)
        bias = norm.bias.double() - norm.running_mean.double() * scale
        return self.op(
            "Conv",
            name,
            x,
            self.constant(f"{name}.weight", weight.float().numpy()),
            self.constant(f"{name}.bias", bias.float().numpy()),
            kernel_shape=list(conv.kernel_size),
            strides=list(conv.stride),
            pads=[conv.padding[0], conv.padding[1]] * 2,
            group=conv.groups,
        )

    def shuffle(self, name: str, x: str, rows: int, channels: int, size: tuple[int, int]) -> str:
        """Channels as a matrix of `rows` rows, transposed."""
        split = self.constant(f"{name}.split.shape", np.array([1, rows, channels // rows, *size], np.int64))
        merge = self.constant(f"{name}.merge.shape", np.array([1, channels, *size], np.int64))
        x = self.op("Reshape", f"{name}.split", x, split)
        x = self.op("Transpose", f"{name}.transpose", x, perm=[0, 2, 1, 3, 4])
        return self.op("Reshape", f"{name}.merge", x, merge)


def _add_layers(graph: _GraphBuilder, arch: Architecture) -> None:
    size = _halved(arch.input_size)
    x = graph.conv("stem", INPUT, "stem.conv", "stem.bn")
    x = graph.op("Relu", "stem.relu", x)
    x = graph.op("MaxPool", "stem.pool", x, kernel_shape=[3, 3], strides=[2, 2], pads=list(arch.pool_padding(*size)))
    size = _halved(size)
    for unit in arch.units():
        x = _add_unit(graph, arch, unit, x, size)
        size = _halved(size) if unit.stride == 2 else size
    x = graph.op("GlobalAveragePool", "global_pool", x)
    x = graph.op("Flatten", "flatten", x, axis=1)
    fc = graph.network.get_submodule("fc")
    bias = fc.bias.numpy() if fc.bias is not None else np.zeros(arch.classes, np.float32)
    weights = (
        graph.constant("classifier.weight", fc.weight.detach().numpy()),
        graph.constant("classifier.bias", bias),
    )
    graph.op("Gemm", "classifier", x, *weights, output=OUTPUT, transB=1)


def _add_unit(graph: _GraphBuilder, arch: Architecture, unit: Unit, x: str, size: tuple[int, int]) -> str:
    name, mid = unit.name, unit.mid_channels
    rows = unit.groups if arch.variant == "paper" else mid // unit.groups
    after_depthwise = arch.variant == "megvii"
    y = graph.conv(f"{name}.conv1", x, f"{name}.conv1", f"{name}.bn1")
    y = graph.op("Relu", f"{name}.relu1", y)
    if unit.shuffle and not after_depthwise:
        y = graph.shuffle(f"{name}.shuffle", y, rows, mid, size)
    y = graph.conv(f"{name}.dw", y, f"{name}.conv2", f"{name}.bn2")
    if unit.shuffle and after_depthwise:
        y = graph.shuffle(f"{name}.shuffle", y, rows, mid, _halved(size) if unit.stride == 2 else size)
    y = graph.conv(f"{name}.conv2", y, f"{name}.conv3", f"{name}.bn3")
    if unit.stride == 1:
        return graph.op("Relu", f"{name}.relu2", graph.op("Add", f"{name}.add", x, y))
    y = graph.op("Relu", f"{name}.relu2", y)
    pool = graph.op(
        "AveragePool",
        f"{name}.pool",
        x,
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=list(arch.pool_padding(*size)),
        count_include_pad=int(arch.pool_counts_padding),
    )
    return graph.op("Concat", f"{name}.concat", pool, y, axis=1)


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    return (size[0] + 1) // 2, (size[1] + 1) // 2
