"""Brings the forms that exporters differ in to one.

    before                                           after
    R.reshape(const), R.dequantize(int32 const)      const, float32
    R.quantize / R.dequantize with uint8             int8, zero point and constants less 128
    R.dequantize(w [O, I], axis=0) -> permute_dims   R.dequantize(w [I, O], axis=1)
    R.mean(x, [2, 3]), avg_pool2d over the plane     R.mean(x, axis=[2, 3], keepdims=True)
    reshape, squeeze of [1, C, 1, 1] to [1, C]       R.reshape
    R.permute_dims, R.reshape that change nothing    their input

Source of the uint8 rule: q8 = q - 128 and z8 = z - 128 leave scale * (q - z) as it is.
"""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from shufflec.ir.passes.rewrite import Scope, constant, is_op, node_name, rewrite_calls, shape_of, unsupported


def canonicalize(module: tvm.IRModule) -> tvm.IRModule:
    """Applies the table of the module's docstring. Raises UnsupportedModelError for 16-bit or float8 quantization."""
    return rewrite_calls(module, _rewrite)


def _rewrite(scope: Scope, call: relax.Call) -> relax.Expr | None:
    for name, rule in _RULES.items():
        if is_op(call, name):
            return rule(scope, call)
    return None


def _reshape(scope: Scope, call: relax.Call) -> relax.Expr | None:
    value, shape = constant(call.args[0]), _result_shape(call)
    if value is not None:
        return relax.const(value.reshape(shape))
    return call.args[0] if shape_of(call.args[0]) == shape else None


def _squeeze(scope: Scope, call: relax.Call) -> relax.Expr | None:
    return relax.op.reshape(call.args[0], _result_shape(call))


def _permute(scope: Scope, call: relax.Call) -> relax.Expr | None:
    axes = [int(axis) for axis in call.attrs.axes] if call.attrs.axes is not None else None
    value = constant(call.args[0])
    if value is not None:
        return relax.const(np.ascontiguousarray(value.transpose(axes)))
    if axes is None:
        axes = list(reversed(range(len(shape_of(call.args[0])))))
    if axes == sorted(axes):
        return call.args[0]
    weights = scope.producer(call.args[0], "relax.dequantize")
    codes = constant(weights.args[0]) if weights is not None else None
    if codes is None:
        return None
    transposed = relax.const(np.ascontiguousarray(codes.transpose(axes)))
    axis = axes.index(int(weights.attrs.axis) % codes.ndim) if constant(weights.args[1]).size > 1 else 0
    return relax.op.dequantize(transposed, weights.args[1], weights.args[2], axis=axis)


def _quantize(scope: Scope, call: relax.Call) -> relax.Expr | None:
    scale, zero_point = _parameters(call)
    kind = str(call.attrs.out_dtype)
    if kind == "uint8":
        zero_point = zero_point.astype(np.int64) - 128
    elif kind != "int8":
        raise unsupported(node_name(call), f"quantizes to {kind}, expected int8 or uint8")
    parameters = relax.const(scale.astype(np.float32)), relax.const(zero_point.astype(np.int8))
    return relax.op.quantize(call.args[0], *parameters, axis=int(call.attrs.axis), out_dtype="int8")


def _dequantize(scope: Scope, call: relax.Call) -> relax.Expr | None:
    scale, zero_point = _parameters(call)
    data, axis = call.args[0], int(call.attrs.axis)
    codes = constant(data)
    kind = str(call.args[0].ty.dtype.dtype)
    if kind == "int32":
        if codes is None:
            raise unsupported(node_name(call), "dequantizes int32 values that are computed at run time")
        along = [1] * codes.ndim
        if scale.size > 1:
            along[axis % codes.ndim] = scale.size
        centred = codes.astype(np.int64) - zero_point.astype(np.int64).reshape(along)
        return relax.const(centred.astype(np.float32) * scale.astype(np.float32).reshape(along))
    if codes is not None and kind == "uint8":
        data = relax.const((codes.astype(np.int64) - 128).astype(np.int8))
    elif kind not in ("int8", "uint8"):
        raise unsupported(node_name(call), f"dequantizes {kind}, expected int8, uint8 or an int32 bias")
    # A quantize before this one is int8 already, whatever the model said.
    if str(call.args[2].ty.dtype.dtype) == "uint8":
        zero_point = zero_point.astype(np.int64) - 128
    parameters = relax.const(scale.astype(np.float32)), relax.const(zero_point.astype(np.int8))
    return relax.op.dequantize(data, *parameters, axis=axis)


def _average(scope: Scope, call: relax.Call) -> relax.Expr | None:
    if tuple(map(int, call.attrs.pool_size)) == shape_of(call.args[0])[2:] and not any(map(int, call.attrs.padding)):
        return relax.op.mean(call.args[0], axis=[2, 3], keepdims=True)
    return None


def _mean(scope: Scope, call: relax.Call) -> relax.Expr | None:
    shape = shape_of(call.args[0])
    axes = sorted(int(axis) % len(shape) for axis in call.attrs.axis or range(len(shape)))
    if axes != [2, 3] or len(shape) != 4:
        raise unsupported(node_name(call), f"averages over axes {axes} of {len(shape)}, expected height and width")
    if call.attrs.keepdims:
        return None
    return relax.op.reshape(scope.emit(relax.op.mean(call.args[0], axis=[2, 3], keepdims=True)), shape[:2])


def _parameters(call: relax.Call) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point of a Q or DQ: 0-d, or one entry a channel."""
    scale, zero_point = constant(call.args[1]), constant(call.args[2])
    if scale is None or zero_point is None:
        raise unsupported(node_name(call), "has a scale or zero point that is computed at run time")
    if scale.size == 1:
        scale = scale.reshape(())
    zero_point = zero_point.reshape(()) if zero_point.size == 1 else zero_point
    if scale.ndim and not zero_point.ndim:
        zero_point = np.broadcast_to(zero_point, scale.shape)
    if scale.shape != zero_point.shape:
        raise unsupported(node_name(call), f"has {scale.size} scales and {zero_point.size} zero points")
    return scale, zero_point


def _result_shape(call: relax.Call) -> tuple[int, ...]:
    """The shape that a call's result has, by TVM's own inference."""
    return shape_of(relax.BlockBuilder().normalize(call))


_RULES = {
    "relax.reshape": _reshape,
    "relax.squeeze": _squeeze,
    "relax.permute_dims": _permute,
    "relax.quantize": _quantize,
    "relax.dequantize": _dequantize,
    "relax.nn.avg_pool2d": _average,
    "relax.mean": _mean,
}
