"""Maximum and average over windows, 16 channels along the lanes.

Both reduce each input column once and share it between the windows that see it. The average keeps int16 sums (at
most 16 taps), then follows the rule of ir/numerics.py: SHL 3, SQRDMULH, SQADD, SQRSHRN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm import tirx

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.requantize import Rule
from shufflec.kernels.a64.scheduling import MODELS, SCHEDULE
from shufflec.kernels.a64.windows import Windows, column_tilings, halves
from shufflec.kernels.kernel import Kernel, Packed, Workload

NAME = "a64-pooling-2"
MAX_ROWS = 8
MAX_COLUMNS = 8

Tiling = tuple[tuple[str, int], ...]


def accepts(workload: Workload) -> bool:
    """Pools over at least eight channels and windows of at most eight rows."""
    if workload.kind not in ("max_pool2d", "avg_pool2d"):
        return False
    return workload["channels"] >= 8 and workload["kernel"][0] <= MAX_ROWS


def tilings(workload: Workload) -> list[Tiling]:
    """Output columns at once."""
    return column_tilings(workload, MAX_COLUMNS)


def build(workload: Workload, tiling: Tiling) -> Kernel:
    """The kernel of a workload with one of `tilings`."""
    chosen = dict(tiling)
    geometry = Windows.of(workload, chosen["columns"])
    e = Emitter()
    body_of = _maximum if workload.kind == "max_pool2d" else _average
    with geometry.each_strip(e) as (tile, _, channel):
        geometry.each_step(e, tile, channel, body_of(e, workload, geometry))

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        if workload.kind == "max_pool2d" or workload["uniform_multiplier"]:
            return Packed()
        return Packed(requant=np.ascontiguousarray(constants["multiplier"], np.int16).reshape(-1))

    mcpu = MODELS[chosen[SCHEDULE]]
    return Kernel(workload, tiling, NAME, e.function(), geometry.tiles, geometry.scratch_bytes, pack, mcpu)


class _Columns:
    """Reduces input columns, each once."""

    def __init__(self, reduce: Callable[[int], Value]):
        self.reduce = reduce
        self.done: dict[int, Value] = {}

    def __call__(self, j: int) -> Value:
        if j not in self.done:
            self.done[j] = self.reduce(j)
        return self.done[j]


def _maximum(e: Emitter, workload: Workload, geometry: Windows) -> Callable:
    dtype = f"int8x{geometry.strip}"
    kernel_h, kernel_w = geometry.kernel

    def largest(values: list[Value]) -> Value:
        while len(values) > 1:
            values = [e.op("smax", dtype, values[0], values[1]), *values[2:]]
        return values[0]

    def body(taps: Callable[[int, int], Value], output: Pointer, row: Value, column: Value) -> None:
        columns = _Columns(lambda j: largest([taps(i, j) for i in range(kernel_h)]))
        for q in range(geometry.columns):
            value = largest([columns(q * geometry.stride[1] + j) for j in range(kernel_w)])
            e.store(output, q * geometry.out_pitch, value, dtype)

    return body


def _average(e: Emitter, workload: Workload, geometry: Windows) -> Callable:
    rule = Rule.of(workload)
    kernel_h, kernel_w = geometry.kernel
    parts = range(geometry.strip // 8)
    uniform = workload["uniform_multiplier"]
    start = -kernel_h * kernel_w * workload["zero_point"]
    offset = workload["out_zero_point"] << workload["fraction"]

    def body(taps: Callable[[int, int], Value], output: Pointer, row: Value, column: Value) -> None:
        initial = e.splat(start, "int16x8") if start else None
        bias = e.splat(offset, "int16x8")
        multiplier = e.splat(uniform, "int16x8") if uniform else None
        table = None if uniform else e.at(e.requant, row * geometry.width + column)

        def column_sum(j: int) -> list[Value]:
            sums = []
            for part in parts:
                total = None
                for i in range(kernel_h):
                    wide = e.widen(halves(e, taps(i, j), geometry.strip)[part], "int16x8")
                    total = wide if total is None else e.add(total, wide, "int16x8")
                sums.append(total)
            return sums

        columns = _Columns(column_sum)
        for q in range(geometry.columns):
            scale = multiplier if uniform else e.splat(e.load(table, q, "int16"), "int16x8")
            results = []
            for part in parts:
                total = initial
                for j in range(kernel_w):
                    value = columns(q * geometry.stride[1] + j)[part]
                    total = value if total is None else e.add(total, value, "int16x8")
                shifted = e.bind(tirx.shift_left(total, tirx.Broadcast(tirx.const(3, "int16"), 8)), "int16x8")
                results.append(rule.scale(e, shifted, scale, bias))
            e.settle(results)
            value = rule.finish(e, results[0], results[1] if len(results) == 2 else None)
            e.store(output, q * geometry.out_pitch, value, f"int8x{geometry.strip}")

    return body
