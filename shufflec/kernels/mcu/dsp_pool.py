"""Average pools with the DSP instructions: four channels at once, SXTAB16 adds two of them.

Windows are clipped to the input: a position outside counts as the zero point, which adds nothing.
"""

from __future__ import annotations

import numpy as np
from tvm import tirx

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.mcu.emitter import MEmitter, MRule, const
from shufflec.kernels.mcu.windows import span

NAME = "dsp-avg-pool-2"
MAX_TAPS = 128  # of int16 sums


def accepts(workload: Workload) -> bool:
    """Whole words of channels, and one multiplier for all positions."""
    if workload.kind != "avg_pool2d":
        return False
    p = dict(workload.params)
    return p["channels"] % 4 == 0 and p["uniform"] and p["kernel"][0] * p["kernel"][1] <= MAX_TAPS


def build(workload: Workload) -> Kernel:
    """The kernel of an avg_pool2d workload. A tile is a row."""
    p = dict(workload.params)
    shift, zero, pitch = p["scale_shift"], p["zero_point"], p["in_pitch"]
    rule = MRule(0, 0, 0, p["clamp_min"], p["clamp_max"], dsp=True)
    offset = (p["out_zero_point"] << shift) + (1 << (shift - 1))
    e = MEmitter()
    # The width is read, or LLVM would unroll a loop over few pixels and fill the flash.
    multiplier, width = e.half(e.requant, 0), e.half(e.requant, 1)
    with e.tiles() as y:
        rows = span(e, y, p, 0, "in_height")
        target_row = e.bind(e.out + y * (p["out_row"] * p["out_pitch"]))
        with e.loop(width) as x:
            columns = span(e, x, p, 1, "in_width")
            corner = e.bind(e.in0 + (rows[0] * p["in_row"] + columns[0]) * pitch)
            count = e.bind(rows[1] * columns[1])
            # The zero point's part of every sum, and the rounding.
            start = e.bind(offset - count * multiplier * zero)
            pixel = e.at(e.arena, e.bind(target_row + x * p["out_pitch"]))
            with e.loop(p["channels"] // 4) as n:
                sums = e.local(2, "int32")
                e.put(sums, 0, const(0))
                e.put(sums, 1, const(0))
                with e.loop(rows[1]) as i:
                    line = e.at(e.arena, e.bind(corner + i * (p["in_row"] * pitch) + 4 * n))
                    with e.loop(columns[1]) as j:
                        word = e.word(line, j * pitch)
                        e.put(sums, 0, e.arm("sxtab16", e.get(sums, 0, "int32"), word))
                        e.put(sums, 1, e.arm("sxtab16", e.get(sums, 1, "int32"), e.rotated(word)))
                target = e.at(pixel, e.bind(4 * n))
                for c in range(4):
                    pair = e.get(sums, c % 2, "int32")
                    total = tirx.shift_right(pair, const(16)) if c > 1 else tirx.Cast("int32", tirx.Cast("int16", pair))
                    result = rule.saturated(e, e.bind(total * multiplier + start), shift)
                    e.store(target, c, tirx.Cast("int8", result), "int8")

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        return Packed(requant=np.array([constants["multiplier"].reshape(-1)[0], p["width"]], np.int16))

    return Kernel(workload, (), NAME, e.function(), p["height"], 0, pack)
