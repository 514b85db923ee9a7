"""Depthwise convolutions and average pools with MVE: four channels in the lanes, widened by the load (VLDRB.S32)."""

from __future__ import annotations

import numpy as np
from tvm import tirx

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.mcu import mve
from shufflec.kernels.mcu.emitter import MEmitter, MRule, const, table
from shufflec.kernels.mcu.windows import span

NAME = "mve-window-1"
MAX_TAPS = 25
KINDS = ("depthwise_conv2d", "avg_pool2d")


def accepts(workload: Workload) -> bool:
    """Whole vectors of channels, or room behind the last one; a pool with one multiplier for all positions."""
    if workload.kind not in KINDS:
        return False
    p = dict(workload.params)
    own = p["channels"] % 4 == 0 or (p["padded_pixels"] and p["in_pitch"] % 4 == 0)
    return own and p["kernel"][0] * p["kernel"][1] <= MAX_TAPS and p.get("uniform", True)


def build(workload: Workload) -> Kernel:
    """The kernel of a workload. A tile is a row."""
    return _depthwise(workload) if workload.kind == "depthwise_conv2d" else _average(workload)


def _depthwise(workload: Workload) -> Kernel:
    p = dict(workload.params)
    (kernel_h, kernel_w), (stride_h, stride_w), pitch = p["kernel"], p["stride"], p["in_pitch"]
    blocks, taps = -(-p["channels"] // 4), kernel_h * kernel_w
    rule = MRule.of(workload)
    e = MEmitter()
    with e.tiles() as y:
        row_in = e.bind(e.in0 + y * (stride_h * p["in_row"] * pitch))
        row_out = e.bind(e.out + y * (p["out_row"] * p["out_pitch"]))
        with e.loop(blocks) as n:
            channel = e.bind(4 * n)
            packed = e.at(e.weights, e.bind(channel * taps))
            biases = e.load(e.accumulators, channel, "int32x4")
            multipliers = e.load(e.accumulators, e.bind(channel + 4 * blocks), "int32x4")
            with e.loop(p["width"]) as x:
                corner = e.at(e.arena, e.bind(row_in + x * (stride_w * pitch) + channel))
                total = biases
                for i in range(kernel_h):
                    for j in range(kernel_w):
                        value = mve.four_bytes(e, corner, (i * p["in_row"] + j) * pitch)
                        weight = mve.four_bytes(e, packed, 4 * (i * kernel_w + j))
                        total = e.add(total, e.bind(value * weight, "int32x4"), "int32x4")
                pixel = e.at(e.arena, e.bind(row_out + x * p["out_pitch"] + channel))
                mve.store_four(e, pixel, 0, mve.finish(e, rule, total, multipliers))

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        channels = p["channels"]
        weight = np.zeros((4 * blocks, taps), np.int8)
        weight[:channels] = constants["weight"].reshape(channels, taps)
        numbers = np.zeros((2, 4 * blocks), np.int32)
        numbers[:, :channels] = table(constants).T
        lanes = weight.reshape(blocks, 4, taps).transpose(0, 2, 1)
        return Packed(np.ascontiguousarray(lanes).reshape(-1), accumulators=numbers.reshape(-1))

    return Kernel(workload, (), NAME, e.function(), p["height"], 0, pack)


def _average(workload: Workload) -> Kernel:
    p = dict(workload.params)
    shift, zero, pitch = p["scale_shift"], p["zero_point"], p["in_pitch"]
    rule = MRule(0, 0, 0, p["clamp_min"], p["clamp_max"])
    offset = (p["out_zero_point"] << shift) + (1 << (shift - 1))
    e = MEmitter()
    multiplier = e.half(e.requant, 0)
    with e.tiles() as y:
        rows = span(e, y, p, 0, "in_height")
        row_out = e.bind(e.out + y * (p["out_row"] * p["out_pitch"]))
        with e.loop(p["width"]) as x:
            columns = span(e, x, p, 1, "in_width")
            corner = e.bind(e.in0 + (rows[0] * p["in_row"] + columns[0]) * pitch)
            # The zero point's part of every sum, and the rounding.
            start = e.bind(offset - rows[1] * columns[1] * multiplier * zero)
            pixel = e.at(e.arena, e.bind(row_out + x * p["out_pitch"]))
            with e.loop(-(-p["channels"] // 4)) as n:
                total = e.local(1, "int32x4")
                e.put(total, 0, mve.splat(const(0)))
                with e.loop(rows[1]) as i:
                    line = e.at(e.arena, e.bind(corner + i * (p["in_row"] * pitch) + 4 * n))
                    with e.loop(columns[1]) as j:
                        value = mve.four_bytes(e, line, j * pitch)
                        e.put(total, 0, tirx.Add(e.get(total, 0, "int32x4"), value))
                scaled = e.bind(e.get(total, 0, "int32x4") * mve.splat(multiplier) + mve.splat(start), "int32x4")
                mve.store_four(e, pixel, 4 * n, mve.saturated(e, rule, scaled, shift))

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        return Packed(requant=constants["multiplier"].reshape(-1)[:1].astype(np.int16))

    return Kernel(workload, (), NAME, e.function(), p["height"], 0, pack)
