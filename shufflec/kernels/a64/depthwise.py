"""Depthwise convolution, window 3x3 or any other, 16 channels along the lanes.

Products of two taps are summed in int16 (SMULL, SMLAL; safe unless weights are -128), the sums are widened to int32
(SADDL, SADDW) and requantized like any convolution: about 3 instructions an output.

Register budget for 3x3: 9 weights, 4 of requantization, 9 taps and 3 of the next column, 4 sums: 29 of 32.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.requantize import Rule
from shufflec.kernels.a64.scheduling import MODELS, SCHEDULE, models
from shufflec.kernels.a64.windows import Windows, best_columns, halves
from shufflec.kernels.kernel import Kernel, Packed, Workload

NAME = "a64-depthwise-2"
MAX_TAPS = 9  # weights that stay in registers
MAX_COLUMNS = 8

Tiling = tuple[tuple[str, int], ...]


def accepts(workload: Workload) -> bool:
    """Windows of up to nine taps over at least eight channels."""
    if workload.kind != "depthwise_conv2d":
        return False
    kernel = workload["kernel"]
    return workload["channels"] >= 8 and kernel[0] * kernel[1] <= MAX_TAPS


def tilings(workload: Workload) -> list[Tiling]:
    """Output columns at once and the scheduling model."""
    columns = best_columns(workload["width"], MAX_COLUMNS)
    return [(("columns", n), (SCHEDULE, model)) for model in models(workload) for n in columns]


def build(workload: Workload, tiling: Tiling) -> Kernel:
    """The kernel of a workload with one of `tilings`."""
    chosen = dict(tiling)
    geometry, rule = Windows.of(workload, chosen["columns"]), Rule.of(workload)
    strip = geometry.strip
    kernel_h, kernel_w = geometry.kernel
    # Column by column, so that neighbouring outputs share what is loaded.
    order = [(i, j) for j in range(kernel_w) for i in range(kernel_h)]
    taps_count = len(order)
    biased = workload["accumulator_bias"]
    pairing = 1 if dict(workload.params).get("full_range_weights", False) else 2

    requant_stride = strip * rule.pair_stride // 8

    e = Emitter()
    with geometry.each_strip(e) as (tile, number, channel):
        packed = e.at(e.weights, number * (taps_count * strip) + geometry.plane.fill_bytes)
        weights = [e.load(packed, i * strip, f"int8x{strip}") for i in range(taps_count)]
        requant = e.at(e.requant, number * requant_stride)
        multipliers = [e.load(requant, i, "int16x8") for i in range(0, strip, 8)]
        biases = [e.load(requant, strip + i, "int16x8") for i in range(0, strip, 8)]
        start = e.at(e.accumulators, number * strip) if biased else None

        def body(taps: Callable[[int, int], Value], output: Pointer, row: Value, column: Value) -> None:
            for q in range(geometry.columns):
                window = [taps(i, q * geometry.stride[1] + j) for i, j in order]
                results = []
                for half in range(strip // 8):
                    operands = [
                        (halves(e, x, strip)[half], halves(e, w, strip)[half])
                        for x, w in zip(window, weights, strict=True)
                    ]
                    sums = _window_sums(e, operands, pairing)
                    bias = [e.load(start, 8 * half + i, "int32x4") for i in (0, 4)] if biased else None
                    low, high = _widened(e, sums, bias)
                    narrow = rule.narrow(e, low, high, _own_shifts(e, rule, requant, strip, half))
                    results.append(rule.scale(e, narrow, multipliers[half], biases[half]))
                    e.settle(results[-1:])
                value = rule.finish(e, results[0], results[1] if strip == 16 else None)
                e.store(output, q * geometry.out_pitch, value, f"int8x{strip}")

        geometry.each_step(e, tile, channel, body)

    index = geometry.strip_channels()

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        weight = constants["weight"]
        planes = np.stack([weight[:, i, j] for i, j in order])[:, index].transpose(1, 0, 2)
        parts = [constants["multiplier"][index].astype(np.int16), constants["bias"][index].astype(np.int16)]
        if rule.pre_shift:
            parts.append(constants["pre_shift"][index].astype(np.int32).view(np.int16))
        accumulators = constants["accumulator_bias"][index] if biased else np.zeros(0)
        return Packed(
            np.concatenate([geometry.plane.pack_fill(constants), planes.astype(np.int8).reshape(-1)]),
            np.concatenate(parts, axis=1).reshape(-1),
            accumulators.astype(np.int32).reshape(-1),
        )

    mcpu = MODELS[chosen[SCHEDULE]]
    return Kernel(workload, tiling, NAME, e.function(), geometry.tiles, geometry.scratch_bytes, pack, mcpu)


def _own_shifts(e: Emitter, rule: Rule, requant: Pointer, strip: int, half: int) -> tuple[Value, ...] | None:
    """The pre-shifts of eight channels as two int32x4, behind the multipliers and biases of the strip."""
    if not rule.pre_shift:
        return None
    first = 2 * strip + 16 * half
    return tuple(e.reinterpret(e.load(requant, first + i, "int16x8"), "int32x4") for i in (0, 8))


def _window_sums(e: Emitter, operands: list[tuple[Value, Value]], pairing: int) -> list[Value]:
    """int16x8 sums of `pairing` products each."""
    sums = []
    for first in range(0, len(operands), pairing):
        total = None
        for activation, weight in operands[first : first + pairing]:
            product = e.op("smull", "int16x8", activation, weight)
            total = product if total is None else e.add(total, product, "int16x8")
        sums.append(total)
    return sums


def _widened(e: Emitter, sums: list[Value], bias: list[Value] | None) -> list[Value]:
    """The sum of int16x8 values, plus a bias, as two int32x4."""
    results = []
    for number, half in enumerate((e.low, e.high)):
        total = bias[number] if bias else None
        for value in sums:
            wide = e.widen(half(value, "int16x4"), "int32x4")
            total = wide if total is None else e.add(total, wide, "int32x4")
        results.append(total)
    return results
