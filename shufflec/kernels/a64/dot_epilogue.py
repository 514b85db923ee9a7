"""The rounding rule where a core has SQRDMLAH, with as little SIMD arithmetic as it can: loads take over the rest.

Beside SDOT the two SIMD pipes are what a Cortex-A76 waits for, its load pipes have time left (timing/cores/data).
So biases are not added by SQADD but loaded again for every pixel, as the accumulator of SQRDMLAH, which equals SQRDMULH
and SQADD unless both factors are -32768 (multipliers are positive). Eight instructions for 16 outputs instead of ten:
four SQRSHRN, two SQRDMLAH, two SQRSHRN; a residual takes five (a load, two SHLL, two SQRDMLAH).

Outputs leave pixel by pixel: each store, which may touch anything for all that LLVM knows, makes it load the biases
again instead of copying registers.
"""

from __future__ import annotations

import numpy as np

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.requantize import Rule

EIGHT = 8


def pack_planes(channels: np.ndarray, constants: dict[str, np.ndarray]) -> np.ndarray:
    """Constants of the requantization in the order of DotEpilogue: int16, flat, as many as pack_pairs has.

    channels: int64 (..., n), the channel of each output of a block, n a multiple of 4; -1 is padding. Of a block first
    all multipliers, then all biases, then the pre-shifts as int32 if there are any; four outputs left over are
    repeated to fill eight lanes.
    """
    blocks = channels.reshape(-1, channels.shape[-1])
    full = blocks.shape[1] // EIGHT * EIGHT
    rest = blocks[:, full:]
    index = np.concatenate([blocks[:, :full], rest, rest], axis=1)

    def gathered(name: str, dtype: type) -> np.ndarray:
        return np.where(index < 0, 0, np.append(constants[name], 0)[index]).astype(dtype)

    parts = [gathered("multiplier", np.int16), gathered("bias", np.int16)]
    if "pre_shift" in constants:
        parts.append(gathered("pre_shift", np.int32).view(np.int16))
    return np.concatenate(parts, axis=1).reshape(-1)


class DotEpilogue:
    """Takes the int32x4 accumulators of a tile, block after block, and stores the outputs of `pixels` pixels.

    requant: pointer to the constants of pack_planes for this block of outputs. outputs, residuals: a pointer per
    pixel at the first output of the block.
    """

    def __init__(self, e: Emitter, rule: Rule, blocks: int, requant: Pointer, outputs: list, residuals: list | None):
        self.e, self.rule, self.blocks = e, rule, blocks
        self.requant, self.outputs, self.residuals = requant, outputs, residuals
        self.pairs, self.odd = blocks // 2, blocks % 2
        self.planes = self.pairs + self.odd
        self.sums: list[list[Value]] = []
        self.residual_multiplier = e.splat(rule.residual_multiplier, "int16x8") if residuals else None

    def push(self, block: int, accumulators: list[Value]) -> None:
        """Hands over block number `block` (4 outputs) of every pixel; with the last one everything is stored."""
        self.sums.append(accumulators)
        if block == self.blocks - 1:
            self._store_all()

    def _store_all(self) -> None:
        multipliers = list(self.e.load_pairs(self.requant, 0, EIGHT, self.planes, "int16x8"))
        for first in range(0, len(self.outputs), 2):
            couple = list(range(first, min(first + 2, len(self.outputs))))
            for pixel in couple:
                self._full_pairs(pixel, multipliers)
            if self.odd:
                self._last_four(couple, multipliers[-1])

    def _full_pairs(self, pixel: int, multipliers: list[Value]) -> None:
        e = self.e
        for first in range(0, self.pairs, 2):
            numbers = range(first, min(first + 2, self.pairs))
            biases = list(e.load_pairs(self.requant, (self.planes + first) * EIGHT, EIGHT, len(numbers), "int16x8"))
            offset, dtype = first * EIGHT, "int8x16" if len(numbers) == 2 else "int8x8"
            values = [
                self._scaled(n, self.sums[2 * n][pixel], self.sums[2 * n + 1][pixel], multipliers[n], bias)
                for n, bias in zip(numbers, biases, strict=True)
            ]
            if self.residuals:
                residual = e.load(self.residuals[pixel], offset, dtype)
                halves = [residual]
                if len(values) == 2:
                    halves = [e.low(residual, "int8x8"), e.high(residual, "int8x8")]
                values = [self._with_residual(value, half) for value, half in zip(values, halves, strict=True)]
            e.store(
                self.outputs[pixel],
                offset,
                self.rule.finish(e, values[0], values[1] if len(values) == 2 else None),
                dtype,
            )

    def _last_four(self, couple: list[int], multiplier: Value) -> None:
        """Four outputs left over: two pixels share a register."""
        e, offset, last = self.e, 4 * (self.blocks - 1), self.sums[-1]
        bias = e.load(self.requant, (2 * self.planes - 1) * EIGHT, "int16x8")
        value = self._scaled(self.planes - 1, last[couple[0]], last[couple[-1]], multiplier, bias)
        if self.residuals:
            words = [e.load(self.residuals[pixel], offset, "int8x4") for pixel in couple]
            value = self._with_residual(value, e.combine(words[0], words[-1], "int8x8"))
        words = e.reinterpret(self.rule.finish(e, value, None), "int32x2")
        for lane, pixel in enumerate(couple):
            e.store(self.outputs[pixel], offset, e.lane(words, lane, "int8x4"), "int8x4")

    def _scaled(self, plane: int, low: Value, high: Value, multiplier: Value, bias: Value) -> Value:
        """Two int32x4 sums as int16x8 in the output's scale."""
        e, shifts = self.e, None
        if self.rule.pre_shift:
            first = 2 * self.planes * EIGHT + 2 * plane * EIGHT
            loaded = e.load_pairs(self.requant, first, EIGHT, 2, "int16x8")
            shifts = tuple(e.reinterpret(value, "int32x4") for value in loaded)
        return e.op("sqrdmlah", "int16x8", bias, self.rule.narrow(e, low, high, shifts), multiplier)

    def _with_residual(self, value: Value, residual: Value) -> Value:
        return self.e.op("sqrdmlah", "int16x8", value, self.e.widen_high(residual), self.residual_multiplier)
