"""Look-ups and edits of an ONNX graph that the quantizer's rewrites share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

#: Ops that only move values: they may stand between a DQ and the op that it feeds.
MOVES = ("Reshape", "Transpose", "Flatten", "Identity", "Split", "Slice")


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The value of a node's attribute, or `default` when the node has none by that name."""
    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


class GraphEditor:
    """Edits one onnx.GraphProto in place; the look-up tables are built once and follow each edit.

    The graph must be in topological order with named nodes and single outputs per tensor name, which
    onnx.checker guarantees but for the names.
    """

    def __init__(self, graph: onnx.GraphProto):
        self.graph = graph
        self.initializers = {item.name: item for item in graph.initializer}
        self.reindex()

    def reindex(self) -> None:
        """Builds the look-up tables anew, after an edit that was not made through this class."""
        self.producers = {output: node for node in self.graph.node for output in node.output}
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in dict.fromkeys(node.input):
                self.consumers.setdefault(name, []).append(node)

    def constant(self, name: str) -> np.ndarray | None:
        """The value of an initializer, or None when the tensor is computed at run time."""
        item = self.initializers.get(name)
        return None if item is None else numpy_helper.to_array(item)

    def producer(self, tensor: str, op_type: str | None = None) -> onnx.NodeProto | None:
        """The node that computes `tensor`, or None for a graph input, an initializer, or another op than asked."""
        node = self.producers.get(tensor)
        return node if node is not None and op_type in (None, node.op_type) else None

    def only_consumer(self, tensor: str) -> onnx.NodeProto | None:
        """The node that alone reads `tensor`; None when several do, none does, or it is a graph output."""
        readers = self.consumers.get(tensor, [])
        if len(readers) != 1 or any(output.name == tensor for output in self.graph.output):
            return None
        return readers[0]

    def add_initializer(self, name: str, value: np.ndarray) -> str:
        """Adds a constant and returns its name; raises ValueError when the name is taken by another one."""
        if name in self.initializers:
            raise ValueError(f"initializer {name} exists already")
        item = self.graph.initializer.add()
        item.CopyFrom(numpy_helper.from_array(value, name))
        self.initializers[name] = item
        return name

    def set_initializer(self, name: str, value: np.ndarray) -> None:
        """Replaces the value of a constant, for all its readers."""
        self.initializers[name].CopyFrom(numpy_helper.from_array(value, name))

    def insert_after(self, node: onnx.NodeProto, new: Iterable[onnx.NodeProto]) -> None:
        """Puts nodes right behind `node` in the topological order."""
        position = next(i for i, item in enumerate(self.graph.node) if item.name == node.name)
        for offset, item in enumerate(new, start=1):
            self.graph.node.insert(position + offset, item)
        self.reindex()

    def remove(self, *nodes: onnx.NodeProto) -> None:
        """Takes nodes out; the caller has moved their readers to other tensors before."""
        for node in nodes:
            self.graph.node.remove(node)
        self.reindex()

    def redirect(self, old: str, new: str, skip: Iterable[str] = ()) -> None:
        """Makes every reader of tensor `old` read `new`, but for the nodes named in `skip`."""
        skipped = set(skip)
        for node in self.consumers.get(old, []):
            if node.name not in skipped:
                replace_input(node, old, new)
        self.reindex()

    def drop_unused_initializers(self) -> None:
        """Removes constants that no node reads any more."""
        used = {name for node in self.graph.node for name in node.input}
        used.update(output.name for output in self.graph.output)
        for name in [name for name in self.initializers if name not in used]:
            self.graph.initializer.remove(self.initializers.pop(name))


def replace_input(node: onnx.NodeProto, old: str, new: str) -> None:
    """Replaces tensor `old` by `new` in a node's inputs."""
    for index, name in enumerate(node.input):
        if name == old:
            node.input[index] = new


def hold_constants(graph: onnx.GraphProto) -> None:
    """Turns Constant nodes that hold a tensor into initializers, in place."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        if len(node.attribute) == 1 and node.attribute[0].HasField("t"):
            item = graph.initializer.add()
            item.CopyFrom(node.attribute[0].t)
            item.name = node.output[0]
            graph.node.remove(node)


def slices_of_splits(graph: onnx.GraphProto) -> None:
    """Writes each Split of known sizes as one Slice for each part, in place: one output a node."""
    constants = {item.name: item for item in graph.initializer}
    nodes = []
    for node in graph.node:
        sizes = constants.get(node.input[1]) if node.op_type == "Split" and len(node.input) > 1 else None
        if sizes is None:
            nodes.append(node)
            continue
        begin, axis = 0, attribute(node, "axis", 0)
        for index, (output, size) in enumerate(zip(node.output, numpy_helper.to_array(sizes).tolist(), strict=True)):
            name = f"{node.name or node.output[0]}.{index}"
            bounds = {"begin": begin, "end": begin + size, "axis": axis}
            for key, value in bounds.items():
                graph.initializer.append(helper.make_tensor(f"{name}.{key}", onnx.TensorProto.INT64, [1], [value]))
            names = [f"{name}.{key}" for key in bounds]
            nodes.append(helper.make_node("Slice", [node.input[0], *names], [output], name=name))
            begin += size
    read = {name for node in nodes for name in node.input}
    for node in graph.node:
        if node.op_type == "Split" and len(node.input) > 1 and node.input[1] in constants.keys() - read:
            graph.initializer.remove(constants.pop(node.input[1]))
    del graph.node[:]
    graph.node.extend(nodes)


def name_nodes(graph: onnx.GraphProto) -> None:
    """Makes node names present, unique and readable, in place."""
    used: set[str] = set()
    for index, node in enumerate(graph.node):
        name = base = readable_name(node, index)
        count = 1
        while name in used:
            count += 1
            name = f"{base}_{count}"
        used.add(name)
        node.name = name


def readable_name(node: onnx.NodeProto, index: int) -> str:
    """A node's name as module path: torch's "/stage2/stage2.0/conv1/Conv" becomes "stage2.0.conv1"."""
    name = node.name or (node.output[0] if node.output else "") or f"{node.op_type.lower()}_{index}"
    parts = [part for part in name.split("/") if part]
    if len(parts) < 2:
        return parts[0] if parts else name
    if parts[-1].split("_")[0] == node.op_type:
        parts.pop()
    kept = [
        part for part, following in zip(parts, [*parts[1:], ""], strict=True) if not following.startswith(f"{part}.")
    ]
    return ".".join(kept)
