"""`add` (two inputs) and `requantize` (one): sums of scaled activations; a tile is one row.

Each term is SQRDMULH(a << 8, multiplier); the bias is added behind the first term (ir/numerics.py).
"""

from __future__ import annotations

import numpy as np

from shufflec.kernels.a64.emitter import Emitter
from shufflec.kernels.a64.geometry import tile_count, tile_start
from shufflec.kernels.a64.requantize import Rule, scaled_int8
from shufflec.kernels.a64.scheduling import MODELS, SCHEDULE, models
from shufflec.kernels.a64.windows import halves
from shufflec.kernels.kernel import Kernel, Packed, Workload

NAME = "a64-weighted-sum-1"

Tiling = tuple[tuple[str, int], ...]


def accepts(workload: Workload) -> bool:
    """At least eight channels, or at least eight bytes a row where rows are contiguous."""
    return workload.kind in ("add", "requantize") and _run(workload) >= 8


def tilings(workload: Workload) -> list[Tiling]:
    """Only the scheduling model."""
    return [((SCHEDULE, model),) for model in models(workload)]


def _run(workload: Workload) -> int:
    """Bytes that follow each other on all sides: a row, or a pixel in a slice."""
    whole = workload["out_pitch"] == workload["channels"]
    return workload["width"] * workload["channels"] if whole else workload["channels"]


def build(workload: Workload, tiling: Tiling) -> Kernel:
    """The kernel of a workload with one of `tilings`."""
    channels, width = workload["channels"], workload["width"]
    run = _run(workload)
    runs = width * channels // run
    strip = 16 if run >= 16 else 8
    rule = Rule.of(workload)
    dtype = f"int8x{strip}"

    e = Emitter()
    with e.tiles() as tile, e.loop(runs) as pixel, e.loop(tile_count(run, strip)) as step:
        at = e.bind(tile * (width * channels) + pixel * channels + tile_start(e, step, strip, run))
        bases = (e.in0, e.in1)[: len(workload["multipliers"])]
        inputs = [halves(e, e.load(e.at(e.arena, base + at), 0, dtype), strip) for base in bases]
        multipliers = [e.splat(multiplier, "int16x8") for multiplier in workload["multipliers"]]
        bias = e.splat(workload["bias"], "int16x8")
        results = []
        for part in range(strip // 8):
            total = e.op("sqadd", "int16x8", scaled_int8(e, inputs[0][part], multipliers[0]), bias)
            for value, multiplier in zip(inputs[1:], multipliers[1:], strict=True):
                total = e.op("sqadd", "int16x8", total, scaled_int8(e, value[part], multiplier))
            results.append(total)
        value = rule.finish(e, results[0], results[1] if strip == 16 else None)
        row = tile * (workload["out_row"] * workload["out_pitch"]) + pixel * workload["out_pitch"]
        target = e.at(e.arena, e.out + row + tile_start(e, step, strip, run))
        e.store(target, 0, value, dtype)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        return Packed()

    return Kernel(workload, tiling, NAME, e.function(), workload["height"], 0, pack, MODELS[dict(tiling)[SCHEDULE]])
