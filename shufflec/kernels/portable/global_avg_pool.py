"""Average over the whole plane; a tile is a block of channels."""

from __future__ import annotations

from tvm.script import tirx as T

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.portable.arithmetic import ARENA_ELEMENTS, block_count, finish, requantize

NAME = "portable-global-avg-pool-2"
KIND = "global_avg_pool"
BLOCK = 64  # channels of a tile


def build(workload: Workload) -> Kernel:
    """The kernel of a global_avg_pool workload; its constants are single values and part of the code."""
    p = dict(workload.params)
    positions, channels = p["height"] * p["width"], p["channels"]
    shift, fraction, low, high = p["shift"], p["fraction"], p["clamp_min"], p["clamp_max"]
    multiplier, bias, pre_shift = p["multiplier"], p["bias"], p.get("pre_shift", 0)
    own_shift = pre_shift != 0
    start = p["accumulator_bias"] - positions * p["zero_point"]

    @T.prim_func(s_tir=True)
    def global_avg_pool(
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
        total = T.alloc_buffer((BLOCK,), "int32", scope="local")
        for tile in range(begin, end):
            count = T.min(BLOCK, channels - tile * BLOCK)
            for c in range(count):
                total[c] = start
            for position in range(positions):
                for c in range(count):
                    total[c] = total[c] + T.Cast("int32", A[in0 + position * channels + tile * BLOCK + c])
            for c in range(count):
                u = requantize(total[c], multiplier, bias, shift, T.int32(pre_shift) if own_shift else None)
                A[out + tile * BLOCK + c] = finish(u, fraction, low, high)

    return Kernel(workload, (), NAME, global_avg_pool, block_count(channels, BLOCK), 0, lambda constants: Packed())
