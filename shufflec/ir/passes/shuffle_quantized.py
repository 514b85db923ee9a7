"""Moves channel shuffles and slices from float values onto the int8 tensors around them.

    before   y = R.take(R.dequantize(q, s, z), order)       before   y = R.quantize(R.nn.relu(R.take(x, order)), s, z)
    after    y = R.dequantize(R.take(q, order), s[order], z[order])
                                                            after    y = R.take(R.quantize(R.nn.relu(x), s', z'), order)

where s' = s in the order before the shuffle. A shuffle commutes with everything that treats channels alike or has
one constant per channel, so this only decides where it stands; fold_channel_shuffle.py then removes it. A slice of
dequantized channels moves likewise. Concatenations get their grid in the same walk (requantize_concat.py): what is
shuffled and sliced may be one, and what is concatenated a slice.
"""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from shufflec.ir.passes.requantize_concat import requantized_concat
from shufflec.ir.passes.rewrite import Scope, constant, is_op, named, node_name, rewrite_calls

_ELEMENTWISE = ("relax.nn.relu", "relax.clip")


def shuffle_quantized(module: tvm.IRModule) -> tvm.IRModule:
    """Moves each shuffle all the way in one walk: its new place is seen by the next binding."""
    return rewrite_calls(module, _rewrite)


def _rewrite(scope: Scope, call: relax.Call) -> relax.Expr | None:
    if is_op(call, "relax.concat"):
        return requantized_concat(scope, call)
    if is_op(call, "relax.strided_slice"):
        return _slice_above_dequantize(scope, call)
    if is_op(call, "relax.take"):
        return _above_dequantize(scope, call)
    if is_op(call, "relax.quantize"):
        return _below_quantize(scope, call)
    if any(is_op(call, name) for name in _ELEMENTWISE):
        shuffle = scope.producer(call.args[0], "relax.take")
        if shuffle is None:
            return None
        inner = scope.emit(relax.Call(call.op, [shuffle.args[0], *call.args[1:]], call.attrs))
        return _moved(shuffle, inner)
    return None


def _above_dequantize(scope: Scope, call: relax.Call) -> relax.Expr | None:
    source = scope.producer(call.args[0], "relax.dequantize")
    if source is None:
        return None
    order = constant(call.args[1])
    shuffled = scope.emit(_moved(call, source.args[0]))
    scale, zero_point = (relax.const(_reordered(constant(item), order)) for item in source.args[1:])
    result = relax.op.dequantize(shuffled, scale, zero_point, axis=int(source.attrs.axis))
    return named(result, node_name(source) or node_name(call))


def _slice_above_dequantize(scope: Scope, call: relax.Call) -> relax.Expr | None:
    source = scope.producer(call.args[0], "relax.dequantize")
    if source is None or constant(source.args[1]).size != 1:
        return None
    sliced = scope.emit(named(relax.Call(call.op, [source.args[0], *call.args[1:]], call.attrs), node_name(call)))
    result = relax.op.dequantize(sliced, *source.args[1:], axis=int(source.attrs.axis))
    return named(result, node_name(source) or node_name(call))


def _below_quantize(scope: Scope, call: relax.Call) -> relax.Expr | None:
    shuffle = scope.producer(call.args[0], "relax.take")
    if shuffle is None:
        return None
    back = np.argsort(constant(shuffle.args[1]))
    scale, zero_point = (relax.const(_reordered(constant(item), back)) for item in call.args[1:])
    axis, kind = int(call.attrs.axis), str(call.attrs.out_dtype)
    quantized = relax.op.quantize(shuffle.args[0], scale, zero_point, axis=axis, out_dtype=kind)
    # Not the node's own name: its output has another order of channels than this tensor.
    inner = scope.emit(named(quantized, f"{node_name(call)}.unshuffled"))
    return _moved(shuffle, inner)


def _moved(shuffle: relax.Call, source: relax.Expr) -> relax.Call:
    return named(relax.op.take(source, shuffle.args[1], axis=1), node_name(shuffle))


def _reordered(value: np.ndarray, order: np.ndarray) -> np.ndarray:
    return value[order] if value.size > 1 else value
