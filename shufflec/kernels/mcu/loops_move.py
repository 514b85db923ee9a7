"""Plain loops for additions, changes of grid, borders and copies."""

from __future__ import annotations

import numpy as np
from tvm import tirx

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.mcu.emitter import MEmitter, MRule, const
from shufflec.kernels.mcu.loops_conv import shuffled

NAME = "m-loops-move-1"


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
    """Fills the border of a plane whose inside is written later; `weights`: one byte a channel. A tile is a row."""
    p = dict(workload.params)
    top, left, bottom, right = p["pad"]
    height, width, channels, pitch = p["height"], p["width"], p["channels"], p["out_pitch"]
    row = left + width + right
    e = MEmitter()

    def fill(first: object, count: object, y: object) -> None:
        with e.loop(count) as x, e.loop(pitch) as c:
            source = tirx.Min(c, const(channels - 1))
            e.put_byte(e.arena, e.out + (y * row + first + x) * pitch + c, e.byte(e.weights, source))

    with e.tiles() as y:
        outside = tirx.any(y < top, y >= top + height)
        with e.when(outside):
            fill(0, row, y)
        with e.when(tirx.Not(outside)):
            if left:
                fill(0, left, y)
            if right:
                fill(left + width, right, y)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        return Packed(weights=constants["pad_value"].astype(np.int8))

    return Kernel(workload, (), NAME, e.function(), top + height + bottom, 0, pack)
