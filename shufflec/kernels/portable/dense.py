"""Fully connected layer to int32 accumulators; a tile is a block of outputs."""

from __future__ import annotations

import numpy as np
from tvm.script import tirx as T

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.portable.arithmetic import ARENA_ELEMENTS, block_count

NAME = "portable-dense-1"
KIND = "dense"
BLOCK = 32  # outputs of a tile


def build(workload: Workload) -> Kernel:
    """The kernel of a dense workload. Weights are packed (C, I), as the graph has them; the output is int32."""
    p = dict(workload.params)
    depth, channels = p["in_channels"], p["out_channels"]

    @T.prim_func(s_tir=True)
    def dense(
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
        Y = T.decl_buffer((ARENA_ELEMENTS // 4,), "int32", data=arena)
        W = T.decl_buffer((channels * depth,), "int8", data=weights)
        B = T.decl_buffer((channels,), "int32", data=accumulators)
        acc = T.alloc_buffer((1,), "int32", scope="local")
        for tile in range(begin, end):
            for n in range(tile * BLOCK, T.min(channels, tile * BLOCK + BLOCK)):
                acc[0] = B[n]
                for k in range(depth):
                    acc[0] = acc[0] + T.Cast("int32", A[in0 + k]) * T.Cast("int32", W[n * depth + k])
                Y[(out >> 2) + n] = acc[0]

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        return Packed(
            np.ascontiguousarray(constants["weight"], np.int8).reshape(-1),
            accumulators=constants["accumulator_bias"].astype(np.int32),
        )

    return Kernel(workload, (), NAME, dense, block_count(channels, BLOCK), 0, pack)
