"""Depthwise convolutions with the DSP instructions: four channels of a pixel at once.

A word of activations and one of weights become two int16 pairs each (SXTB16), and each half is multiplied with its own
(SMLABB, SMLATT): per tap 2 loads, 4 SXTB16 and 4 multiplications for 4 products.
"""

from __future__ import annotations

import numpy as np
from tvm import tirx

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.mcu import dsp
from shufflec.kernels.mcu.emitter import MEmitter, MRule, table

NAME = "dsp-depthwise-1"
MAX_TAPS = 25


def accepts(workload: Workload) -> bool:
    """Whole words of channels, or room behind the last one."""
    if workload.kind != "depthwise_conv2d":
        return False
    p = dict(workload.params)
    own = p["channels"] % 4 == 0 or (p["padded_pixels"] and p["in_pitch"] % 4 == 0)
    return own and p["kernel"][0] * p["kernel"][1] <= MAX_TAPS


def build(workload: Workload) -> Kernel:
    """The kernel of a depthwise workload. A tile is a row."""
    p = dict(workload.params)
    (kernel_h, kernel_w), (stride_h, stride_w), pitch = p["kernel"], p["stride"], p["in_pitch"]
    blocks, taps = -(-p["channels"] // 4), kernel_h * kernel_w
    rule = MRule.of(workload, dsp=True)
    e = MEmitter()
    packed = e.cast(e.weights, "int32")
    with e.tiles() as y:
        row_in = e.bind(e.in0 + y * (stride_h * p["in_row"] * pitch))
        row_out = e.bind(e.out + y * (p["out_row"] * p["out_pitch"]))
        with e.loop(p["width"]) as x:
            corner = e.at(e.arena, e.bind(row_in + x * (stride_w * pitch)))
            pixel = e.at(e.arena, e.bind(row_out + x * p["out_pitch"]))
            with e.loop(blocks) as n:
                numbers = e.at(e.accumulators, e.bind(8 * n))
                weights = e.at(packed, e.bind(n * taps))
                source, target = e.at(corner, e.bind(4 * n)), e.at(pixel, e.bind(4 * n))
                sums = [e.load(numbers, 2 * c, "int32") for c in range(4)]
                for i in range(kernel_h):
                    for j in range(kernel_w):
                        values = dsp.split(e, e.word(source, (i * p["in_row"] + j) * pitch))
                        factors = dsp.split(e, e.load(weights, i * kernel_w + j, "int32"))
                        for half, (a, b) in enumerate(zip(values, factors, strict=True)):
                            sums[half] = e.arm("smlabb", a, b, sums[half])
                            sums[2 + half] = e.arm("smlatt", a, b, sums[2 + half])
                for c in range(4):
                    result = rule.finish(e, sums[c], e.load(numbers, 2 * c + 1, "int32"))
                    e.store(target, c, tirx.Cast("int8", result), "int8")

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        channels = p["channels"]
        weight = np.zeros((4 * blocks, taps), np.int8)
        weight[:channels] = constants["weight"].reshape(channels, taps)
        numbers = np.zeros((4 * blocks, 2), np.int32)
        numbers[:channels] = table(constants)
        words = weight.reshape(blocks, 4, taps).transpose(0, 2, 1)
        return Packed(np.ascontiguousarray(words).reshape(-1), accumulators=numbers.reshape(-1))

    return Kernel(workload, (), NAME, e.function(), p["height"], 0, pack)
