"""Average over windows of an already padded input, with a divisor per output position; a tile is one output row."""

from __future__ import annotations

import numpy as np
from tvm.script import tirx as T

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.portable.arithmetic import ARENA_ELEMENTS, INT16, clamp, finish, sqrdmulh

NAME = "portable-avg-pool-1"
KIND = "avg_pool2d"


def build(workload: Workload) -> Kernel:
    """The kernel of an avg_pool2d workload. The multiplier table (height, width) is packed unless it is uniform."""
    p = dict(workload.params)
    (kernel_h, kernel_w), (stride_h, stride_w) = p["kernel"], p["stride"]
    channels, height, width, in_width = p["channels"], p["height"], p["width"], p["in_width"]
    out_row, out_pitch = p["out_row"], p["out_pitch"]
    fraction, low, high = p["fraction"], p["clamp_min"], p["clamp_max"]
    uniform_multiplier = p["uniform_multiplier"]
    uniform = uniform_multiplier != 0
    start = -kernel_h * kernel_w * p["zero_point"]
    offset = p["out_zero_point"] << fraction

    @T.prim_func(s_tir=True)
    def avg_pool2d(
        arena: T.handle("int8"),
        weights: T.handle("int8"),
        requant: T.handle("int16"),
        accumulators: T.handle("int32"),
        in0: T.int32,
        in1: T.int32,
        out: T.int32,
        scratch: T.int32,
        begin: T.int32,
        end: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        A = T.decl_buffer((ARENA_ELEMENTS,), "int8", data=arena)
        Q = T.decl_buffer((height * width,), "int16", data=requant)
        total = T.alloc_buffer((channels,), "int32", scope="local")
        for y in range(begin, end):
            for x in range(width):
                for c in range(channels):
                    total[c] = start
                for i, j, c in T.grid(kernel_h, kernel_w, channels):
                    total[c] = total[c] + T.Cast(
                        "int32", A[in0 + ((y * stride_h + i) * in_width + x * stride_w + j) * channels + c]
                    )
                for c in range(channels):
                    multiplier = uniform_multiplier if uniform else T.Cast("int32", Q[y * width + x])
                    u = clamp(sqrdmulh(total[c] << 3, multiplier) + offset, *INT16)
                    A[out + (y * out_row + x) * out_pitch + c] = finish(u, fraction, low, high)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        if uniform:
            return Packed()
        return Packed(requant=np.ascontiguousarray(constants["multiplier"], np.int16).reshape(-1))

    return Kernel(workload, (), NAME, avg_pool2d, height, 0, pack)
