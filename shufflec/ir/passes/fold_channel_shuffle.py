"""Folds each channel shuffle into the operator that computes its input, so that no copy is left.

    before   a = conv2d(x, groups=g); b = channel_shuffle(a, rows=r); c = depthwise_conv2d(b)
    after    a = conv2d(x, groups=g, shuffle_rows=r); c = depthwise_conv2d(a)

    before   a = conv2d(x, groups=g); c = depthwise_conv2d(a, w); b = channel_shuffle(c, rows=r)
    after    a = conv2d(x, groups=g, shuffle_rows=r); c = depthwise_conv2d(a, shuffled w)

A shuffle moves up through operators that treat each channel alone (their per-channel constants are permuted) until
it meets a convolution: one without groups has its filters permuted, a grouped one, whose groups read contiguous
channels, gets the write map `shuffle_rows`. It stays a copy where a tensor on the way has other readers, or where
it would meet a residual or a second write map.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tvm

from shufflec.ir.graph import Graph, Op, shuffle_destination
from shufflec.ir.relax_ops import graph_from_module, module_from_graph

# Operators that a shuffle passes: output channel i depends on input channel i alone.
_PER_CHANNEL_KINDS = ("depthwise_conv2d", "max_pool2d", "avg_pool2d", "requantize")


def fold_channel_shuffle(module: tvm.IRModule) -> tvm.IRModule:
    """Folds every shuffle that can be folded, in an integer module (lower_to_integer.py)."""
    graph = graph_from_module(module)
    for op in graph.ops:
        if op.kind == "channel_shuffle":
            graph = _fold(graph, op)
    return module_from_graph(graph)


def count_copies(graph: Graph) -> int:
    """The channel shuffles that are left as copies."""
    return sum(op.kind == "channel_shuffle" for op in graph.ops)


def _fold(graph: Graph, shuffle: Op) -> Graph:
    makers = {op.output: op for op in graph.ops}
    rows = shuffle.attrs["rows"]
    changed: dict[str, Op] = {}
    tensor = shuffle.inputs[0]
    while len(graph.consumers(tensor)) == 1 and tensor != graph.output:
        op = makers.get(tensor)
        if op is None:
            break
        if op.kind in _PER_CHANNEL_KINDS:
            changed[op.name] = _permuted(op, shuffle_destination(graph.tensors[tensor].shape[-1], rows))
            tensor = op.inputs[0]
            continue
        folded = _folded(op, graph.tensors[tensor].shape[-1], rows)
        if folded is None:
            break
        changed[op.name] = folded
        return _without(graph, shuffle, changed)
    return graph


def _folded(op: Op, channels: int, rows: int) -> Op | None:
    """The convolution that writes its output shuffled, or None when it cannot."""
    if op.kind != "conv2d" or op.attrs["shuffle_rows"] != 1 or len(op.inputs) > 1:
        return None
    if op.attrs["groups"] == 1:
        return _permuted(op, shuffle_destination(channels, rows), inputs_too=False)
    return replace(op, attrs=op.attrs | {"shuffle_rows": rows})


def _permuted(op: Op, destination: np.ndarray, inputs_too: bool = True) -> Op:
    """The operator with its per-channel constants moved to where their channels go.

    inputs_too: the input channels move alike, so the padding values do as well.
    """
    order = np.argsort(destination)
    keep = {"avg_pool2d": ("multiplier",)}.get(op.kind, () if inputs_too else ("pad_value",))
    constants = {
        name: value if name in keep else np.ascontiguousarray(value[order]) for name, value in op.constants.items()
    }
    return replace(op, constants=constants)


def _without(graph: Graph, shuffle: Op, changed: dict[str, Op]) -> Graph:
    """The graph with operators changed and a shuffle taken out; its readers read its input."""
    source = shuffle.inputs[0]
    ops = []
    for op in graph.ops:
        if op.name == shuffle.name:
            continue
        op = changed.get(op.name, op)
        ops.append(replace(op, inputs=tuple(source if name == shuffle.output else name for name in op.inputs)))
    tensors = {name: spec for name, spec in graph.tensors.items() if name != shuffle.output}
    return replace(graph, tensors=tensors, ops=tuple(ops))
