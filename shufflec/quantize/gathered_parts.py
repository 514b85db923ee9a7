"""A shuffle whose parts are taken out of an axis of their own, as a shuffle of channels and a Split.

    before   Reshape [B*C/2, 2, H*W] -> Transpose [1, 0, 2] -> Reshape [2, -1, C/2, H, W] -> Gather 0, Gather 1
    or       Reshape [1, C/2, 2, H, W] -> Gather 0, Gather 1 along axis 2
    after    Reshape [1, C/2, 2, H, W] -> Transpose [0, 2, 1, 3, 4] -> Reshape [1, C, H, W] -> Split

megvii's ShuffleNetV2 tells its even and odd channels apart like the first; the second is what ONNX Runtime makes of it.
They are recognised by what they do, not by how they are written: they are run on a tensor of indices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from shufflec.quantize.onnx_graph import GraphEditor, attribute, hold_constants, name_nodes

_MOVES = ("Reshape", "Transpose")
_MAX_VALUES = 1 << 24  # of a tensor that is followed value by value; more than any that shufflec compiles

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class _Parts:
    """rows: of the shuffle. source: the tensor [1, C, H, W] that is shuffled. gathers: of part 0, 1, ..., in order.

    moves: the nodes in between, the last first.
    """

    rows: int
    source: str
    gathers: tuple[onnx.NodeProto, ...]
    moves: tuple[onnx.NodeProto, ...]


def splits_of_gathers(model: onnx.ModelProto) -> int:
    """Rewrites them in place and returns how many there were; a Gather of another kind stays as it is.

    Where there is a Gather, constants become initializers and nodes get names.
    """
    if not any(node.op_type == "Gather" for node in model.graph.node):
        return 0
    hold_constants(model.graph)
    name_nodes(model.graph)
    shapes, editor = _shapes(model), GraphEditor(model.graph)
    tensors = dict.fromkeys(node.input[0] for node in model.graph.node if node.op_type == "Gather")
    found = [parts for tensor in tensors if (parts := _parts(editor, shapes, tensor)) is not None]
    for parts in found:
        _rewrite(editor, parts, shapes[parts.source])
    if found:
        del model.graph.value_info[:]  # shapes that are not there any more
        editor.drop_unused_initializers()
    return len(found)


def _shapes(model: onnx.ModelProto) -> Shapes:
    """Shapes of tensors for a batch of one; without those that are not known."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    del fixed.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(fixed).graph
    shapes = {}
    for value in (*graph.input, *graph.value_info):
        dims = value.type.tensor_type.shape.dim
        if all(dim.WhichOneof("value") == "dim_value" for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    return shapes


def _parts(editor: GraphEditor, shapes: Shapes, tensor: str) -> _Parts | None:
    """What `tensor` is, if it is read by Gathers alone, each of which takes another part."""
    gathers = editor.consumers[tensor]
    numbers = [_number(editor, node) for node in gathers]
    axes = {attribute(node, "axis", 0) for node in gathers}
    if any(output.name == tensor for output in editor.graph.output):
        return None
    if len(gathers) < 2 or sorted(numbers) != list(range(len(gathers))) or len(axes) != 1:
        return None
    moves = _moves(editor, tensor)
    source = moves[-1].input[0] if moves else ""
    shape = shapes.get(source, ())
    if len(shape) != 4 or shape[0] != 1 or np.prod(shape) > _MAX_VALUES:
        return None
    followed = _followed(editor, shape, moves)
    axis = axes.pop()
    if followed is None or not -followed.ndim <= axis < followed.ndim or followed.shape[axis] != len(gathers):
        return None
    taken = np.moveaxis(followed, axis, 0)
    rows = _rows(taken.reshape(shape[1:])) if taken.shape[1:] == (1, shape[1] // len(gathers), *shape[2:]) else None
    ordered = tuple(gathers[numbers.index(number)] for number in range(len(gathers)))
    return None if rows is None else _Parts(rows, source, ordered, moves)


def _number(editor: GraphEditor, node: onnx.NodeProto) -> int:
    """Which part a Gather takes; -1 for another node."""
    index = editor.constant(node.input[1]) if node.op_type == "Gather" else None
    return int(index) if index is not None and index.ndim == 0 else -1


def _moves(editor: GraphEditor, tensor: str) -> tuple[onnx.NodeProto, ...]:
    """The Reshapes and Transposes behind which `tensor` stands and that nothing else reads, the last first."""
    moves: list[onnx.NodeProto] = []
    node = editor.producer(tensor)
    while node is not None and node.op_type in _MOVES and (not moves or editor.only_consumer(node.output[0])):
        moves.append(node)
        node = editor.producer(node.input[0])
    return tuple(moves)


def _followed(editor: GraphEditor, shape: tuple[int, ...], moves: tuple[onnx.NodeProto, ...]) -> np.ndarray | None:
    """The number of each value behind the moves, int64; None where a size is not known or does not fit."""
    values = np.arange(np.prod(shape)).reshape(shape)
    for node in reversed(moves):
        if node.op_type == "Transpose":
            values = values.transpose(attribute(node, "perm", None))
            continue
        size = editor.constant(node.input[1])
        if size is None or (size == 0).any():
            return None
        try:
            values = values.reshape(size)
        except ValueError:
            return None
    return values


def _rows(moved: np.ndarray) -> int | None:
    """The rows of the matrix of channels whose transpose was taken; moved: (C, H, W), numbers of values."""
    channels, pixels = len(moved), moved[0].size
    order = moved[:, 0, 0] // pixels
    columns = int(order[1])  # the first of the second row
    if not columns or channels % columns:
        return None
    turned = np.arange(channels).reshape(-1, columns).T.ravel()
    whole = turned[:, None] * pixels + np.arange(pixels)
    return channels // columns if np.array_equal(moved.reshape(channels, pixels), whole) else None


def _rewrite(editor: GraphEditor, parts: _Parts, shape: tuple[int, ...]) -> None:
    _, channels, height, width = shape
    name, count = parts.moves[-1].name, len(parts.gathers)
    sizes = {
        "split.shape": (1, parts.rows, channels // parts.rows, height, width),
        "merge.shape": shape,
        "parts.sizes": (channels // count,) * count,
    }
    split, merge, parted = (
        editor.add_initializer(f"{name}.{key}", np.array(value, np.int64)) for key, value in sizes.items()
    )
    inner = [f"{name}.{step}" for step in ("split", "transpose", "merge")]
    outputs = [node.output[0] for node in parts.gathers]
    nodes = [
        helper.make_node("Reshape", [parts.source, split], [inner[0]], name=inner[0]),
        helper.make_node("Transpose", [inner[0]], [inner[1]], name=inner[1], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", [inner[1], merge], [inner[2]], name=inner[2]),
        helper.make_node("Split", [inner[2], parted], outputs, name=f"{name}.parts", axis=1),
    ]
    editor.insert_after(parts.moves[0], nodes)
    editor.remove(*parts.gathers, *parts.moves)
