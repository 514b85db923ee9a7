"""Gives a concatenation of quantized tensors one grid, where the model leaves each part its own.

    before   y = R.concat((R.dequantize(a, sa, za), R.dequantize(b, sb, zb)), axis=1)        # y read as float
    after    y = R.dequantize(R.quantize(R.concat((..)), s, z), s, z)

A convolution sums over the joined channels and so needs one scale. The grid is that of the part with the widest
range, so that part's codes stay; the others are rounded once more, by at most half a step. Parts that have no
quantizer, or one behind the concatenation, are left to lower_to_integer.py.
"""

from __future__ import annotations

import numpy as np
from tvm import relax

from shufflec.ir.passes.rewrite import Scope, constant, is_op


def requantized_concat(scope: Scope, call: relax.Call) -> relax.Expr | None:
    """The Q and DQ behind a concatenation whose parts are all dequantized; None for any other call."""
    if not is_op(call, "relax.concat") or _is_quantized(scope, scope.var):
        return None
    parts = [scope.producer(part, "relax.dequantize") for part in call.args[0].fields]
    if any(part is None or constant(part.args[1]).size != 1 for part in parts):
        return None
    grids = [(float(constant(part.args[1]).item()), int(constant(part.args[2]).item())) for part in parts]
    reach = [max(abs(-128 - zero), abs(127 - zero)) * scale for scale, zero in grids]
    scale, zero_point = grids[int(np.argmax(reach))]
    if any(min(-128 - zero, 0) * step < (-128 - zero_point) * scale - scale for step, zero in grids):
        # A part reaches further down than the widest grid does: use a symmetric one that covers all.
        scale, zero_point = max(reach) / 127, 0
    joined = scope.emit(call)
    parameters = relax.const(np.float32(scale)), relax.const(np.int8(zero_point))
    codes = scope.emit(relax.op.quantize(joined, *parameters, axis=1, out_dtype="int8"))
    return relax.op.dequantize(codes, *parameters, axis=1)


def _is_quantized(scope: Scope, var: relax.Var) -> bool:
    """Whether all that reads a variable is a Q, or relu and clip before one."""
    readers = scope.readers.get(var, [])
    return bool(readers) and all(
        is_op(call, "relax.quantize")
        or ((is_op(call, "relax.nn.relu") or is_op(call, "relax.clip")) and _is_quantized(scope, result))
        for result, call in readers
    )
