"""Average over the whole plane: int16 sums of up to 128 pixels, widened to int32; a tile is a strip of channels."""

from __future__ import annotations

import numpy as np

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.geometry import tile_count, tile_start
from shufflec.kernels.a64.registers import Registers
from shufflec.kernels.a64.requantize import Rule
from shufflec.kernels.a64.scheduling import MODELS, SCHEDULE, models
from shufflec.kernels.a64.windows import halves
from shufflec.kernels.kernel import Kernel, Packed, Workload

NAME = "a64-global-avg-pool-1"
MAX_PIXELS = 128  # of int8 fit an int16 sum: 128 * -128 = -16384, so a whole chunk and its rest do as well
MAX_UNROLLED = 8

Tiling = tuple[tuple[str, int], ...]


def accepts(workload: Workload) -> bool:
    """At least eight channels."""
    return workload.kind == "global_avg_pool" and workload["channels"] >= 8


def tilings(workload: Workload) -> list[Tiling]:
    """Only the scheduling model."""
    return [((SCHEDULE, model),) for model in models(workload)]


def build(workload: Workload, tiling: Tiling) -> Kernel:
    """The kernel of a workload with one of `tilings`."""
    channels, pixels = workload["channels"], workload["height"] * workload["width"]
    strip = 16 if channels >= 16 else 8
    parts = range(strip // 8)
    keys = [(part, half) for part in parts for half in (0, 1)]
    start = workload["accumulator_bias"] - pixels * workload["zero_point"]
    rule = Rule.of(workload)

    e = Emitter()
    with e.tiles() as tile:
        channel = tile_start(e, tile, strip, channels)
        source = e.at(e.arena, e.in0 + channel)
        sums = Registers(e, keys, {key: e.splat(start, "int32x4") for key in keys})
        if pixels // MAX_PIXELS:
            with e.loop(pixels // MAX_PIXELS) as chunk:
                first = e.at(source, chunk * (MAX_PIXELS * channels))
                _add_pixels(e, sums, first, MAX_PIXELS, channels, strip)
        if pixels % MAX_PIXELS:
            first = e.at(source, pixels // MAX_PIXELS * MAX_PIXELS * channels)
            _add_pixels(e, sums, first, pixels % MAX_PIXELS, channels, strip)
        total = sums.read()
        multiplier, bias = e.splat(workload["multiplier"], "int16x8"), e.splat(workload["bias"], "int16x8")
        own_shift = dict(workload.params).get("pre_shift", 0)
        shifts = (e.splat(own_shift, "int32x4"),) * 2 if own_shift else None
        results = [
            rule.scale(e, rule.narrow(e, total[part, 0], total[part, 1], shifts), multiplier, bias) for part in parts
        ]
        value = rule.finish(e, results[0], results[1] if strip == 16 else None)
        e.store(e.at(e.arena, e.out + channel), 0, value, f"int8x{strip}")

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        return Packed()

    llvm_mcpu = MODELS[dict(tiling)[SCHEDULE]]
    return Kernel(workload, tiling, NAME, e.function(), tile_count(channels, strip), 0, pack, llvm_mcpu)


def _add_pixels(e: Emitter, sums: Registers, source: Pointer, pixels: int, channels: int, strip: int) -> None:
    parts = list(range(strip // 8))
    step = max(n for n in range(1, MAX_UNROLLED + 1) if pixels % n == 0)
    short = Registers(e, parts, {part: e.splat(0, "int16x8") for part in parts}, "int16x8")
    with e.loop(pixels // step) as number:
        here = e.at(source, number * (step * channels))
        values: dict[int, Value] = short.read()
        for pixel in range(step):
            loaded = halves(e, e.load(here, pixel * channels, f"int8x{strip}"), strip)
            for part in parts:
                values[part] = e.add(values[part], e.widen(loaded[part], "int16x8"), "int16x8")
        short.write(values)
    values, total = short.read(), sums.read()
    for part in parts:
        for number, half in enumerate((e.low, e.high)):
            wide = e.widen(half(values[part], "int16x4"), "int32x4")
            total[part, number] = e.add(total[part, number], wide, "int32x4")
    sums.write(total)
