"""Depthwise convolution with requantization on an already padded input; a tile is one output row."""

from __future__ import annotations

import numpy as np
from tvm.script import tirx as T

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.portable.arithmetic import ARENA_ELEMENTS, finish, pack_requant, requantize

NAME = "portable-depthwise-2"
KIND = "depthwise_conv2d"


def build(workload: Workload) -> Kernel:
    """The kernel of a depthwise_conv2d workload. Weights are packed (KH, KW, C): channels along the lanes."""
    p = dict(workload.params)
    (kernel_h, kernel_w), (stride_h, stride_w) = p["kernel"], p["stride"]
    channels, height, width, in_width = p["channels"], p["height"], p["width"], p["in_width"]
    out_row, out_pitch = p["out_row"], p["out_pitch"]
    biased, own_shifts = bool(p["accumulator_bias"]), bool(p.get("pre_shift"))
    shift, fraction, low, high = p["shift"], p["fraction"], p["clamp_min"], p["clamp_max"]

    @T.prim_func(s_tir=True)
    def depthwise_conv2d(
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
        W = T.decl_buffer((kernel_h * kernel_w * channels,), "int8", data=weights)
        Q = T.decl_buffer(((3 if own_shifts else 2) * channels,), "int16", data=requant)
        B = T.decl_buffer((channels,), "int32", data=accumulators)
        acc = T.alloc_buffer((channels,), "int32", scope="local")
        for y in range(begin, end):
            for x in range(width):
                for c in range(channels):
                    acc[c] = B[c] if biased else 0
                for i, j, c in T.grid(kernel_h, kernel_w, channels):
                    acc[c] = acc[c] + T.Cast(
                        "int32", A[in0 + ((y * stride_h + i) * in_width + x * stride_w + j) * channels + c]
                    ) * T.Cast("int32", W[(i * kernel_w + j) * channels + c])
                for c in range(channels):
                    u = requantize(
                        acc[c],
                        T.Cast("int32", Q[c]),
                        T.Cast("int32", Q[channels + c]),
                        shift,
                        T.Cast("int32", Q[2 * channels + c]) if own_shifts else None,
                    )
                    A[out + (y * out_row + x) * out_pitch + c] = finish(u, fraction, low, high)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        return Packed(
            np.ascontiguousarray(constants["weight"].transpose(1, 2, 0), np.int8).reshape(-1),
            pack_requant(constants),
            constants["accumulator_bias"].astype(np.int32) if biased else np.zeros(0, np.int32),
        )

    return Kernel(workload, (), NAME, depthwise_conv2d, height, 0, pack)
