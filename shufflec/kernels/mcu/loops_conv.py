"""Plain loops for convolutions of any shape, dense layers and a stem with its pool."""

from __future__ import annotations

import numpy as np
from tvm import tirx

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.mcu.emitter import MEmitter, MRule, Value, const, residual_factor, table

NAME = "portable-m-conv-1"


def conv2d(workload: Workload) -> Kernel:
    """1x1 or windowed, grouped or not, residual, shuffled write; a windowed input has its border. A tile is a row."""
    p = dict(workload.params)
    (kernel_h, kernel_w), (stride_h, stride_w) = p.get("kernel", (1, 1)), p.get("stride", (1, 1))
    groups, width, channels, pitch = p["groups"], p["width"], p["out_channels"], p["in_pitch"]
    depth, per_group, rows = p["in_channels"] // groups, channels // groups, p["shuffle_rows"]
    rule, taps = MRule.of(workload), kernel_h * kernel_w * depth
    e = MEmitter()
    with e.tiles() as y, e.loop(width) as x:
        corner = e.bind(e.in0 + (y * (stride_h * p["in_row"]) + x * stride_w) * pitch)
        pixel = e.bind(e.out + (y * p["out_row"] + x) * p["out_pitch"])
        other = e.bind(e.in1 + (y * p["residual_row"] + x) * p["residual_pitch"]) if p["residual"] else None
        with e.loop(groups) as group, e.loop(per_group) as n:
            channel = e.bind(group * per_group + n)
            total = e.local(1, "int32")
            e.put(total, 0, e.load(e.accumulators, channel * 2, "int32"))
            with e.loop(kernel_h) as i, e.loop(kernel_w) as j, e.loop(depth) as k:
                value = e.byte(e.arena, corner + (i * p["in_row"] + j) * pitch + group * depth + k)
                weight = e.byte(e.weights, channel * taps + (i * kernel_w + j) * depth + k)
                e.put(total, 0, e.get(total, 0, "int32") + value * weight)
            residual = e.byte(e.arena, other + channel) if p["residual"] else None
            factor = e.half(e.requant, 0) if p["residual"] else None
            multiplier = e.load(e.accumulators, channel * 2 + 1, "int32")
            result = rule.finish(e, e.get(total, 0, "int32"), multiplier, residual, factor)
            e.put_byte(e.arena, pixel + shuffled(channel, channels, rows), result)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        return Packed(
            np.ascontiguousarray(constants["weight"], np.int8).reshape(-1),
            residual_factor(constants),
            table(constants).reshape(-1),
        )

    return Kernel(workload, (), NAME, e.function(), p["height"], 0, pack)


def shuffled(channel: Value, channels: int, rows: int) -> Value:
    """Where a shuffled write puts a channel (ir/graph.py)."""
    if rows == 1:
        return channel
    columns = const(channels // rows)
    return tirx.truncmod(channel, columns) * rows + tirx.truncdiv(channel, columns)


def dense(workload: Workload) -> Kernel:
    """int32 sums of a fully connected layer; a tile is a class."""
    p = dict(workload.params)
    depth, channels = p["in_channels"], p["out_channels"]
    e = MEmitter()
    output = e.cast(e.at(e.arena, e.out), "int32")
    with e.tiles() as n:
        total = e.local(1, "int32")
        e.put(total, 0, e.load(e.accumulators, n, "int32"))
        with e.loop(depth) as k:
            product = e.byte(e.arena, e.in0 + k) * e.byte(e.weights, n * depth + k)
            e.put(total, 0, e.get(total, 0, "int32") + product)
        e.store(output, n, e.get(total, 0, "int32"), "int32")

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        weight = np.ascontiguousarray(constants["weight"], np.int8).reshape(-1)
        return Packed(weight, accumulators=constants["accumulator_bias"].astype(np.int32))

    return Kernel(workload, (), NAME, e.function(), channels, 0, pack)


def stem_pool(workload: Workload) -> Kernel:
    """A windowed convolution and the maximum over windows of its result, which is never whole.

    The input has no border. The scratch is a ring of as many rows of the convolution as a pool window has. A tile is
    a row of the pool; tiles must run in order.
    """
    p = dict(workload.params)
    (kernel_h, kernel_w), (stride_h, stride_w) = p["kernel"], p["stride"]
    (pool_h, pool_w), (step_h, step_w) = p["pool_kernel"], p["pool_stride"]
    pool_top, pool_left = p["pool_pad"][:2]
    top, left = p["pad"][:2]
    depth, channels = p["in_channels"], p["out_channels"]
    mid_h, mid_w = p["mid_height"], p["mid_width"]
    in_h, in_w = p["in_height"], p["in_width"]
    rule, taps = MRule.of(workload), kernel_h * kernel_w * depth
    line = mid_w * channels
    e = MEmitter()

    def conv_row(r: Value) -> None:
        base = e.bind(e.scratch + tirx.truncmod(r, const(pool_h)) * line)
        with e.loop(mid_w) as x, e.loop(channels) as c:
            total = e.local(1, "int32")
            e.put(total, 0, e.load(e.accumulators, c * 2, "int32"))
            with e.loop(kernel_h) as i, e.loop(kernel_w) as j:
                row, column = e.bind(r * stride_h + i - top), e.bind(x * stride_w + j - left)
                inside = tirx.all(row >= 0, row < in_h, column >= 0, column < in_w)
                with e.loop(depth) as k:
                    value = e.local(1, "int32")
                    e.put(value, 0, const(p["pad_value"]))
                    with e.when(inside):
                        e.put(value, 0, e.byte(e.arena, e.in0 + (row * in_w + column) * depth + k))
                    weight = e.byte(e.weights, c * taps + (i * kernel_w + j) * depth + k)
                    e.put(total, 0, e.get(total, 0, "int32") + e.get(value, 0, "int32") * weight)
            multiplier = e.load(e.accumulators, c * 2 + 1, "int32")
            e.put_byte(e.arena, base + x * channels + c, rule.finish(e, e.get(total, 0, "int32"), multiplier))

    with e.tiles() as y:
        first = e.bind(y * step_h - pool_top)
        with e.loop(pool_h) as i:
            r = e.bind(first + i)
            new = tirx.any(tirx.EQ(y, const(0)), i >= pool_h - step_h)
            with e.when(tirx.all(new, r >= 0, r < mid_h)):
                conv_row(r)
        with e.loop(p["width"]) as x, e.loop(channels) as c:
            best = e.local(1, "int32")
            e.put(best, 0, const(-128))
            with e.loop(pool_h) as i, e.loop(pool_w) as j:
                r, column = e.bind(first + i), e.bind(x * step_w + j - pool_left)
                with e.when(tirx.all(r >= 0, r < mid_h, column >= 0, column < mid_w)):
                    at = e.scratch + tirx.truncmod(r, const(pool_h)) * line + column * channels + c
                    e.put(best, 0, tirx.Max(e.get(best, 0, "int32"), e.byte(e.arena, at)))
            e.put_byte(e.arena, e.out + (y * p["out_row"] + x) * p["out_pitch"] + c, e.get(best, 0, "int32"))

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        weight = np.ascontiguousarray(constants["weight"], np.int8).reshape(-1)
        return Packed(weight, accumulators=table(constants).reshape(-1))

    return Kernel(workload, (), NAME, e.function(), p["height"], pool_h * line, pack)
