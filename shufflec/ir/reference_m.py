"""The last steps of every operator under the rule m-q31 (numerics_m.py), in NumPy: the definition, bit for bit."""

from __future__ import annotations

import numpy as np

from shufflec.ir.graph import Op


def uses_m_rule(op: Op) -> bool:
    """Whether an operator's numbers are meant for m-q31; the attributes of the two rules are disjoint."""
    return "digits" in op.attrs or "scale_shift" in op.attrs


def rounded_high_word(acc: np.ndarray, multiplier: np.ndarray) -> np.ndarray:
    """SMMULR: (acc * multiplier + 2^31) >> 32 of int32 values, as int64."""
    return (acc * multiplier.astype(np.int64) + (1 << 31)) >> 32


def requant(acc: np.ndarray, op: Op, residual: np.ndarray | None) -> np.ndarray:
    """int8 of the sums of a convolution or global average, int64 without their accumulator_bias."""
    acc = (acc + op.constants["accumulator_bias"].astype(np.int64)) << op.attrs["left_shift"]
    if np.any(np.abs(acc) > 2**31 - 1):
        raise OverflowError(f"{op.name}: an accumulator leaves int32")  # choose_requant sees to it that none does
    u = rounded_high_word(acc, op.constants["multiplier"])
    if residual is not None:
        lift = op.attrs["lift"]
        u = ((u << lift) + residual.astype(np.int64) * op.attrs["residual_multiplier"]) >> (op.attrs["digits"] + lift)
    return clamped(u, op)


def average(total: np.ndarray, op: Op) -> np.ndarray:
    """int8 of the sums of (x - zero_point), int64 (Ho, Wo, C)."""
    shift = op.attrs["scale_shift"]
    scaled = total * op.constants["multiplier"].astype(np.int64)[..., None]
    return clamped((scaled + (op.attrs["out_zero_point"] << shift) + (1 << (shift - 1))) >> shift, op)


def weighted_sum(op: Op, inputs: tuple[np.ndarray, ...]) -> np.ndarray:
    """int8 of `add` (two inputs) and `requantize` (one)."""
    total = op.attrs["bias"]
    for value, multiplier in zip(inputs, op.attrs["multipliers"], strict=True):
        total = total + value.astype(np.int64) * multiplier
    return clamped(total >> op.attrs["scale_shift"], op)


def clamped(value: np.ndarray, op: Op) -> np.ndarray:
    """Saturated to int8, then within the operator's clamp."""
    return np.clip(np.clip(value, -128, 127), op.attrs["clamp_min"], op.attrs["clamp_max"]).astype(np.int8)
