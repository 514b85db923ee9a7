"""Sends each computed channel straight to where it is read, so that no slice, concatenation or shuffle is a copy.

    before   j = concat(p, conv2d(a)); s = channel_shuffle(j); c = conv2d(channel_slice(s)); p' = channel_slice(s)
    after    concat(.., conv2d'(a), ..) for each reader, the convolution cut by who reads its channels

ShuffleNetV2 carries half of its channels past every unit. A channel is made once, by a convolution, and read once,
some units later, by another: everything in between only moves it. So each reader gets one dense tensor, a `concat`
that the convolutions write slices of, in whatever order they come; the reader's weights are permuted to it. A
convolution whose channels go to several readers is cut into one for each (and computed in one go where there is a
kernel for that: backends/pieces.py). Nothing is computed twice.

The graph stays as it is, copies and all, where a channel has two different readers, or a reader or maker is of
another kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import tvm

from shufflec.ir.graph import Graph, Op, TensorSpec
from shufflec.ir.relax_ops import graph_from_module, module_from_graph

MOVES = ("concat", "channel_slice", "channel_shuffle")
#: Readers whose output channel i depends on input channel i alone: they hand a new order on.
_PER_CHANNEL = ("depthwise_conv2d",)

Channel = tuple[str, int]  # the tensor that a channel was computed in, and its number there


@dataclass(frozen=True)
class _Route:
    """The dense tensor that some readers read. channels: in its own order, makers in order of execution."""

    tensor: str
    channels: tuple[Channel, ...]


def route_channels(module: tvm.IRModule) -> tvm.IRModule:
    """Removes every slice, shuffle and concatenation of an integer module whose channels all have one reader."""
    graph = graph_from_module(module)
    if not any(op.kind == "channel_slice" for op in graph.ops):
        return module
    routed = _routed(graph)
    return module if routed is None else module_from_graph(routed)


def _routed(graph: Graph) -> Graph | None:
    contents = _contents(graph)
    makers = {op.output: op for op in graph.ops}
    moved = {op.output for op in graph.ops if op.kind in MOVES}
    read = {op.inputs[0]: None for op in graph.ops if op.kind not in MOVES and op.inputs[0] in moved}
    routes = _routes(graph, [contents[name] for name in read], list(read))
    if routes is None:
        return None
    cuts = _cuts(graph, routes)
    orders: dict[str, np.ndarray] = {}
    ops: list[Op] = []
    tensors = {name: spec for name, spec in graph.tensors.items() if name not in moved}
    emitted: set[str] = set()
    for op in graph.ops:
        if op.kind in MOVES:
            continue
        if any(name in moved for name in op.inputs[1:]) or any(name in orders for name in op.inputs[1:]):
            return None
        source = op.inputs[0] if op.inputs else ""
        if source in moved:
            wanted = contents[source]
            route = routes[frozenset(wanted)]
            if route.tensor not in emitted:
                ops.append(_join(graph, makers[source], route, cuts, tensors))
                emitted.add(route.tensor)
            place = {channel: index for index, channel in enumerate(wanted)}
            orders[source] = np.array([place[channel] for channel in route.channels])
            op = replace(op, inputs=(route.tensor, *op.inputs[1:]))
        changed = _reading(op, orders.get(source))
        if changed is None:
            return None
        if changed.kind in _PER_CHANNEL and source in orders:
            orders[op.output] = orders[source]
        pieces = cuts.get(op.output)
        if pieces is None:
            ops.append(changed)
            continue
        if changed.kind != "conv2d" or changed.attrs["groups"] != 1 or len(changed.inputs) > 1 or op.output in orders:
            return None
        del tensors[op.output]
        for name, channels in pieces:
            ops.append(_cut(changed, name, channels))
            shape = (*graph.tensors[op.output].shape[:2], len(channels))
            tensors[name] = TensorSpec(name, shape, graph.tensors[op.output].dtype)
    return replace(graph, tensors=tensors, ops=tuple(ops))


def _contents(graph: Graph) -> dict[str, tuple[Channel, ...]]:
    """What each tensor's channels are, seen through everything that only moves them."""
    contents: dict[str, tuple[Channel, ...]] = {}
    for name, spec in graph.tensors.items():
        contents[name] = tuple((name, index) for index in range(spec.shape[-1]))
    for op in graph.ops:
        if op.kind == "concat":
            contents[op.output] = sum((contents[name] for name in op.inputs), ())
        elif op.kind == "channel_slice":
            begin = op.attrs["begin"]
            contents[op.output] = contents[op.inputs[0]][begin : begin + op.attrs["channels"]]
        elif op.kind == "channel_shuffle":
            channels, rows = contents[op.inputs[0]], op.attrs["rows"]
            columns = len(channels) // rows
            contents[op.output] = tuple(channels[i * columns + j] for j in range(columns) for i in range(rows))
    return contents


def _routes(
    graph: Graph, wanted: Sequence[tuple[Channel, ...]], names: Sequence[str]
) -> dict[frozenset[Channel], _Route] | None:
    """The tensor of each set of channels that is read together; None when two sets share a channel."""
    position = {op.output: index for index, op in enumerate(graph.ops)}
    routes: dict[frozenset[Channel], _Route] = {}
    owner: dict[Channel, frozenset[Channel]] = {}
    for channels, name in zip(wanted, names, strict=True):
        together = frozenset(channels)
        if len(together) != len(channels):
            return None
        if together not in routes:
            order = sorted(together, key=lambda channel: (position[channel[0]], channel[1]))
            routes[together] = _Route(name, tuple(order))
        for channel in together:
            if owner.setdefault(channel, together) != together:
                return None
    makers = {channel[0] for channel in owner}
    direct = {name for op in graph.ops if op.kind not in MOVES for name in op.inputs}
    return None if makers & direct else routes


def _cuts(graph: Graph, routes: dict[frozenset[Channel], _Route]) -> dict[str, list[tuple[str, list[int]]]]:
    """For each maker of routed channels its pieces: the name of the piece's tensor, and its channels."""
    cuts: dict[str, list[tuple[str, list[int]]]] = {}
    for route in routes.values():
        for maker in dict.fromkeys(channel[0] for channel in route.channels):
            channels = [index for name, index in route.channels if name == maker]
            cuts.setdefault(maker, []).append((f"{maker}.part{len(cuts.get(maker, []))}", channels))
    whole = {name for name, pieces in cuts.items() if len(pieces) == 1}
    return {name: pieces for name, pieces in cuts.items() if name not in whole}


def _join(
    graph: Graph,
    old: Op,
    route: _Route,
    cuts: dict[str, list[tuple[str, list[int]]]],
    tensors: dict[str, TensorSpec],
) -> Op:
    """The concatenation that a route's readers read; its parts are written in place by their makers."""
    parts = []
    for maker in dict.fromkeys(channel[0] for channel in route.channels):
        channels = [index for name, index in route.channels if name == maker]
        parts.append(next((name for name, piece in cuts.get(maker, []) if piece == channels), maker))
    shape = (*graph.tensors[old.output].shape[:2], len(route.channels))
    tensors[route.tensor] = TensorSpec(route.tensor, shape, graph.tensors[old.output].dtype)
    return Op("concat", route.tensor, tuple(parts), route.tensor)


def _reading(op: Op, order: np.ndarray | None) -> Op | None:
    """The operator over input channels in another order: channel i of its input now holds what order[i] was."""
    if order is None or np.array_equal(order, np.arange(len(order))):
        return op
    if op.kind in _PER_CHANNEL:
        return replace(op, constants={name: np.ascontiguousarray(v[order]) for name, v in op.constants.items()})
    if op.kind != "conv2d" or op.attrs["groups"] != 1:
        return None
    reads = {"weight": op.constants["weight"][..., order], "pad_value": op.constants["pad_value"][order]}
    return replace(op, constants=op.constants | {name: np.ascontiguousarray(v) for name, v in reads.items()})


def _cut(op: Op, name: str, channels: list[int]) -> Op:
    """The convolution of some of the output channels."""
    constants = {
        key: value if key == "pad_value" else np.ascontiguousarray(value[channels])
        for key, value in op.constants.items()
    }
    return replace(op, name=name, output=name, constants=constants)
