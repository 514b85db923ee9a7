"""NumPy integer reference: defines every operator of the integer graph, bit for bit.

Compiled code equals this on every target and schedule. int64 is used throughout so that nothing wraps; the
saturations are explicit. numerics.py explains the rounding rule a64-q15, numerics_m.py m-q31 (reference_m.py).
"""

from __future__ import annotations

import numpy as np

from shufflec.ir import reference_m
from shufflec.ir.graph import Graph, Op, shuffle_destination


def sat32(v: np.ndarray) -> np.ndarray:
    """Saturates to int32."""
    return np.clip(v, -(2**31), 2**31 - 1)


def sat16(v: np.ndarray) -> np.ndarray:
    """Saturates to int16."""
    return np.clip(v, -32768, 32767)


def sat8(v: np.ndarray) -> np.ndarray:
    """Saturates to int8."""
    return np.clip(v, -128, 127)


def rounding_shift(v: np.ndarray, shift: int) -> np.ndarray:
    """(v + 2^(shift-1)) >> shift: arithmetic shift right, ties up."""
    return (v + (1 << (shift - 1))) >> shift


def sqrdmulh(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """SQRDMULH on int16 values: sat16((2ab + 2^15) >> 16)."""
    return sat16((2 * np.asarray(a, np.int64) * np.asarray(b, np.int64) + (1 << 15)) >> 16)


def _finish(u: np.ndarray, attrs: dict) -> np.ndarray:
    y = sat8(rounding_shift(u, attrs["fraction"]))
    return np.clip(y, attrs["clamp_min"], attrs["clamp_max"]).astype(np.int8)


def _requant(acc: np.ndarray, op: Op, residual: np.ndarray | None) -> np.ndarray:
    if reference_m.uses_m_rule(op):
        return reference_m.requant(acc, op, residual)
    acc = acc + op.constants["accumulator_bias"].astype(np.int64)
    if "pre_shift" in op.constants:
        acc = sat32(acc << op.constants["pre_shift"].astype(np.int64))
    t = sat16(rounding_shift(acc, op.attrs["shift"]))
    u = sqrdmulh(t, op.constants["multiplier"])
    u = sat16(u + op.constants["bias"].astype(np.int64))
    if residual is not None:
        u = sat16(u + sqrdmulh(residual.astype(np.int64) << 8, op.attrs["residual_multiplier"]))
    return _finish(u, op.attrs)


def _padded(x: np.ndarray, pad: tuple[int, int, int, int], value: np.ndarray | int) -> np.ndarray:
    top, left, bottom, right = pad
    height, width, channels = x.shape
    out = np.empty((height + top + bottom, width + left + right, channels), np.int64)
    out[:] = value
    out[top : top + height, left : left + width] = x
    return out


def _windows(x: np.ndarray, kernel: tuple[int, int], stride: tuple[int, int]) -> list[tuple[int, int, np.ndarray]]:
    """Every tap (i, j) of the window with the strided view (Ho, Wo, C) of the padded input that it sees."""
    out_h = (x.shape[0] - kernel[0]) // stride[0] + 1
    out_w = (x.shape[1] - kernel[1]) // stride[1] + 1
    return [
        (i, j, x[i : i + stride[0] * (out_h - 1) + 1 : stride[0], j : j + stride[1] * (out_w - 1) + 1 : stride[1]])
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]


def conv2d(op: Op, x: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray:
    """Grouped convolution with requantization, optional residual and optional shuffled write. int8 (Ho, Wo, C)."""
    weight, groups = op.constants["weight"], op.attrs["groups"]
    channels, kernel_h, kernel_w, depth = weight.shape
    padded = _padded(x, op.attrs["pad"], op.constants["pad_value"])
    acc = None
    per_group = channels // groups
    # float64 products of int8 sums stay below 2^53, so BLAS is exact here and far faster than int64 loops.
    w = weight.astype(np.float64).reshape(groups, per_group, kernel_h, kernel_w, depth)
    for i, j, view in _windows(padded, (kernel_h, kernel_w), op.attrs["stride"]):
        height, width, _ = view.shape
        rows = view.reshape(height * width, groups, depth).transpose(1, 0, 2).astype(np.float64)
        part = np.matmul(rows, w[:, :, i, j].transpose(0, 2, 1))
        acc = part if acc is None else acc + part
    acc = acc.transpose(1, 0, 2).reshape(height, width, channels).astype(np.int64)
    rows = op.attrs.get("shuffle_rows", 1)
    if rows == 1:
        return _requant(acc, op, residual)
    if residual is not None:
        raise ValueError("a shuffled write with a residual is not defined")
    y = _requant(acc, op, None)
    out = np.empty_like(y)
    out[..., shuffle_destination(channels, rows)] = y
    return out


def depthwise_conv2d(op: Op, x: np.ndarray) -> np.ndarray:
    """Depthwise convolution with requantization. int8 (Ho, Wo, C)."""
    weight = op.constants["weight"].astype(np.int64)
    padded = _padded(x, op.attrs["pad"], op.constants["pad_value"])
    acc = sum(view * weight[:, i, j] for i, j, view in _windows(padded, weight.shape[1:], op.attrs["stride"]))
    return _requant(acc, op, None)


def max_pool2d(op: Op, x: np.ndarray) -> np.ndarray:
    """Maximum over windows; padding never wins. int8 (Ho, Wo, C)."""
    padded = _padded(x, op.attrs["pad"], -128)
    views = [view for _, _, view in _windows(padded, op.attrs["kernel"], op.attrs["stride"])]
    return np.max(views, axis=0).astype(np.int8)


def stem_pool(op: Op, x: np.ndarray) -> np.ndarray:
    """conv2d and the max_pool2d behind it, which backends join (backends/fused_stem.py). int8 (Ho, Wo, C)."""
    pool = {name: op.attrs[f"pool_{name}"] for name in ("kernel", "stride", "pad")}
    return max_pool2d(Op("max_pool2d", op.name, op.inputs, op.output, pool), conv2d(op, x))


def avg_pool2d(op: Op, x: np.ndarray) -> np.ndarray:
    """Average over windows with a divisor table (padding counted or not). int8 (Ho, Wo, C)."""
    zero = op.attrs["zero_point"]
    padded = _padded(x, op.attrs["pad"], zero)
    total = sum(view - zero for _, _, view in _windows(padded, op.attrs["kernel"], op.attrs["stride"]))
    if reference_m.uses_m_rule(op):
        return reference_m.average(total, op)
    u = sqrdmulh(total << 3, op.constants["multiplier"].astype(np.int64)[..., None])
    return _finish(sat16(u + (op.attrs["out_zero_point"] << op.attrs["fraction"])), op.attrs)


def global_avg_pool(op: Op, x: np.ndarray) -> np.ndarray:
    """Average over the whole plane. int8 (1, 1, C)."""
    total = (x.astype(np.int64) - op.attrs["zero_point"]).sum(axis=(0, 1), keepdims=True)
    return _requant(total, op, None)


def dense(op: Op, x: np.ndarray) -> np.ndarray:
    """Fully connected layer without requantization. int32 (1, 1, C)."""
    acc = op.constants["weight"].astype(np.int64) @ x.reshape(-1).astype(np.int64)
    return (acc + op.constants["accumulator_bias"]).astype(np.int32).reshape(1, 1, -1)


def weighted_sum(op: Op, *inputs: np.ndarray) -> np.ndarray:
    """`add` (two inputs) and `requantize` (one). int8, shape of the inputs."""
    if reference_m.uses_m_rule(op):
        return reference_m.weighted_sum(op, inputs)
    multipliers = op.attrs["multipliers"]
    u = sat16(sqrdmulh(inputs[0].astype(np.int64) << 8, multipliers[0]) + op.attrs["bias"])
    for value, multiplier in zip(inputs[1:], multipliers[1:], strict=True):
        u = sat16(u + sqrdmulh(value.astype(np.int64) << 8, multiplier))
    return _finish(u, op.attrs)


def concat(op: Op, *inputs: np.ndarray) -> np.ndarray:
    """Concatenation along the channels. int8."""
    return np.concatenate(inputs, axis=-1)


def channel_shuffle(op: Op, x: np.ndarray) -> np.ndarray:
    """The channel shuffle as a copy. int8."""
    out = np.empty_like(x)
    out[..., shuffle_destination(x.shape[-1], op.attrs["rows"])] = x
    return out


def channel_slice(op: Op, x: np.ndarray) -> np.ndarray:
    """`channels` channels from `begin` on. int8."""
    return x[..., op.attrs["begin"] : op.attrs["begin"] + op.attrs["channels"]]


def quantize(op: Op, x: np.ndarray) -> np.ndarray:
    """float32 (1, C, H, W) to int8 (H, W, C): round half to even of x * float32(1 / scale), plus the zero point."""
    inverse = np.float32(1.0) / np.float32(op.attrs["scale"])
    scaled = np.rint(x.astype(np.float32)[0].transpose(1, 2, 0) * inverse)
    return np.clip(scaled + np.float32(op.attrs["zero_point"]), -128, 127).astype(np.int8)


def dequantize(op: Op, x: np.ndarray) -> np.ndarray:
    """int32 or int8 (1, 1, C) to float32 (1, C)."""
    centred = x.reshape(1, -1).astype(np.int64) - op.attrs["zero_point"]
    return centred.astype(np.float32) * op.constants["scale"].astype(np.float32)


KERNELS = {
    "quantize": quantize,
    "conv2d": conv2d,
    "depthwise_conv2d": depthwise_conv2d,
    "max_pool2d": max_pool2d,
    "stem_pool": stem_pool,
    "avg_pool2d": avg_pool2d,
    "global_avg_pool": global_avg_pool,
    "dense": dense,
    "add": weighted_sum,
    "requantize": weighted_sum,
    "concat": concat,
    "channel_slice": channel_slice,
    "channel_shuffle": channel_shuffle,
    "dequantize": dequantize,
}


def execute(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    """Runs the graph on one input, float32 (1, C, H, W); returns every tensor by name.

    Raises ValueError when the input's shape is not the graph's.
    """
    expected = graph.tensors[graph.input].shape
    if tuple(x.shape) != tuple(expected):
        raise ValueError(f"input of shape {tuple(x.shape)}, expected {tuple(expected)}")
    values = {graph.input: np.asarray(x, np.float32)}
    for op in graph.ops:
        values[op.output] = KERNELS[op.kind](op, *(values[name] for name in op.inputs))
    return values


def predict(graph: Graph, x: np.ndarray) -> np.ndarray:
    """Logits float32 (1, classes) of one input, float32 (1, C, H, W)."""
    return execute(graph, x)[graph.output]
