"""Kernels that only move bytes: pad, copy into a slice of a concat, channel_slice, channel_shuffle; a tile is a row."""

from __future__ import annotations

import numpy as np
from tvm.script import tirx as T

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.portable.arithmetic import ARENA_ELEMENTS

NAME = "portable-movement-1"
KINDS = ("pad", "copy", "channel_slice", "channel_shuffle")


def build(workload: Workload) -> Kernel:
    """The kernel of a workload of KINDS."""
    return _pad(workload) if workload.kind == "pad" else _copy(workload)


def _pad(workload: Workload) -> Kernel:
    """Writes the input with a border of `value`, or of one byte a channel from `weights`; a tile is an output row."""
    p = dict(workload.params)
    top, left, bottom, right = p["pad"]
    height, width, channels = p["height"], p["width"], p["channels"]
    per_channel = p["value"] is None
    value = 0 if per_channel else p["value"]
    out_width = left + width + right

    @T.prim_func(s_tir=True)
    def pad(
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
        F = T.decl_buffer((channels,), "int8", data=weights)
        for y in range(begin, end):
            if y < top or y >= top + height:
                for x, c in T.grid(out_width, channels):
                    A[out + (y * out_width + x) * channels + c] = F[c] if per_channel else T.int8(value)
            else:
                for x, c in T.grid(left, channels):
                    A[out + (y * out_width + x) * channels + c] = F[c] if per_channel else T.int8(value)
                for b in range(width * channels):
                    A[out + (y * out_width + left) * channels + b] = A[in0 + (y - top) * width * channels + b]
                for x, c in T.grid(right, channels):
                    A[out + (y * out_width + left + width + x) * channels + c] = F[c] if per_channel else T.int8(value)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        return Packed(weights=constants["pad_value"].astype(np.int8)) if per_channel else Packed()

    return Kernel(workload, (), NAME, pad, top + height + bottom, 0, pack)


def _copy(workload: Workload) -> Kernel:
    """Copies pixels into a buffer of another pitch; with `rows` above 1 the channels are shuffled on the way.

    channel_slice reads the channels from `begin` on of pixels of `in_channels`.
    """
    p = dict(workload.params)
    height, width, channels = p["height"], p["width"], p["channels"]
    out_row, out_pitch, rows = p["out_row"], p["out_pitch"], p.get("rows", 1)
    columns = channels // rows
    in_channels, first = p.get("in_channels", channels), p.get("begin", 0)

    @T.prim_func(s_tir=True)
    def copy(
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
        for y in range(begin, end):
            for x, r, c in T.grid(width, rows, columns):
                A[out + (y * out_row + x) * out_pitch + c * rows + r] = A[
                    in0 + (y * width + x) * in_channels + first + r * columns + c
                ]

    return Kernel(workload, (), NAME, copy, height, 0, lambda constants: Packed())
