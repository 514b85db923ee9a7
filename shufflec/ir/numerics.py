"""The rounding rule "a64-q15" of the ARM Linux targets: integer arithmetic that A64 cores do cheaply.

A convolution with int8 inputs x, int8 weights w and output zero point folded into `bias`:

    acc = sum(x * w) + accumulator_bias[c]                              int32, exact
    acc = sat32(acc << pre_shift[c])                                    SQSHL, only in layers that have a pre_shift
    t   = sat16((acc + 2^(shift-1)) >> shift)                           SQRSHRN
    u   = sat16((2 * t * multiplier[c] + 2^15) >> 16)                   SQRDMULH
    u   = sat16(u + bias[c])                                            SQADD
    u   = sat16(u + sat16((2 * (r << 8) * residual_multiplier + 2^15) >> 16))   only with a residual r
    y   = clamp(sat8((u + 2^(fraction-1)) >> fraction))                 SQRSHRN, then SMAX/SMIN

u counts output steps with `fraction` binary digits behind the point. The distance from exact rounding is at most
half a step plus 2 * 2^-fraction steps (a residual adds 1 * 2^-fraction). `choose_requant` picks shift and fraction
so that no intermediate saturates unless the output saturates as well, whatever the input.

One shift serves a layer as long as the scales of its channels lie within a factor of about 30. Beyond that (NNCF's
per-channel activations before a depthwise convolution, channels that batch norm has blown up) the channel with
the largest scale would leave the others no digits; such layers get a pre_shift, which gives each channel a shift of
its own for four more instructions per 16 outputs.

Pools and additions use the same last three lines; see reference.py, which is the definition in NumPy.
Source of the instructions' semantics: Arm Architecture Reference Manual (DDI 0487), C7.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RULE = "a64-q15"
BOUND = "half a step + 1.5 * 2^-fraction steps + the relative error of a 15-bit multiplier"
INT16_MAX = 32767
MAX_SHIFT = 16  # SQRSHRN 4S -> 4H
MAX_FRACTION = 7
MAX_PRE_SHIFT = 15
ENOUGH_FRACTION = 4  # digits behind the point; with fewer, a pre_shift is worth its instructions


@dataclass(frozen=True)
class Requant:
    """Parameters of the rule for one layer; arrays have one entry an output channel. pre_shift: None for none."""

    shift: int
    fraction: int
    multiplier: np.ndarray  # int16
    bias: np.ndarray  # int16
    accumulator_bias: np.ndarray  # int32
    residual_multiplier: int = 0
    pre_shift: np.ndarray | None = None  # int8, 0 to MAX_PRE_SHIFT

    def attributes(self) -> dict[str, int]:
        """Attributes of the operator (ir/graph.py)."""
        return {"shift": self.shift, "fraction": self.fraction}

    def constants(self) -> dict[str, np.ndarray]:
        """The arrays as constants of an operator (ir/graph.py)."""
        names = ("multiplier", "bias", "accumulator_bias", "pre_shift")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


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
    if not (
        np.all(np.isfinite(real)) and np.all(real >= 0) and np.all(np.isfinite(offset)) and real.max(initial=0) > 0
    ):
        raise RequantRangeError("scales must be finite and positive")
    layer = _Layer(real, offset, correction, low, high, float(residual_real))
    one_shift = _first(layer.with_one_shift)
    if one_shift is not None and one_shift.fraction >= ENOUGH_FRACTION:
        return one_shift
    own_shifts = _first(layer.with_own_shifts)
    candidates = [found for found in (one_shift, own_shifts) if found is not None]
    if not candidates:
        raise RequantRangeError("no shift and fraction keep the int16 intermediates in range")
    return max(candidates, key=lambda found: found.fraction)


def _first(attempt: Callable[[int], Requant | None]) -> Requant | None:
    """The result with the most fraction digits."""
    attempts = (attempt(fraction) for fraction in range(MAX_FRACTION, 0, -1))
    return next((found for found in attempts if found is not None), None)


@dataclass(frozen=True)
class _Layer:
    """The arguments of choose_requant."""

    real: np.ndarray
    offset: np.ndarray
    correction: np.ndarray
    low: np.ndarray
    high: np.ndarray
    residual_real: float

    def with_one_shift(self, fraction: int) -> Requant | None:
        """Parameters with `fraction` digits and one shift for all channels, if there are any."""
        shift = min(MAX_SHIFT, int(_largest_shift(self.real.max(), fraction)))
        if shift < 1:
            return None
        return self._merged(fraction, shift) or self._checked(fraction, shift, np.zeros(len(self.real), np.int64))

    def with_own_shifts(self, fraction: int) -> Requant | None:
        """Parameters with `fraction` digits and a pre_shift, if there are any."""
        # A scale of 0 is that of a channel without weights; any shift does.
        own = np.minimum(_largest_shift(np.where(self.real > 0, self.real, self.real.max()), fraction), MAX_SHIFT)
        shift = int(max(1, own.max()))
        # A scale far below the others needs fewer digits: the shift it does not get costs it nothing.
        shift = min(shift, max(1, int(own.min()) + MAX_PRE_SHIFT))
        return self._checked(fraction, shift, np.maximum(shift - own, 0).astype(np.int64))

    def _multiplier(self, fraction: int, shift: int, pre_shift: np.ndarray | int = 0) -> np.ndarray:
        exact = self.real * 2.0 ** (fraction + 15 + shift - pre_shift)
        return np.minimum(np.round(exact), INT16_MAX).astype(np.int64)

    def _residual(self, fraction: int) -> tuple[int, float]:
        """The residual's multiplier, and the most that it adds to u."""
        return round(self.residual_real * 128 * 2**fraction), self.residual_real * 128 * 2**fraction

    def _merged(self, fraction: int, shift: int) -> Requant | None:
        """All offsets in `bias`, none in the accumulators, which saves the kernels an addition.

        It is a pure re-association, and legal where nothing saturates for any input.
        """
        residual, span = self._residual(fraction)
        multiplier = self._multiplier(fraction, shift)
        bias = np.round((self.offset + self.correction * self.real) * 2.0**fraction)
        t = (np.maximum(np.abs(self.low), np.abs(self.high)) + (1 << (shift - 1))) >> shift
        u = ((t * multiplier) >> 15) + 1 + np.abs(bias) + span
        if residual > INT16_MAX or t.max() > INT16_MAX or u.max() > INT16_MAX:
            return None
        zero = np.zeros(len(self.real), np.int32)
        return Requant(shift, fraction, multiplier.astype(np.int16), bias.astype(np.int16), zero, residual)

    def _checked(self, fraction: int, shift: int, pre_shift: np.ndarray) -> Requant | None:
        """Input zero points and offsets beyond int16 in the accumulators; None if something could go wrong."""
        unit = 2.0**fraction
        residual, span = self._residual(fraction)
        multiplier = self._multiplier(fraction, shift, pre_shift)
        room = INT16_MAX - 128 * unit - span
        if residual > INT16_MAX or room < 0 or np.any(pre_shift > MAX_PRE_SHIFT):
            return None
        step = self.real * unit  # of the accumulator, in u
        reach = (INT16_MAX * multiplier) >> 15
        # Where t may saturate, `reach` has to cover the bias too, so less of the offset may go there.
        left = reach - 128 * unit - span
        spill, bias = self._split_offset(step, unit, np.where(left < step, room, np.minimum(left - step, room)), span)
        if np.any(np.abs(bias) > INT16_MAX) or np.abs(spill + self.correction).max() > 2**30:
            return None
        accumulator = self.correction + spill
        peak = np.maximum(np.abs(self.low + accumulator), np.abs(self.high + accumulator))
        if peak.max() >= 2**31 - (1 << shift):
            return None
        t = (np.minimum(peak << pre_shift, 2**31 - 1) + (1 << (shift - 1))) >> shift
        # A saturated t is harmless if u is then beyond the output's range, whatever the residual.
        needed = 128 * unit + np.abs(bias) + span
        if np.any((t > INT16_MAX) & (reach < needed)):
            return None
        return Requant(
            shift,
            fraction,
            multiplier.astype(np.int16),
            bias.astype(np.int16),
            accumulator.astype(np.int32),
            residual,
            pre_shift.astype(np.int8) if pre_shift.any() else None,
        )

    def _split_offset(
        self, step: np.ndarray, unit: float, room: np.ndarray, span: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """(part of the offset in accumulator steps, the rest in u): int64 and float64 (C,)."""
        offset = self.offset * unit
        kept = np.clip(offset, -room, room)
        peak = np.maximum(np.abs(self.low + self.correction), np.abs(self.high + self.correction))
        # Without the excess the output is saturated all the same if the sum cannot bring it back.
        stuck = peak * step + 128 * unit + span <= room
        excess = np.where(stuck | (step == 0), 0.0, offset - kept)
        spill = np.round(excess / np.where(step > 0, step, 1.0))
        if np.any((step == 0) & ~stuck & (offset != kept)):
            return spill.astype(np.int64), np.full(len(step), np.inf)
        return np.clip(spill, -(2**40), 2**40).astype(np.int64), np.round(kept + excess - spill * step)


def _largest_shift(real: np.ndarray | float, fraction: int) -> np.ndarray:
    """The largest shift for which a scale's multiplier still fits int16."""
    return np.floor(np.log2((INT16_MAX + 0.5) / 32768.0 / (np.asarray(real) * 2.0**fraction)))


def choose_sum(ratios: tuple[float, ...], offset: float) -> tuple[tuple[int, ...], int, int]:
    """Parameters of y = sum(ratio_i * a_i) + offset for int8 a_i: (multipliers, bias, fraction).

    Each term is SQRDMULH(a << 8, multiplier); terms and bias are added with SQADD in this order: first term,
    bias, further terms. Raises RequantRangeError when the ratios leave no fraction.
    """
    for fraction in range(MAX_FRACTION, 0, -1):
        unit = 1 << fraction
        multipliers = tuple(round(float(r) * unit * 128) for r in ratios)
        bias = round(float(offset) * unit)
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
