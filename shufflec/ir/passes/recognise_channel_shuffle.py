"""Makes each channel shuffle one operator.

    before   a = R.reshape(x, (1, g, n/g, H, W)); b = R.permute_dims(a, (0, 2, 1, 3, 4)); y = R.reshape(b, (1, n, H, W))
    after    y = R.take(x, indices, axis=1)      # indices: int64 (n,), y[:, i] = x[:, indices[i]]

The triple is recognised by what it does, not by how it is written: it is run on a tensor of indices, and is a
shuffle if whole channels move and the move is the transpose of a matrix (`shuffle_rows`). So 4-D forms and the
inverse permutation (megvii, mindcv) need no patterns of their own.
"""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from shufflec.ir.graph import shuffle_destination
from shufflec.ir.passes.rewrite import (
    Scope,
    bindings_of,
    is_op,
    named,
    node_name,
    rewrite_calls,
    shape_of,
    unsupported,
)  # fmt: skip


def recognise_channel_shuffle(module: tvm.IRModule) -> tvm.IRModule:
    """Replaces every triple. Raises UnsupportedModelError for a permutation of another kind."""
    return rewrite_calls(module, _rewrite)


def count_shuffles(module: tvm.IRModule) -> int:
    """The number of recognised shuffles."""
    return sum(is_op(binding.value, "relax.take") for binding in bindings_of(module["main"]))


def _rewrite(scope: Scope, call: relax.Call) -> relax.Expr | None:
    if not is_op(call, "relax.reshape"):
        return None
    permute = scope.producer(call.args[0], "relax.permute_dims")
    split = scope.producer(permute.args[0], "relax.reshape") if permute is not None else None
    if split is None:
        return None
    source = split.args[0]
    shape, result = shape_of(source), tuple(int(dim) for dim in call.args[1].values)
    if len(shape) != 4 or result != shape:
        return None
    order = _channel_order(shape, shape_of(permute.args[0]), tuple(int(axis) for axis in permute.attrs.axes))
    name = _common_name(node_name(split), node_name(permute), node_name(call))
    if order is None or shuffle_rows(order) is None:
        raise unsupported(name, "permutes values in a way that is not a channel shuffle")
    if shuffle_rows(order) == 1:
        return source
    return named(relax.op.take(source, relax.const(order), axis=1), name)


def _channel_order(shape: tuple[int, ...], split: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray | None:
    """Which input channel each output channel is, or None when values move within or between planes otherwise."""
    channels, plane = shape[1], shape[2] * shape[3]
    moved = np.arange(channels * plane).reshape(split).transpose(axes).reshape(channels, plane)
    order = moved[:, 0] // plane
    return order if np.array_equal(moved, order[:, None] * plane + np.arange(plane)) else None


def shuffle_rows(order: np.ndarray) -> int | None:
    """The rows r of a shuffle (reshape (r, n/r), transpose), given the input channel of each output channel.

    1 for the identity, None when the permutation is not a shuffle.
    """
    channels = len(order)
    if np.array_equal(order, np.arange(channels)):
        return 1
    # Output channel 1 comes from the second row, which begins after n/r channels.
    columns = int(order[1])
    if columns < 1 or channels % columns:
        return None
    rows = channels // columns
    return rows if np.array_equal(np.argsort(order), shuffle_destination(channels, rows)) else None


def _common_name(*names: str) -> str:
    """The module that nodes belong to: "stage2.1.shuffle" of "stage2.1.shuffle.split" and so on."""
    shared = []
    for parts in zip(*(name.split(".") for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared) or names[0]
