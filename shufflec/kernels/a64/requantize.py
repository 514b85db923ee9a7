"""The rounding rule "a64-q15" (ir/numerics.py) on registers, and the stores of its results.

Ten instructions for 16 outputs: four SQRSHRN (int32 -> int16), two SQRDMULH, two SQADD, two SQRSHRN (-> int8);
a shift of its own per channel (pre_shift) costs four more (SQSHL), a residual seven (one load, two SHLL, two
SQRDMULH, two SQADD).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value


@dataclass(frozen=True)
class Rule:
    """The constants of the rule that are part of a workload.

    residual_multiplier 0: no residual. pre_shift: whether each channel has a shift of its own as well.
    """

    shift: int
    fraction: int
    clamp_min: int
    clamp_max: int
    residual_multiplier: int = 0
    pre_shift: bool = False

    @staticmethod
    def of(workload) -> Rule:
        params = dict(workload.params)
        return Rule(
            params.get("shift", 1),
            params["fraction"],
            params["clamp_min"],
            params["clamp_max"],
            params.get("residual_multiplier", 0),
            bool(params.get("pre_shift", False)),
        )

    @property
    def pair_stride(self) -> int:
        """int16 values of pack_pairs for eight outputs."""
        return 32 if self.pre_shift else 16

    def narrow(self, e: Emitter, low: Value, high: Value, shifts: tuple[Value, Value] | None = None) -> Value:
        """Two int32x4 accumulators to one int16x8. shifts: int32x4 of each, if the layer has a pre_shift."""
        if shifts:
            low, high = (e.op("sqshl", "int32x4", value, own) for value, own in zip((low, high), shifts, strict=True))
        return e.combine(
            e.op("sqrshrn", "int16x4", low, self.shift), e.op("sqrshrn", "int16x4", high, self.shift), "int16x8"
        )

    def scale(self, e: Emitter, value: Value, multiplier: Value, bias: Value) -> Value:
        """int16x8 times its multipliers, plus its bias."""
        return e.op("sqadd", "int16x8", e.op("sqrdmulh", "int16x8", value, multiplier), bias)

    def add_residual(self, e: Emitter, value: Value, residual: Value, multiplier: Value) -> Value:
        """Adds a residual, int8x8, to int16x8. multiplier: int16x8."""
        return e.op("sqadd", "int16x8", value, scaled_int8(e, residual, multiplier))

    def finish(self, e: Emitter, low: Value, high: Value | None) -> Value:
        """int16x8 to int8x8, or two of them to int8x16."""
        narrow = e.op("sqrshrn", "int8x8", low, self.fraction)
        dtype = "int8x8"
        if high is not None:
            narrow = e.combine(narrow, e.op("sqrshrn", "int8x8", high, self.fraction), "int8x16")
            dtype = "int8x16"
        if self.clamp_min > -128:
            narrow = e.op("smax", dtype, narrow, e.splat(self.clamp_min, dtype))
        if self.clamp_max < 127:
            narrow = e.op("smin", dtype, narrow, e.splat(self.clamp_max, dtype))
        return narrow


def scaled_int8(e: Emitter, value: Value, multiplier: Value) -> Value:
    """SQRDMULH(value << 8, multiplier) of an int8x8: one term of a sum of activations, int16x8."""
    return e.op("sqrdmulh", "int16x8", e.widen_high(value), multiplier)


def pack_pairs(channels: np.ndarray, constants: dict[str, np.ndarray]) -> np.ndarray:
    """Constants of the requantization in the order the epilogue loads them: int16, flat.

    channels: int64 (..., n), the channel of each output of a block, n a multiple of 4; -1 is padding. Each 8
    outputs take 8 multipliers, 8 biases and, if there are any, 8 pre-shifts as int32; 4 left over are repeated to
    fill 8 lanes. constants: of the operator (ir/graph.py).
    """
    blocks = channels.reshape(-1, channels.shape[-1])
    full = blocks.shape[1] // 8 * 8
    columns = [blocks[:, i : i + 8] for i in range(0, full, 8)]
    if full < blocks.shape[1]:
        columns.append(np.concatenate([blocks[:, full:], blocks[:, full:]], axis=1))
    index = np.stack(columns, axis=1)

    def gathered(name: str, dtype: type) -> np.ndarray:
        return np.where(index < 0, 0, np.append(constants[name], 0)[index]).astype(dtype)

    parts = [gathered("multiplier", np.int16), gathered("bias", np.int16)]
    if "pre_shift" in constants:
        parts.append(gathered("pre_shift", np.int32).view(np.int16))
    return np.concatenate(parts, axis=2).reshape(-1)


class Epilogue:
    """Takes the int32x4 accumulators of a tile, block after block, and stores the outputs of `pixels` pixels.

    requant: pointer to the constants of pack_pairs for this block of outputs. outputs, residuals: a pointer per
    pixel at the first output of the block.
    """

    def __init__(self, e: Emitter, rule: Rule, blocks: int, requant: Pointer, outputs: list, residuals: list | None):
        self.e, self.rule, self.blocks = e, rule, blocks
        self.requant, self.outputs, self.residuals = requant, outputs, residuals
        self.pixels = len(outputs)
        self.waiting: dict[tuple[int, int], Value] = {}
        self.halves: dict[tuple[int, int], Value] = {}
        self.residual_multiplier = e.splat(rule.residual_multiplier, "int16x8") if residuals else None

    def push(self, block: int, accumulators: list[Value]) -> None:
        """Hands over block number `block` (4 outputs) of every pixel."""
        if block == self.blocks - 1 and self.blocks % 2:
            self._last_four(block, accumulators)
        elif block % 2 == 0:
            for pixel, value in enumerate(accumulators):
                self.waiting[block, pixel] = value
        else:
            self._pair(block // 2, accumulators)

    def _constants(self, pair: int) -> tuple[Value, Value, tuple[Value, Value] | None]:
        """(multipliers, biases, pre-shifts) of eight outputs."""
        e, first = self.e, pair * self.rule.pair_stride
        loaded = [e.load(self.requant, first + i, "int16x8") for i in range(0, self.rule.pair_stride, 8)]
        shifts = tuple(e.reinterpret(value, "int32x4") for value in loaded[2:])
        return loaded[0], loaded[1], shifts or None

    def _pair(self, pair: int, accumulators: list[Value]) -> None:
        e, rule = self.e, self.rule
        multiplier, bias, shifts = self._constants(pair)
        joined = pair % 2 == 1
        alone = pair % 2 == 0 and pair == self.blocks // 2 - 1
        for pixel, high in enumerate(accumulators):
            narrow = rule.narrow(e, self.waiting.pop((2 * pair, pixel)), high, shifts)
            value = rule.scale(e, narrow, multiplier, bias)
            if joined:
                self._store(pixel, pair * 8 - 8, self.halves.pop((pair - 1, pixel)), value)
            elif alone:
                self._store(pixel, pair * 8, value, None)
            else:
                self.halves[pair, pixel] = value

    def _store(self, pixel: int, offset: int, low: Value, high: Value | None) -> None:
        e, rule = self.e, self.rule
        dtype = "int8x8" if high is None else "int8x16"
        if self.residuals:
            residual = e.load(self.residuals[pixel], offset, dtype)
            if high is None:
                low = rule.add_residual(e, low, residual, self.residual_multiplier)
            else:
                low = rule.add_residual(e, low, e.low(residual, "int8x8"), self.residual_multiplier)
                high = rule.add_residual(e, high, e.high(residual, "int8x8"), self.residual_multiplier)
        e.store(self.outputs[pixel], offset, rule.finish(e, low, high), dtype)

    def _last_four(self, block: int, accumulators: list[Value]) -> None:
        """Four outputs left over: two pixels share a register."""
        e, rule = self.e, self.rule
        multiplier, bias, shifts = self._constants(block // 2)
        offset = block * 4
        for first in range(0, self.pixels, 2):
            pixels = list(range(first, min(first + 2, self.pixels)))
            value = rule.narrow(e, accumulators[first], accumulators[pixels[-1]], shifts)
            value = rule.scale(e, value, multiplier, bias)
            if self.residuals:
                words = [e.load(self.residuals[pixel], offset, "int8x4") for pixel in pixels]
                residual = e.combine(words[0], words[-1], "int8x8")
                value = rule.add_residual(e, value, residual, self.residual_multiplier)
            words = e.reinterpret(rule.finish(e, value, None), "int32x2")
            for lane, pixel in enumerate(pixels):
                e.store(self.outputs[pixel], offset, e.lane(words, lane, "int8x4"), "int8x4")
