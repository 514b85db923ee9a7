"""The rounding rule "a64-q15" of the ARM Linux targets: integer arithmetic that A64 cores do cheaply.

A convolution with int8 inputs x, int8 weights w and output zero point folded into `bias`:

    acc = sum(x * w) + accumulator_bias[c]                              int32, exact
    t   = sat16((acc + 2^(shift-1)) >> shift)                           SQRSHRN
    u   = sat16((2 * t * multiplier[c] + 2^15) >> 16)                   SQRDMULH
    u   = sat16(u + bias[c])                                            SQADD
    u   = sat16(u + sat16((2 * (r << 8) * residual_multiplier + 2^15) >> 16))   only with a residual r
    y   = clamp(sat8((u + 2^(fraction-1)) >> fraction))                 SQRSHRN, then SMAX/SMIN

u counts output steps with `fraction` binary digits behind the point. The distance from exact rounding is at most
half a step plus 1.5 * 2^-fraction steps and the relative error of a 15-bit multiplier. `choose_requant` picks
shift and fraction so that no intermediate saturates unless the output saturates as well, whatever the input.

Pools and additions use the same last three lines; see reference.py, which is the definition in NumPy.
Source of the instructions' semantics: Arm Architecture Reference Manual (DDI 0487), C7.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RULE = "a64-q15"
INT16_MAX = 32767
MAX_SHIFT = 16  # SQRSHRN 4S -> 4H
MAX_FRACTION = 7
STEPS = 256  # an int8 output has this many steps


@dataclass(frozen=True)
class Requant:
    """Parameters of the rule for one layer; arrays have one entry an output channel."""

    shift: int
    fraction: int
    multiplier: np.ndarray  # int16
    bias: np.ndarray  # int16
    accumulator_bias: np.ndarray  # int32
    residual_multiplier: int = 0


class RequantRangeError(ValueError):
    """The scales of a layer leave no shift and fraction for which the rule is exact enough."""


def choose_requant(
    real: np.ndarray,
    offset: np.ndarray,
    correction: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    residual_real: float = 0.0,
) -> Requant:
    """Finds shift, fraction and constants for y = real * (acc + correction) + offset [+ residual_real * r].

    real: float64 (C,), input scale * weight scale / output scale, positive.
    offset: float64 (C,), bias in output steps plus the output zero point (minus residual_real * its zero point).
    correction: int64 (C,), -sum(w) * input zero point.
    low, high: int64 (C,), least and greatest possible sum(x * w) over int8 x.
    residual_real: residual scale / output scale, 0 without a residual.

    Raises RequantRangeError when no legal parameters exist (a layer whose scales are degenerate).
    """
    real, offset = np.asarray(real, np.float64), np.asarray(offset, np.float64)
    correction, low, high = (np.asarray(v, np.int64) for v in (correction, low, high))
    if not (np.all(np.isfinite(real)) and np.all(real >= 0) and np.all(np.isfinite(offset)) and real.max(initial=0) > 0):
        raise RequantRangeError("scales must be finite and positive")
    for fraction in range(MAX_FRACTION, 0, -1):
        found = _try_fraction(fraction, real, offset, correction, low, high, residual_real)
        if found is not None:
            return found
    raise RequantRangeError("no shift and fraction keep the int16 intermediates in range")


def _try_fraction(fraction, real, offset, correction, low, high, residual_real) -> Requant | None:
    unit = float(1 << fraction)
    residual_multiplier = int(round(residual_real * unit * 128))
    if residual_multiplier > INT16_MAX:
        return None
    shift = min(MAX_SHIFT, int(np.floor(np.log2((INT16_MAX + 0.5) / (real.max() * unit * 32768.0)))))
    if shift < 1:
        return None
    multiplier = np.round(real * unit * 32768.0 * (1 << shift)).astype(np.int64)
    residual_span = residual_real * 128 * unit
    # Without the correction in the accumulator the kernels save an addition; it is a pure re-association as long
    # as nothing saturates for any input.
    merged = np.round((offset + correction * real) * unit)
    peak = np.maximum(np.abs(low), np.abs(high))
    raw = (peak + (1 << (shift - 1))) >> shift
    level = ((raw * multiplier) >> 15) + 1
    if fraction >= 5 and raw.max() <= INT16_MAX and (level + np.abs(merged) + residual_span).max() <= INT16_MAX:
        zero = np.zeros(len(real), np.int32)
        return Requant(shift, fraction, multiplier.astype(np.int16), merged.astype(np.int16), zero, residual_multiplier)
    bias = np.round(offset * unit)
    room = INT16_MAX - 128 * unit - residual_span
    if room < 0:
        return None
    # A bias beyond int16 goes to the accumulator, whose own range is checked below.
    kept = np.clip(bias, -room, room)
    spill = np.where(real > 0, np.round((bias - kept) / unit / np.where(real > 0, real, 1.0)), 0.0)
    if np.abs(spill + correction).max() > 2**30:
        return None
    accumulator = correction + spill.astype(np.int64)
    peak = np.maximum(np.abs(low + accumulator), np.abs(high + accumulator))
    if peak.max() >= 2**31 - (1 << shift):
        return None
    t_peak = (peak + (1 << (shift - 1))) >> shift
    reach = (INT16_MAX * multiplier) >> 15
    # A saturated t is harmless if the multiplied value is beyond the output's whole range anyway.
    needed = STEPS * unit + np.abs(kept) + residual_span
    if np.any((t_peak > INT16_MAX) & (reach < needed)):
        return None
    return Requant(
        shift, fraction, multiplier.astype(np.int16), kept.astype(np.int16), accumulator.astype(np.int32), residual_multiplier
    )


def choose_sum(ratios: tuple[float, ...], offset: float) -> tuple[tuple[int, ...], int, int]:
    """Parameters of y = sum(ratio_i * a_i) + offset for int8 a_i: (multipliers, bias, fraction).

    Each term is SQRDMULH(a << 8, multiplier); terms and bias are added with SQADD in this order: first term,
    bias, further terms. Raises RequantRangeError when the ratios leave no fraction.
    """
    for fraction in range(MAX_FRACTION, 0, -1):
        unit = 1 << fraction
        multipliers = tuple(int(round(r * unit * 128)) for r in ratios)
        bias = int(round(offset * unit))
        span = 128 * unit * sum(ratios) + abs(bias)
        if max(multipliers) <= INT16_MAX and span <= INT16_MAX:
            return multipliers, bias, fraction
    raise RequantRangeError("no fraction keeps the int16 intermediates in range")


def choose_average(ratio: float, counts: np.ndarray, zero_point: int, taps: int) -> tuple[np.ndarray, int]:
    """Parameters of an average pool: (multiplier int16 like counts, fraction).

    The rule: d = sum(x - zero_point) over the window (padding counts as zero_point), then
    u = sat16(SQRDMULH(d << 3, multiplier) + (out_zero_point << fraction)). ratio: input scale / output scale;
    counts: divisor at each output position, int (Ho, Wo); taps: positions of a window, at most 16.
    """
    if taps * 255 * 8 > INT16_MAX:
        raise RequantRangeError(f"an average pool over {taps} positions is not supported, at most 16 are")
    for fraction in range(MAX_FRACTION - 1, 0, -1):
        multiplier = np.round(ratio / counts * (1 << fraction) * 4096)
        if multiplier.max() <= INT16_MAX and 255 * ratio * (1 << fraction) + (128 << fraction) <= INT16_MAX:
            return multiplier.astype(np.int16), fraction
    raise RequantRangeError("no fraction keeps the int16 intermediates in range")
