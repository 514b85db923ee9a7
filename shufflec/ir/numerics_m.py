"""The rounding rule "m-q31" of the Cortex-M targets: the rounded high word of a 32x32-bit product.

A convolution with int8 inputs x, int8 weights w, zero points and offset folded into the accumulator's start:

    acc = sum(x * w) + accumulator_bias[c]                              int32, exact
    acc = acc << left_shift                                             only in layers that have one
    u   = (acc * multiplier[c] + 2^31) >> 32                            SMMULR, VRMULH
    y   = clamp(sat8(u))                                                SSAT; VQMOVN
with a residual r:
    y   = clamp(sat8(((u << lift) + r * residual_multiplier) >> (digits + lift)))       MUL, ADD LSL, SSAT ASR

u counts output steps, with `digits` binary digits behind the point where there is a residual; the half step that makes
the last shift round is part of accumulator_bias then. Nothing wraps for any input: choose_requant sees to that.

Pools and additions need no high word, their sums are small:

    average    y = clamp(sat8((sum(x - zero_point) * multiplier + offset) >> scale_shift))
               with offset = (out_zero_point << scale_shift) + (1 << (scale_shift - 1))
    sum        y = clamp(sat8((a * m0 + b * m1 + bias) >> scale_shift))            the half is part of bias

Distance from exact rounding: half a step, plus half an accumulator step (real / 2, at most 0.25 where real < 0.5) for
the rounded offset; a residual adds 2^-(digits + 1), and 2^(6 - digits - lift) for its rounded multiplier, which only
counts in layers whose sums reach far beyond int8 (a small lift). BOUND says it in words.

Source of the instructions: Armv7-M ARM (DDI 0403E), A7.7.149 SMMUL, A7.7.152 SSAT; Armv8-M ARM (DDI 0553), VRMULH.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shufflec.ir.numerics import RequantRangeError

RULE = "m-q31"
BOUND = "half a step + half an accumulator step + (2^-(digits + 1) + 2^(6 - digits - lift)) steps with a residual"
MAX_LEFT_SHIFT = 16
MAX_DIGITS = 4
MAX_SCALE_SHIFT = 16  # VQSHRN 32 -> 16
RESIDUAL_SHIFT = 14
INT16_MAX = 32767
INT32_MAX = 2**31 - 1
_DEAD_SCALE = 2.0**-12
_NEGLIGIBLE = 0.25  # steps that a channel's scale may be moved by to make room for its offset


@dataclass(frozen=True)
class MRequant:
    """Parameters of the rule for one layer; arrays are int32 (C,)."""

    multiplier: np.ndarray
    accumulator_bias: np.ndarray
    left_shift: int
    digits: int
    lift: int
    residual_multiplier: int

    def attributes(self) -> dict[str, int]:
        """Attributes of the operator (ir/graph.py)."""
        return {"left_shift": self.left_shift, "digits": self.digits, "lift": self.lift}

    def constants(self) -> dict[str, np.ndarray]:
        """Constants of the operator."""
        return {"multiplier": self.multiplier, "accumulator_bias": self.accumulator_bias}


def choose_requant(
    real: np.ndarray,
    offset: np.ndarray,
    correction: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    residual_real: float = 0.0,
) -> MRequant:
    """Constants for y = real * (acc + correction) + offset [+ residual_real * r]; parameters as in numerics.py.

    Raises RequantRangeError where int32 does not hold a layer's accumulators.
    """
    real, offset = (np.asarray(v, np.float64) for v in (real, offset))
    correction, low, high = (np.asarray(v, np.int64) for v in (correction, low, high))
    real, offset = (np.broadcast_to(v, correction.shape).copy() for v in (real, offset))
    if not (np.all(np.isfinite(real)) and np.all(real >= 0) and np.all(np.isfinite(offset)) and real.max() > 0):
        raise RequantRangeError("scales must be finite and positive")
    peak = np.maximum(np.abs(low + correction), np.abs(high + correction))
    real[peak == 0] = _DEAD_SCALE  # any will do for a channel without weights: one that rounds its offset well
    reach = np.where(peak > 0, peak * real, 0.0) + 128 * residual_real
    # Beyond this the output is saturated whatever the sum and the residual are.
    offset = np.clip(offset, -(reach + 512), reach + 512)
    if residual_real:
        offset = offset + 0.5
    real = _with_room(real, offset, peak)
    digits, shift = (_digits(real, residual_real), 0) if residual_real else (0, 0)
    while real.max() * 2.0 ** (digits + 1 - shift) >= 1.0 - 2.0**-31:
        shift += 1
    bias = np.round(offset / real).astype(np.int64) + correction
    total = int((np.maximum(np.abs(low + bias), np.abs(high + bias))).max())
    if shift > MAX_LEFT_SHIFT or (total << shift) > INT32_MAX:
        raise RequantRangeError("its accumulators do not fit int32")
    multiplier = np.minimum(np.round(real * 2.0 ** (32 - shift + digits)), INT32_MAX)
    lift, residual_multiplier = _residual(residual_real, digits, float((total * real).max()))
    return MRequant(multiplier.astype(np.int32), bias.astype(np.int32), shift, digits, lift, residual_multiplier)


def _with_room(real: np.ndarray, offset: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """Scales large enough that offset / scale fits the accumulator; only (nearly) dead channels need it."""
    least = np.maximum(np.abs(offset) / 2**29, 2.0**-31)
    moved = np.maximum(real, least)
    if np.any((moved - real) * peak > _NEGLIGIBLE):
        raise RequantRangeError("an offset is too large for its channel's scale")
    return moved


def _digits(real: np.ndarray, residual_real: float) -> int:
    """Digits behind u's point: as many as the multiplier's 31 bits leave, at most MAX_DIGITS."""
    return next((digits for digits in range(MAX_DIGITS, 0, -1) if real.max() * 2.0 ** (digits + 1) < 1.0), 0)


def _residual(residual_real: float, digits: int, reach: float) -> tuple[int, int]:
    """(lift, residual_multiplier); reach: the most that u counts, in steps."""
    if not residual_real:
        return 0, 0
    for shift in range(RESIDUAL_SHIFT, digits - 1, -1):
        multiplier = round(residual_real * 2**shift)
        if multiplier <= INT16_MAX and (reach + 1) * 2**shift + 128 * multiplier <= INT32_MAX:
            return shift - digits, multiplier
    raise RequantRangeError("the residual's scale is too far from the output's")


def choose_sum(ratios: tuple[float, ...], offset: float) -> dict[str, object]:
    """Attributes multipliers, bias and scale_shift of y = sum(ratio_i * a_i) + offset for int8 a_i."""
    for shift in range(RESIDUAL_SHIFT, 0, -1):
        multipliers = tuple(round(float(ratio) * 2**shift) for ratio in ratios)
        bias = round((float(offset) + 0.5) * 2**shift)
        if max(multipliers) <= INT16_MAX and 128 * sum(multipliers) + abs(bias) <= INT32_MAX:
            return {"multipliers": multipliers, "bias": bias, "scale_shift": shift}
    raise RequantRangeError("no shift keeps the sums in range")


def choose_average(
    ratio: float, counts: np.ndarray, zero_point: int, taps: int
) -> tuple[np.ndarray, dict[str, object]]:
    """(multiplier int16 like counts, attribute scale_shift); parameters as in numerics.py."""
    for shift in range(MAX_SCALE_SHIFT, 0, -1):
        multiplier = np.round(ratio / counts * 2**shift)
        if multiplier.max() <= INT16_MAX and (255 * taps * multiplier.max() + 129 * 2**shift) <= INT32_MAX:
            return multiplier.astype(np.int16), {"scale_shift": shift}
    raise RequantRangeError("no shift keeps an average in range")
