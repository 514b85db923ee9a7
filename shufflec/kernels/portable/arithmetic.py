"""The rounding rule of ir/numerics.py as int32 TIR expressions, and what all portable kernels share.

Every intermediate fits int32: t, u and the multipliers are int16 values, so a product is at most 2^30.
"""

from __future__ import annotations

import numpy as np
from tvm import tirx

#: Indices into the arena are dynamic; the declared length only has to be large enough.
ARENA_ELEMENTS = 2**31 - 1
INT16 = (-32768, 32767)
INT8 = (-128, 127)


def clamp(value: tirx.Expr, low: int, high: int) -> tirx.Expr:
    """min(max(value, low), high)."""
    return tirx.min(tirx.max(value, low), high)


def rounding_shift(value: tirx.Expr, shift: int) -> tirx.Expr:
    """(value + 2^(shift-1)) >> shift: arithmetic, ties up. The sum must fit int32."""
    return (value + (1 << (shift - 1))) >> shift


def wide_rounding_shift(value: tirx.Expr, shift: int) -> tirx.Expr:
    """The same for any int32 value: the bit that decides the rounding is added behind the shift."""
    return (value >> shift) + ((value >> (shift - 1)) & 1)


def sqrdmulh(a: tirx.Expr, b: tirx.Expr | int) -> tirx.Expr:
    """sat16((2ab + 2^15) >> 16), written without the doubling so that it cannot overflow int32."""
    return clamp((a * b + (1 << 14)) >> 15, *INT16)


def pre_shifted(acc: tirx.Expr, pre_shift: tirx.Expr) -> tirx.Expr:
    """sat32(acc << pre_shift), pre_shift 0 to 15.

    Clamped before the shift to what still fits. That is up to 2^pre_shift - 1 below sat32, which the narrowing to
    int16 behind it (by at most 16 bits) saturates in both cases.
    """
    low, high = tirx.const(-(2**31), "int32") >> pre_shift, tirx.const(2**31 - 1, "int32") >> pre_shift
    return tirx.min(tirx.max(acc, low), high) << pre_shift


def finish(u: tirx.Expr, fraction: int, clamp_min: int, clamp_max: int) -> tirx.Expr:
    """int8 output of u, which has `fraction` binary digits behind the point."""
    y = clamp(rounding_shift(u, fraction), max(clamp_min, INT8[0]), min(clamp_max, INT8[1]))
    return tirx.Cast("int8", y)


def requantize(
    acc: tirx.Expr,
    multiplier: tirx.Expr | int,
    bias: tirx.Expr | int,
    shift: int,
    pre_shift: tirx.Expr | None = None,
    residual: tirx.Expr | None = None,
    residual_multiplier: int = 0,
) -> tirx.Expr:
    """u of an int32 accumulator (accumulator bias included) and an optional int8 residual; all int32."""
    if pre_shift is None:
        t = clamp(rounding_shift(acc, shift), *INT16)
    else:
        t = clamp(wide_rounding_shift(pre_shifted(acc, pre_shift), shift), *INT16)
    u = clamp(sqrdmulh(t, multiplier) + bias, *INT16)
    if residual is None:
        return u
    return clamp(u + sqrdmulh(residual << 8, residual_multiplier), *INT16)


def pack_requant(constants: dict[str, np.ndarray]) -> np.ndarray:
    """int16: all multipliers, all biases and, where the layer has them, all pre-shifts."""
    names = [name for name in ("multiplier", "bias", "pre_shift") if name in constants]
    return np.concatenate([constants[name] for name in names]).astype(np.int16)


def block_count(elements: int, block: int) -> int:
    """How many blocks cover the elements."""
    return -(-elements // block)
