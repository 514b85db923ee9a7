"""An ONNX graph as a torch network: a float one as a teacher, a QDQ one with every grid, weight and bias trained.

The QDQ graph is executed as it stands, island by island, so what is trained is what is compiled: quantizers that share
a scale in the graph (concatenated tensors, pools) share it here, and what was merged or freed stays so.

    Q -> DQ of an activation      one GridQuantizer, the same for all that name the same scale
    int8 weight -> DQ             float weight -> GridQuantizer, one step an output channel
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
import torch
from torch import nn

from shufflec.errors import UnsupportedModelError
from shufflec.quantize.onnx_graph import MOVES, GraphEditor, attribute
from shufflec.quantize.qat.operators import Function, cannot_train, operator
from shufflec.quantize.qat.quantizer import GridQuantizer

_WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")


@dataclass
class _Step:
    """One operator: tensors by name in, one tensor out; `last` are the names that nothing reads afterwards."""

    run: Function
    inputs: tuple[str, ...]
    output: str
    last: list[str] = field(default_factory=list)


class TrainedTensor(nn.Module):
    """A weight or bias whose value is trained in units of its own: unit, broadcast to the value, never changes.

    Channels of a folded network differ by a thousand times; in units of a quantization step one learning rate suits
    all of them.
    """

    def __init__(self, value: np.ndarray, unit: np.ndarray):
        super().__init__()
        self.register_buffer("unit", torch.from_numpy(unit.astype(np.float32)), persistent=False)
        self.steps = nn.Parameter(torch.from_numpy(value.astype(np.float32)) / self.unit)

    def forward(self) -> torch.Tensor:
        return self.steps * self.unit


class OnnxNetwork(nn.Module):
    """float32 [N, 3, H, W] -> float32 logits [N, classes], computed as `model` does.

    model: float, or QDQ with zero points 0. source: for a QDQ model, the float model that its weights were rounded
    from (ptq.equalized_model); a layer without namesake in it begins with its rounded weights.

    Raises UnsupportedModelError, naming the node, for a model that cannot be trained.
    """

    def __init__(self, model: onnx.ModelProto, source: onnx.ModelProto | None = None):
        super().__init__()
        self.grids: dict[str, GridQuantizer] = {}  # of activations, by the name of the scale
        self.weight_grids: dict[str, GridQuantizer] = {}  # by the name of the int8 constant
        self.tensors: dict[str, TrainedTensor] = {}  # weights by that name, and biases
        self._fixed: dict[str, torch.Tensor] = {}
        self._editor = GraphEditor(model.graph)
        self._originals = _weights_of(source) if source is not None else {}
        self._trains = source is not None
        self._input, self._output = model.graph.input[0].name, model.graph.output[0].name
        self._steps = [self._step_of(node) for node in model.graph.node]
        self._forget_early()
        del self._editor, self._originals
        # torch's dictionary of modules takes no names with dots.
        self.trained = nn.ModuleList([*self.grids.values(), *self.weight_grids.values(), *self.tensors.values()])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = {self._input: images}
        values.update(self._fixed)
        for name, tensor in self.tensors.items():
            values[name] = self.weight_grids[name](tensor()) if name in self.weight_grids else tensor()
        for step in self._steps:
            values[step.output] = step.run(*(values[name] for name in step.inputs))
            for name in step.last:
                del values[name]
        return values[self._output]

    def _step_of(self, node: onnx.NodeProto) -> _Step:
        editor = self._editor
        if node.op_type == "QuantizeLinear":
            return _Step(self._activation_grid(node), (node.input[0],), node.output[0])
        if node.op_type == "DequantizeLinear":
            if node.input[0] in editor.initializers:
                self._take_weight(node)
            else:
                self._check_same_scale(node)
            return _Step(lambda x: x, (node.input[0],), node.output[0])
        if len(node.output) != 1:
            raise cannot_train(node, "it has several outputs")
        constants = {
            index: editor.constant(name) for index, name in enumerate(node.input) if name in editor.initializers
        }
        if node.op_type in (*_WITH_WEIGHTS, "Add"):
            names = tuple(name for name in node.input if name)
            for name in names:
                self._take_constant(node, name)
        else:
            names = tuple(name for index, name in enumerate(node.input) if name and index not in constants)
        return _Step(operator(node, constants), names, node.output[0])

    def _activation_grid(self, node: onnx.NodeProto) -> GridQuantizer:
        scale, zero = (self._editor.constant(name) for name in node.input[1:3])
        if scale is None or zero is None or zero.any():
            raise cannot_train(node, "its zero point is not 0")
        name = node.input[1]
        if name not in self.grids:
            axis = attribute(node, "axis", 1)
            self.grids[name] = GridQuantizer(scale, zero.dtype == np.int8, narrow=False, axis=axis, ndim=4)
        return self.grids[name]

    def _check_same_scale(self, node: onnx.NodeProto) -> None:
        quantize = self._editor.producer(node.input[0], "QuantizeLinear")
        if quantize is None or list(quantize.input[1:]) != list(node.input[1:]):
            raise cannot_train(node, "it reads another grid than was written")

    def _take_weight(self, node: onnx.NodeProto) -> None:
        """The int8 constant behind a DQ as a float weight and its grid."""
        name, scale = node.input[0], self._editor.constant(node.input[1])
        codes, zero = self._editor.constant(name), self._editor.constant(node.input[2]) if len(node.input) > 2 else 0
        if scale is None or np.any(zero) or codes.dtype != np.int8:
            raise cannot_train(node, "its weight is not int8 with zero point 0")
        axis = attribute(node, "axis", 1) % codes.ndim
        shape = [-1 if i == axis else 1 for i in range(codes.ndim)]
        step = scale if scale.ndim == 0 else scale.reshape(shape)
        reader = self._editor.only_consumer(node.output[0])
        original = self._originals.get(reader.name) if reader is not None else None
        value = original if original is not None and original.shape == codes.shape else codes * step
        self.tensors[name] = TrainedTensor(value, np.broadcast_to(step, codes.shape).copy())
        self.weight_grids[name] = GridQuantizer(scale, signed=True, narrow=True, axis=axis, ndim=codes.ndim)

    def _take_constant(self, node: onnx.NodeProto, name: str) -> None:
        """A bias, which is trained, or another float constant, which is not."""
        value = self._editor.constant(name)
        if value is None or name in self.tensors:
            return
        if self._trains and node.op_type in _WITH_WEIGHTS and value.ndim == 1:
            self.tensors[name] = TrainedTensor(value, self._bias_unit(node, len(value)))
        else:
            self._fixed[name] = torch.from_numpy(value.astype(np.float32))

    def _bias_unit(self, node: onnx.NodeProto, channels: int) -> np.ndarray:
        """What one step of each channel's weights does to its output, when the input is at the end of its grid."""
        weight = self._editor.producer(node.input[1], "DequantizeLinear")
        source = self._editor.producer(node.input[0])
        while source is not None and source.op_type in (*MOVES, "Concat"):
            source = self._editor.producer(source.input[0])
        if weight is None or source is None or source.op_type != "DequantizeLinear":
            raise cannot_train(node, "it does not read quantized tensors")
        steps, reach = (self._editor.constant(item.input[1]) for item in (weight, source))
        return np.broadcast_to(steps, channels) * (float(np.mean(reach)) * 127)

    def _forget_early(self) -> None:
        readers = {name: index for index, step in enumerate(self._steps) for name in step.inputs}
        for name, index in readers.items():
            if name != self._output:
                self._steps[index].last.append(name)


def _weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Weights by the name of the node that reads them."""
    editor = GraphEditor(model.graph)
    nodes = [node for node in model.graph.node if node.op_type in _WITH_WEIGHTS]
    return {node.name: weight for node in nodes if (weight := editor.constant(node.input[1])) is not None}


def write_back(model: onnx.ModelProto, network: OnnxNetwork) -> None:
    """Puts the trained weights, biases and scales of `network` into the QDQ model that it was made from, in place."""
    editor = GraphEditor(model.graph)
    for name, tensor in network.tensors.items():
        grid = network.weight_grids.get(name)
        editor.set_initializer(name, tensor().detach().numpy() if grid is None else grid.codes(tensor()))
        for node in editor.consumers[name] if grid is not None else ():
            editor.set_initializer(node.input[1], grid.scale())
    for name, grid in network.grids.items():
        editor.set_initializer(name, grid.scale())
    for item in model.graph.initializer:
        values = editor.constant(item.name)
        if values.dtype == np.float32 and not np.all(np.isfinite(values)):
            raise UnsupportedModelError(f"training left {item.name} with a value that is not a number")
