"""Convolution, 1x1 or windowed, grouped or dense, with requantization, residual and shuffled write.

A tile is one output row. Per pixel, int32 sums of all output channels are collected in a local array, then
requantized in one loop over the channels. Where a group is deep, each sum is a dot product over contiguous bytes;
where it is shallow, one input value is multiplied with a row of weights, outputs along the lanes.
"""

from __future__ import annotations

import numpy as np
from tvm.script import tirx as T

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.portable.arithmetic import ARENA_ELEMENTS, finish, pack_requant, requantize

NAME = "portable-conv2d-2"
KIND = "conv2d"
DEEP_GROUP = 32  # input channels of a group from which a dot product along them fills vectors


def build(workload: Workload) -> Kernel:
    """The kernel of a conv2d workload. Weights are packed (C, KH, KW, I) or, where shallow, (G, KH, KW, I, C/G)."""
    p = dict(workload.params)
    kernel_h, kernel_w = p.get("kernel", (1, 1))
    stride_h, stride_w = p.get("stride", (1, 1))
    groups, height, width = p["groups"], p["height"], p["width"]
    in_width, channels = p.get("in_width", width), p["out_channels"]
    in_channels = p["in_channels"]
    depth, per_group = in_channels // groups, channels // groups
    deep = depth >= DEEP_GROUP
    residual_multiplier = p["residual_multiplier"]
    biased, has_residual = bool(p["accumulator_bias"]), residual_multiplier != 0
    own_shifts, rows = p.get("pre_shift", False), p["shuffle_rows"]
    columns = channels // rows
    shift, fraction, low, high = p["shift"], p["fraction"], p["clamp_min"], p["clamp_max"]
    out_row, out_pitch = p["out_row"], p["out_pitch"]
    group_weights = per_group * kernel_h * kernel_w * depth

    @T.prim_func(s_tir=True)
    def conv2d(
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
        W = T.decl_buffer((channels * kernel_h * kernel_w * depth,), "int8", data=weights)
        Q = T.decl_buffer(((3 if own_shifts else 2) * channels,), "int16", data=requant)
        B = T.decl_buffer((channels,), "int32", data=accumulators)
        acc = T.alloc_buffer((channels,), "int32", scope="local")
        for y in range(begin, end):
            for x in range(width):
                for c in range(channels):
                    acc[c] = B[c] if biased else 0
                for g, i, j in T.grid(groups, kernel_h, kernel_w):
                    tap = in0 + ((y * stride_h + i) * in_width + x * stride_w + j) * in_channels + g * depth
                    first = g * group_weights + (i * kernel_w + j) * depth
                    if deep:
                        for n in range(per_group):
                            for k in range(depth):
                                acc[g * per_group + n] = acc[g * per_group + n] + T.Cast("int32", A[tap + k]) * T.Cast(
                                    "int32", W[first + n * (kernel_h * kernel_w * depth) + k]
                                )
                    else:
                        for k in range(depth):
                            for n in range(per_group):
                                acc[g * per_group + n] = acc[g * per_group + n] + T.Cast("int32", A[tap + k]) * T.Cast(
                                    "int32", W[g * group_weights + ((i * kernel_w + j) * depth + k) * per_group + n]
                                )
                for r in range(rows):
                    for c in range(columns):
                        u = requantize(
                            acc[r * columns + c],
                            T.Cast("int32", Q[r * columns + c]),
                            T.Cast("int32", Q[channels + r * columns + c]),
                            shift,
                            T.Cast("int32", Q[2 * channels + r * columns + c]) if own_shifts else None,
                            T.Cast("int32", A[in1 + (y * width + x) * channels + r * columns + c])
                            if has_residual
                            else None,
                            residual_multiplier,
                        )
                        A[out + (y * out_row + x) * out_pitch + c * rows + r] = finish(u, fraction, low, high)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        weight = constants["weight"]
        if not deep:
            weight = weight.reshape(groups, per_group, kernel_h, kernel_w, depth).transpose(0, 2, 3, 4, 1)
        return Packed(
            np.ascontiguousarray(weight, np.int8).reshape(-1),
            pack_requant(constants),
            constants["accumulator_bias"].astype(np.int32) if biased else np.zeros(0, np.int32),
        )

    return Kernel(workload, (), NAME, conv2d, height, 0, pack)
