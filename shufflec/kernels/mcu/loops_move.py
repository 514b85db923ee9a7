"""Plain loops for additions, changes of grid, borders and copies."""

from __future__ import annotations

import numpy as np
from tvm import tirx

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.mcu.emitter import MEmitter, MRule
from shufflec.kernels.mcu.loops_conv import shuffled

NAME = "portable-m-move-1"


def weighted_sum(workload: Workload) -> Kernel:
    """`add` and `requantize`; the output may be an input's place. A tile is a row."""
    p = dict(workload.params)
    multipliers = p["multipliers"]
    rule = MRule(0, 0, 0, p["clamp_min"], p["clamp_max"])
    e = MEmitter()
    with e.tiles() as y, e.loop(p["width"]) as x, e.loop(p["channels"]) as c:
        total = e.bind(e.byte(e.arena, e.in0 + (y * p["in_row"] + x) * p["in_pitch"] + c) * multipliers[0] + p["bias"])
        if len(multipliers) == 2:
            second = e.byte(e.arena, e.in1 + (y * p["second_row"] + x) * p["second_pitch"] + c)
            total = e.bind(total + second * multipliers[1])
        result = rule.saturated(e, total, p["scale_shift"])
        e.put_byte(e.arena, e.out + (y * p["out_row"] + x) * p["out_pitch"] + c, result)
    return Kernel(workload, (), NAME, e.function(), p["height"], 0, lambda constants: Packed())


def copy(workload: Workload) -> Kernel:
    """`copy` into a buffer of another pitch or row, and `channel_shuffle`. A tile is a row."""
    p = dict(workload.params)
    channels, rows = p["channels"], p.get("rows", 1)
    e = MEmitter()
    with e.tiles() as y, e.loop(p["width"]) as x, e.loop(channels) as c:
        value = e.byte(e.arena, e.in0 + (y * p["in_row"] + x) * p["in_pitch"] + c)
        pixel = e.out + (y * p["out_row"] + x) * p["out_pitch"]
        e.put_byte(e.arena, pixel + shuffled(c, channels, rows), value)
    return Kernel(workload, (), NAME, e.function(), p["height"], 0, lambda constants: Packed())


def border(workload: Workload) -> Kernel:
    """Fills the border of a plane whose inside is written later; `weights`: one byte a channel. One tile.

    Its sizes are numbers of `requant`, so that one function serves every layer.
    """
    e = MEmitter()
    top, left, bottom, right, height, width, channels, pitch = (e.half(e.requant, i) for i in range(8))
    row = e.bind(left + width + right)
    with e.tiles(), e.loop(e.bind(top + height + bottom)) as y, e.loop(row) as x:
        outside = tirx.any(y < top, y >= top + height, x < left, x >= left + width)
        with e.when(outside):
            pixel = e.at(e.arena, e.bind(e.out + (y * row + x) * pitch))
            with e.loop(channels) as c:
                e.put_byte(pixel, c, e.byte(e.weights, c))

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        return Packed(constants["pad_value"].astype(np.int8), np.asarray(constants["sizes"], np.int16))

    return Kernel(workload, (), NAME, e.function(), 1, 0, pack)
