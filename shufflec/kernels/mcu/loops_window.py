"""Plain loops for depthwise convolutions and pools; pools look at no position outside of their input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from tvm import tirx

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.mcu.emitter import MEmitter, MRule, Value, const, table

NAME = "portable-m-window-1"


def depthwise_conv2d(workload: Workload) -> Kernel:
    """One filter a channel over an input with its border. A tile is a row."""
    p = dict(workload.params)
    (kernel_h, kernel_w), (stride_h, stride_w) = p["kernel"], p["stride"]
    channels, pitch, rule = p["channels"], p["in_pitch"], MRule.of(workload)
    e = MEmitter()
    with e.tiles() as y, e.loop(p["width"]) as x:
        corner = e.bind(e.in0 + (y * (stride_h * p["in_row"]) + x * stride_w) * pitch)
        pixel = e.bind(e.out + (y * p["out_row"] + x) * p["out_pitch"])
        with e.loop(channels) as c:
            total = e.local(1, "int32")
            e.put(total, 0, e.load(e.accumulators, c * 2, "int32"))
            with e.loop(kernel_h) as i, e.loop(kernel_w) as j:
                value = e.byte(e.arena, corner + (i * p["in_row"] + j) * pitch + c)
                weight = e.byte(e.weights, (i * kernel_w + j) * channels + c)
                e.put(total, 0, e.get(total, 0, "int32") + value * weight)
            multiplier = e.load(e.accumulators, c * 2 + 1, "int32")
            e.put_byte(e.arena, pixel + c, rule.finish(e, e.get(total, 0, "int32"), multiplier))

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        weight = np.ascontiguousarray(constants["weight"].transpose(1, 2, 0), np.int8)
        return Packed(weight.reshape(-1), accumulators=table(constants).reshape(-1))

    return Kernel(workload, (), NAME, e.function(), p["height"], 0, pack)


def max_pool2d(workload: Workload) -> Kernel:
    """Maximum over windows. A tile is a row."""
    p = dict(workload.params)
    e = MEmitter()
    with e.tiles() as y, e.loop(p["width"]) as x, e.loop(p["channels"]) as c:
        best = e.local(1, "int32")
        e.put(best, 0, const(-128))
        with _inside(e, p, y, x) as place:
            e.put(best, 0, tirx.Max(e.get(best, 0, "int32"), e.byte(e.arena, place + c)))
        e.put_byte(e.arena, e.out + (y * p["out_row"] + x) * p["out_pitch"] + c, e.get(best, 0, "int32"))
    return Kernel(workload, (), NAME, e.function(), p["height"], 0, lambda constants: Packed())


def avg_pool2d(workload: Workload) -> Kernel:
    """Average over windows; `requant` is the multiplier of each position, or of all. A tile is a row."""
    p = dict(workload.params)
    shift = p["scale_shift"]
    rule = MRule(0, 0, 0, p["clamp_min"], p["clamp_max"])
    e = MEmitter()
    with e.tiles() as y, e.loop(p["width"]) as x:
        multiplier = e.half(e.requant, 0 if p["uniform"] else y * p["width"] + x)
        with e.loop(p["channels"]) as c:
            total = e.local(1, "int32")
            e.put(total, 0, const(0))
            with _inside(e, p, y, x) as place:
                e.put(total, 0, e.get(total, 0, "int32") + e.byte(e.arena, place + c) - p["zero_point"])
            offset = (p["out_zero_point"] << shift) + (1 << (shift - 1))
            scaled = e.bind(e.get(total, 0, "int32") * multiplier + offset)
            result = rule.saturated(e, scaled, shift)
            e.put_byte(e.arena, e.out + (y * p["out_row"] + x) * p["out_pitch"] + c, result)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        values = constants["multiplier"].reshape(-1).astype(np.int16)
        return Packed(requant=values[:1] if p["uniform"] else values)

    return Kernel(workload, (), NAME, e.function(), p["height"], 0, pack)


def global_avg_pool(workload: Workload) -> Kernel:
    """Average over the plane; the constants are one channel's, for all. A tile is a channel."""
    p = dict(workload.params)
    rule = MRule.of(workload)
    e = MEmitter()
    with e.tiles() as c:
        total = e.local(1, "int32")
        e.put(total, 0, e.load(e.accumulators, 0, "int32"))
        with e.loop(p["height"]) as y, e.loop(p["width"]) as x:
            value = e.byte(e.arena, e.in0 + (y * p["in_row"] + x) * p["in_pitch"] + c)
            e.put(total, 0, e.get(total, 0, "int32") + value)
        multiplier = e.load(e.accumulators, 1, "int32")
        e.put_byte(e.arena, e.out + c, rule.finish(e, e.get(total, 0, "int32"), multiplier))

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        pair = table(constants)
        pair[:, 0] -= p["height"] * p["width"] * p["zero_point"]
        return Packed(accumulators=pair.reshape(-1))

    return Kernel(workload, (), NAME, e.function(), p["channels"], 0, pack)


@contextmanager
def _inside(e: MEmitter, p: dict, y: Value, x: Value) -> Iterator[Value]:
    """The loop over a window's positions inside the input; gives the byte offset of the position's first channel."""
    (kernel_h, kernel_w), (stride_h, stride_w), (top, left) = p["kernel"], p["stride"], p["pad"][:2]
    with e.loop(kernel_h) as i, e.loop(kernel_w) as j:
        row, column = e.bind(y * stride_h + i - top), e.bind(x * stride_w + j - left)
        with e.when(tirx.all(row >= 0, row < p["in_height"], column >= 0, column < p["in_width"])):
            yield e.bind(e.in0 + (row * p["in_row"] + column) * p["in_pitch"])
