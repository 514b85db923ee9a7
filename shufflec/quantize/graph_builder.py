"""An ONNX graph built node by node from a torch network's weights."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper


class GraphBuilder:
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

    def split(self, name: str, x: str, sizes: str, outputs: tuple[str, ...]) -> tuple[str, ...]:
        """Channels in parts; sizes: the name of a constant with the channels of each."""
        self.nodes.append(helper.make_node("Split", [x, sizes], list(outputs), name=name, axis=1))
        return outputs

    def shuffle(self, name: str, x: str, rows: int, channels: int, size: tuple[int, int]) -> str:
        """Channels as a matrix of `rows` rows, transposed."""
        split = self.constant(f"{name}.split.shape", np.array([1, rows, channels // rows, *size], np.int64))
        merge = self.constant(f"{name}.merge.shape", np.array([1, channels, *size], np.int64))
        x = self.op("Reshape", f"{name}.split", x, split)
        x = self.op("Transpose", f"{name}.transpose", x, perm=[0, 2, 1, 3, 4])
        return self.op("Reshape", f"{name}.merge", x, merge)

    def classifier(self, x: str, output: str, bias: bool, classes: int) -> str:
        """Flatten and the fully connected layer `fc`."""
        x = self.op("Flatten", "flatten", x, axis=1)
        fc = self.network.get_submodule("fc")
        values = fc.bias.numpy() if bias else np.zeros(classes, np.float32)
        weights = (
            self.constant("classifier.weight", fc.weight.detach().numpy()),
            self.constant("classifier.bias", values),
        )
        return self.op("Gemm", "classifier", x, *weights, output=output, transB=1)


def halved(size: tuple[int, int]) -> tuple[int, int]:
    """A plane's size behind a padded 3x3 window of stride 2."""
    return (size[0] + 1) // 2, (size[1] + 1) // 2
