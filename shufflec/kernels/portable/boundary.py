"""The network's boundary: float32 NCHW to a bordered int8 NHWC plane, and accumulators back to float32."""

from __future__ import annotations

import numpy as np
from tvm.script import tirx as T

from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.portable.arithmetic import ARENA_ELEMENTS

NAME = "portable-boundary-1"
KINDS = ("quantize", "dequantize")


def build(workload: Workload) -> Kernel:
    """The kernel of a quantize or dequantize workload."""
    return _quantize(workload) if workload.kind == "quantize" else _dequantize(workload)


def _quantize(workload: Workload) -> Kernel:
    """round half to even of x * float32(1 / scale), plus the zero point; `weights` is the input. A tile is a row."""
    p = dict(workload.params)
    top, left, bottom, right = p["pad"]
    height, width, channels, zero_point = p["height"], p["width"], p["channels"], p["zero_point"]
    inverse = float(np.float32(1.0) / np.float32(float.fromhex(p["scale"])))
    out_width = left + width + right

    @T.prim_func(s_tir=True)
    def quantize(
        arena: T.handle("int8"),
        weights: T.handle("float32"),
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
        X = T.decl_buffer((channels * height * width,), "float32", data=weights)
        for y in range(begin, end):
            if y < top or y >= top + height:
                for b in range(out_width * channels):
                    A[out + y * out_width * channels + b] = T.int8(zero_point)
            else:
                for b in range(left * channels):
                    A[out + y * out_width * channels + b] = T.int8(zero_point)
                for x, c in T.grid(width, channels):
                    scaled = T.nearbyint(X[(c * height + y - top) * width + x] * T.float32(inverse))
                    # min before max: a NaN takes the low end instead of an undefined conversion.
                    A[out + (y * out_width + left + x) * channels + c] = T.Cast(
                        "int8",
                        T.max(T.min(scaled + T.float32(zero_point), T.float32(127)), T.float32(-128)),
                    )
                for b in range(right * channels):
                    A[out + (y * out_width + left + width) * channels + b] = T.int8(zero_point)

    return Kernel(workload, (), NAME, quantize, top + height + bottom, 0, lambda constants: Packed())


def _dequantize(workload: Workload) -> Kernel:
    """(x - zero_point) * scale[c]; `weights` holds the float32 scales, `accumulators` is the output. One tile."""
    p = dict(workload.params)
    channels, zero_point, in_dtype = p["channels"], p["zero_point"], p["in_dtype"]
    item = 4 if in_dtype == "int32" else 1

    @T.prim_func(s_tir=True)
    def dequantize(
        arena: T.handle("int8"),
        weights: T.handle("float32"),
        requant: T.handle("int16"),
        accumulators: T.handle("float32"),
        in0: T.int32,
        in1: T.int32,
        out: T.int32,
        scratch: T.int32,
        begin: T.int32,
        end: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        A = T.decl_buffer((ARENA_ELEMENTS // item,), in_dtype, data=arena)
        S = T.decl_buffer((channels,), "float32", data=weights)
        Y = T.decl_buffer((channels,), "float32", data=accumulators)
        for _ in range(begin, end):
            for c in range(channels):
                Y[c] = T.Cast("float32", T.Cast("int32", A[T.truncdiv(in0, item) + c]) - zero_point) * S[c]

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        scale = np.broadcast_to(np.asarray(constants["scale"], np.float32), (channels,))
        return Packed(weights=np.ascontiguousarray(scale).view(np.int8))

    return Kernel(workload, (), NAME, dequantize, 1, 0, pack)
