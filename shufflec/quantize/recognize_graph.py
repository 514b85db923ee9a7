"""Which ShuffleNet an ONNX graph is, told from its convolutions: for files that do not say it themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from onnx import numpy_helper

from shufflec.errors import OptionError
from shufflec.models.architecture import Architecture
from shufflec.models.architecture_v2 import SCALES, ArchitectureV2
from shufflec.models.families import AnyArchitecture
from shufflec.models.foreign.recognize import architecture_of
from shufflec.quantize.gathered_parts import splits_of_gathers

_UNITS = 16
_V2_CONVOLUTIONS = 56
_WAYS = {"torchvision": "two rows", "megvii": "even and odd"}
#: Operators between a convolution and its neighbours that change no layout.
_TRANSPARENT = ("QuantizeLinear", "DequantizeLinear", "Relu", "Clip", "BatchNormalization", "Identity", "Add", "Mul")


@dataclass(frozen=True)
class GraphRecognition:
    """architecture: what the graph is. reasons: what in it says so, one sentence each."""

    architecture: AnyArchitecture
    reasons: tuple[str, ...]


def recognize_graph(model: onnx.ModelProto, input_size: tuple[int, int], classes: int) -> GraphRecognition | None:
    """The ShuffleNet whose convolutions, in order, are those of `model`, float or QDQ; None for another network."""
    if any(node.op_type == "Gather" for node in model.graph.node):
        given, model = model, onnx.ModelProto()
        model.CopyFrom(given)
        splits_of_gathers(model)
    graph = _Graph(model)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    shapes = [graph.weight_shape(node) for node in convolutions]
    if any(shape is None or len(shape) != 4 for shape in shapes):
        return None
    if len(convolutions) == _V2_CONVOLUTIONS:
        return _recognize_v2(graph, convolutions, shapes, input_size, classes)
    if len(convolutions) != 1 + 3 * _UNITS:
        return None
    first, depthwise, last = convolutions[4:7]  # of the second unit: the first one's 1x1 is not grouped
    groups, channels, stem = _group_count(first), shapes[6][0], shapes[0][0]
    if _group_count(depthwise) != shapes[5][0] or _group_count(last) != groups:
        return None
    variant, reason = _variant(graph, groups, depthwise, last)
    if variant is None:
        return None
    try:
        arch = architecture_of(variant, groups, channels, classes, input_size, stem)
    except OptionError:
        return None
    if arch is None or not _fits(arch, shapes, [_group_count(node) for node in convolutions]):
        return None
    reasons = (
        f"Its {len(convolutions)} convolutions are those of {arch}, in order.",
        f"The second unit's 1x1 convolutions have {groups} groups.",
        reason,
    )
    return GraphRecognition(arch, reasons)


def _recognize_v2(
    graph: _Graph,
    convolutions: list[onnx.NodeProto],
    shapes: list[tuple[int, ...]],
    input_size: tuple[int, int],
    classes: int,
) -> GraphRecognition | None:
    rows = [split[1] for split in map(graph.reshaped, graph.nodes) if split is not None]
    variant = "torchvision" if rows and set(rows) == {2} else "megvii"
    found = [(shape[0], shape[1], _group_count(node)) for node, shape in zip(convolutions, shapes, strict=True)]
    for scale in SCALES:
        arch = ArchitectureV2(scale, variant, classes, input_size)
        if found == _convolutions_v2(arch):
            return GraphRecognition(
                arch,
                (
                    f"Its {len(found)} convolutions are those of {arch}, in order.",
                    f"Its shuffles split the channels into {_WAYS[variant]}: {variant}'s.",
                ),
            )
    return None


def _convolutions_v2(arch: ArchitectureV2) -> list[tuple[int, int, int]]:
    """(output channels, input channels of a group, groups) of every convolution in order."""
    layers = [(arch.stem, 3, 1)]
    for unit in arch.units():
        channels = unit.branch_channels
        entering = unit.in_channels if unit.stride == 2 else channels
        if unit.stride == 2:
            layers += [(entering, 1, entering), (channels, entering, 1)]
        layers += [(channels, entering, 1), (channels, 1, channels), (channels, channels, 1)]
    return [*layers, (arch.last_channels, arch.stage_channels[2], 1)]


class _Graph:
    """Who makes which tensor, and the constants."""

    def __init__(self, model: onnx.ModelProto):
        self.nodes = list(model.graph.node)
        self.producer = {output: node for node in self.nodes for output in node.output}
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                self.constants[node.output[0]] = node.attribute[0].t

    def weight_shape(self, node: onnx.NodeProto) -> tuple[int, ...] | None:
        name = node.input[1]
        while name not in self.constants and name in self.producer:  # behind its dequantizer
            name = self.producer[name].input[0]
        return tuple(self.constants[name].dims) if name in self.constants else None

    def pads_pool_all_around(self) -> bool:
        """Whether the max pool has a padding of 1 on every side of its own."""
        pools = [node for node in self.nodes if node.op_type == "MaxPool"]
        pads = [list(item.ints) for node in pools for item in node.attribute if item.name == "pads"]
        return pads == [[1, 1, 1, 1]]

    def split_before(self, node: onnx.NodeProto) -> list[int] | None:
        """Shape of the first Reshape of a shuffle between `node` and the convolution before it, None without one."""
        name = node.input[0]
        reshapes = []
        while name in self.producer:
            before = self.producer[name]
            if before.op_type == "Reshape":
                reshapes.append(before)
            elif before.op_type not in (*_TRANSPARENT, "Transpose"):
                break
            name = before.input[0]
        return next((split for split in map(self.reshaped, reshapes) if split is not None), None)

    def reshaped(self, node: onnx.NodeProto) -> list[int] | None:
        """The five sides that a Reshape gives its input: the first step of a shuffle. None for another node."""
        shape = self.constants.get(node.input[1]) if node.op_type == "Reshape" else None
        values = numpy_helper.to_array(shape).tolist() if shape is not None else []
        return values if len(values) == 5 else None


def _group_count(node: onnx.NodeProto) -> int:
    return next((item.i for item in node.attribute if item.name == "group"), 1)


def _variant(graph: _Graph, groups: int, depthwise: onnx.NodeProto, last: onnx.NodeProto) -> tuple[str | None, str]:
    if graph.split_before(last) is not None:
        return "megvii", "The shuffle stands behind the depthwise convolution, as megvii's does."
    split = graph.split_before(depthwise)
    if split is None and groups > 1:
        return None, ""
    rows = split[1] if split else 0
    if split and rows != split[2]:
        variant = "paper" if rows == groups else "mindcv"
        return variant, f"Before the depthwise convolution channels are split into {rows} rows: {variant}'s shuffle."
    # One group has no shuffle, and a square one is its own inverse.
    variant = "paper" if graph.pads_pool_all_around() else "mindcv"
    return variant, f"Its shuffles fit both, its pools are padded as in {variant}."


def _fits(arch: Architecture, shapes: Sequence[tuple[int, ...]], groups: Sequence[int]) -> bool:
    expected = [(arch.stem, 3)]
    counts = [1]
    for unit in arch.units():
        mid = unit.mid_channels
        expected += [
            (mid, unit.in_channels // unit.conv1_groups),
            (mid, 1),
            (unit.branch_channels, mid // unit.groups),
        ]
        counts += [unit.conv1_groups, mid, unit.groups]
    return expected == [shape[:2] for shape in shapes] and counts == list(groups)
