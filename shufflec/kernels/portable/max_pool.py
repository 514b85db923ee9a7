"""Maximum over windows of an already padded input; a tile is one output row."""

from __future__ import annotations

from tvm.script import tirx as T

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.portable.arithmetic import ARENA_ELEMENTS

NAME = "portable-max-pool-1"
KIND = "max_pool2d"


def build(workload: Workload) -> Kernel:
    """The kernel of a max_pool2d workload; it has no constants."""
    p = dict(workload.params)
    (kernel_h, kernel_w), (stride_h, stride_w) = p["kernel"], p["stride"]
    channels, height, width, in_width = p["channels"], p["height"], p["width"], p["in_width"]
    out_row, out_pitch = p["out_row"], p["out_pitch"]

    @T.prim_func(s_tir=True)
    def max_pool2d(
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
        best = T.alloc_buffer((channels,), "int8", scope="local")
        for y in range(begin, end):
            for x in range(width):
                for c in range(channels):
                    best[c] = T.int8(-128)
                for i, j, c in T.grid(kernel_h, kernel_w, channels):
                    best[c] = T.max(best[c], A[in0 + ((y * stride_h + i) * in_width + x * stride_w + j) * channels + c])
                for c in range(channels):
                    A[out + (y * out_row + x) * out_pitch + c] = best[c]

    return Kernel(workload, (), NAME, max_pool2d, height, 0, lambda constants: Packed())
