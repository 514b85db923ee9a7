"""`add` and `requantize`: int8 inputs brought to one scale and summed; a tile is one row of the plane."""

from __future__ import annotations

from tvm.script import tirx as T

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.portable.arithmetic import ARENA_ELEMENTS, INT16, clamp, finish, sqrdmulh

NAME = "portable-weighted-sum-1"
KINDS = ("add", "requantize")


def build(workload: Workload) -> Kernel:
    """The kernel of an add (two inputs) or requantize (one input) workload; its constants are part of the code."""
    p = dict(workload.params)
    height, width, channels = p["height"], p["width"], p["channels"]
    out_row, out_pitch = p["out_row"], p["out_pitch"]
    multipliers, bias, fraction = p["multipliers"], p["bias"], p["fraction"]
    low, high = p["clamp_min"], p["clamp_max"]
    binary = len(multipliers) == 2

    @T.prim_func(s_tir=True)
    def weighted_sum(
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
        sums = T.alloc_buffer((channels,), "int8", scope="local")
        for y in range(begin, end):
            for x in range(width):
                for c in range(channels):
                    first = clamp(
                        sqrdmulh(T.Cast("int32", A[in0 + (y * width + x) * channels + c]) << 8, multipliers[0]) + bias,
                        *INT16,
                    )
                    if binary:
                        second = sqrdmulh(T.Cast("int32", A[in1 + (y * width + x) * channels + c]) << 8, multipliers[1])
                        sums[c] = finish(clamp(first + second, *INT16), fraction, low, high)
                    else:
                        sums[c] = finish(first, fraction, low, high)
                for c in range(channels):
                    A[out + (y * out_row + x) * out_pitch + c] = sums[c]

    return Kernel(workload, (), NAME, weighted_sum, height, 0, lambda constants: Packed())
