"""Depthwise convolution, window 3x3 or any other, 16 channels along the lanes.

Products of two taps are summed in int16 (SMULL, SMLAL; safe unless weights are -128), the sums are widened to int32
(SADDL, SADDW) and requantized like any convolution: about 3 instructions an output. An output's rounding is emitted
among the products of the next one, and both halves of a register side by side: an in-order core would wait for each
result otherwise.

Register budget for 3x3: 9 weights, 4 of requantization, 9 taps and 3 of the next column, 4 sums: 29 of 32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.requantize import Rule
from shufflec.kernels.a64.scheduling import MODELS, SCHEDULE
from shufflec.kernels.a64.windows import Windows, column_tilings, halves
from shufflec.kernels.kernel import Kernel, Packed, Workload

NAME = "a64-depthwise-2"
MAX_TAPS = 9  # weights that stay in registers
MAX_COLUMNS = 8

Tiling = tuple[tuple[str, int], ...]
Taps = Callable[[int, int], Value]


def accepts(workload: Workload) -> bool:
    """Windows of up to nine taps over at least eight channels."""
    if workload.kind != "depthwise_conv2d":
        return False
    kernel = workload["kernel"]
    return workload["channels"] >= 8 and kernel[0] * kernel[1] <= MAX_TAPS


def tilings(workload: Workload) -> list[Tiling]:
    """Output columns at once and the scheduling model."""
    return column_tilings(workload, MAX_COLUMNS)


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

        def products(taps: Taps, q: int, sums: dict) -> Iterator[None]:
            """Emits the sums of output column q, int32x4 by (half, part), some independent instructions at a time."""
            window = [taps(i, q * geometry.stride[1] + j) for i, j in order[: kernel_h * (kernel_w - 1)]]
            waiting: dict = {}
            for first in range(0, taps_count, 2 * pairing):
                members = range(first, min(first + 2 * pairing, taps_count))
                window += [taps(i, q * geometry.stride[1] + j) for i, j in order[len(window) : members[-1] + 1]]
                current: dict = {}
                for turn in range(pairing):
                    for member in members[turn::pairing]:
                        factors = [halves(e, x, strip) for x in (window[member], weights[member])]
                        for half in range(strip // 8):
                            product = e.op("smull", "int16x8", factors[0][half], factors[1][half])
                            key = (member - turn, half)
                            current[key] = e.add(current[key], product, "int16x8") if turn else product
                    yield
                _widen(e, waiting, sums)
                waiting = current
                yield
            _widen(e, waiting, sums)
            e.settle(list(sums.values()))

        def outputs(output: Pointer, q: int, sums: dict) -> Iterator[None]:
            """Emits the rounding rule and the store of output column q."""
            parts = range(strip // 8)
            narrow = [
                rule.narrow(e, sums[half, 0], sums[half, 1], _own_shifts(e, rule, requant, strip, half))
                for half in parts
            ]
            yield
            scaled = [rule.scale(e, narrow[half], multipliers[half], biases[half]) for half in parts]
            yield
            value = rule.finish(e, scaled[0], scaled[1] if strip == 16 else None)
            yield
            e.store(output, q * geometry.out_pitch, value, f"int8x{strip}")

        def body(taps: Taps, output: Pointer, row: Value, column: Value) -> None:
            finishing: Iterator[None] = iter(())
            for q in range(geometry.columns):
                sums = _biases(e, start, strip) if biased else {}
                for _ in products(taps, q, sums):
                    next(finishing, None)
                for _ in finishing:
                    pass
                finishing = outputs(output, q, sums)
            for _ in finishing:
                pass

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


def _biases(e: Emitter, start: Pointer, strip: int) -> dict[tuple[int, int], Value]:
    """The accumulator bias by (half, part)."""
    return {(i // 8, i % 8 // 4): e.load(start, i, "int32x4") for i in range(0, strip, 4)}


def _widen(e: Emitter, products: dict[tuple[int, int], Value], sums: dict[tuple[int, int], Value]) -> None:
    """Adds int16x8 products, by (number, half), to the int32x4 sums by (half, part)."""
    for (_, half), product in products.items():
        for part, cut in enumerate((e.low, e.high)):
            wide = e.widen(cut(product, "int16x4"), "int32x4")
            key = (half, part)
            sums[key] = e.add(sums[key], wide, "int32x4") if key in sums else wide
