"""From an operator of the graph to the workload of its kernel: one small function a kind."""

from __future__ import annotations

import numpy as np

from shufflec.backends.pieces import JoinedPieces
from shufflec.ir.graph import Graph, Op
from shufflec.kernels.kernel import Workload

REQUANT = ("shift", "fraction", "clamp_min", "clamp_max")
WINDOWED = ("conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d", "stem_pool")
Shape = tuple[int, int, int]


def window(op: Op) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """(kernel, stride, pad) of a windowed operator."""
    kernel = op.attrs["kernel"] if "kernel" in op.attrs else op.constants["weight"].shape[1:3]
    return tuple(map(int, kernel)), tuple(op.attrs["stride"]), tuple(op.attrs["pad"])


def padded_shape(op: Op, shape: Shape) -> Shape:
    """Shape of an operator's input with its padding."""
    if op.kind not in WINDOWED:
        return shape
    top, left, bottom, right = window(op)[2]
    return shape[0] + top + bottom, shape[1] + left + right, shape[2]


def pad_fill(op: Op) -> int | None:
    """The byte that surrounds a windowed operator's input; None when each channel has its own."""
    if op.kind == "max_pool2d":
        return -128
    if op.kind == "avg_pool2d":
        return int(op.attrs["zero_point"])
    values = np.unique(op.constants["pad_value"])
    return int(values[0]) if len(values) == 1 else None


def pad_workload(isa: str, op: Op, shape: Shape) -> Workload:
    """The `pad` step in front of a windowed operator; shape: the unpadded input's."""
    height, width, channels = shape
    return Workload.of("pad", isa, height=height, width=width, channels=channels, pad=window(op)[2], value=pad_fill(op))


def copy_workload(isa: str, shape: Shape, out_pitch: int) -> Workload:
    """A copy into a slice of a concat."""
    height, width, channels = shape
    return Workload.of("copy", isa, height=height, width=width, channels=channels, out_pitch=out_pitch, out_row=width)


def quantize_workload(isa: str, op: Op, shape: Shape, pad: tuple[int, int, int, int]) -> Workload:
    """The input's quantization, which writes the border `pad` of the first convolution itself."""
    height, width, channels = shape
    scale = float(op.attrs["scale"]).hex()
    return Workload.of(
        "quantize", isa, height=height, width=width, channels=channels, scale=scale,
        zero_point=op.attrs["zero_point"], pad=pad,
    )  # fmt: skip


def dequantize_workload(isa: str, graph: Graph, op: Op) -> Workload:
    """The network's float32 output."""
    source = graph.tensors[op.inputs[0]]
    zero_point = op.attrs["zero_point"]
    return Workload.of("dequantize", isa, channels=source.shape[2], in_dtype=source.dtype, zero_point=zero_point)


def op_workload(isa: str, graph: Graph, op: Op, out_pitch: int) -> Workload:
    """The workload of an operator between quantize and dequantize, concat excepted.

    out_pitch: bytes from an output pixel to the next.
    """
    in_shape = graph.tensors[op.inputs[0]].shape
    out_shape = graph.tensors[op.output].shape
    params = _BUILDERS[op.kind](op, in_shape, out_shape)
    if op.kind not in ("global_avg_pool", "dense"):
        params |= {"out_pitch": out_pitch, "out_row": out_shape[1]}
    return Workload.of(op.kind, isa, **params)


def parts_workload(isa: str, graph: Graph, joined: JoinedPieces, pitches: tuple[int, ...]) -> Workload:
    """The workload of a convolution whose channels go to several tensors. pitches: out_pitch of each."""
    height, width, in_channels = graph.tensors[joined.op.inputs[0]].shape
    out_shape = (height, width, sum(joined.channels))
    params = _conv2d(joined.op, (height, width, in_channels), out_shape)
    params |= {"parts": tuple(zip(joined.channels, pitches, strict=True)), "out_pitch": out_shape[2], "out_row": width}
    return Workload.of("conv2d", isa, **params)


def unpadded(workload: Workload, op: Op) -> Workload:
    """A windowed operator's workload for a kernel that makes its border itself and reads the plain input."""
    params = dict(workload.params)
    top, left, bottom, right = pad = window(op)[2]
    params |= {"in_height": params["in_height"] - top - bottom, "in_width": params["in_width"] - left - right}
    return Workload.of(workload.kind, workload.isa, **params, pad=pad, fill=pad_fill(op))


def in_place(workload: Workload) -> Workload:
    """A convolution's workload for a kernel whose output lies where its residual is, each pixel over its own."""
    return Workload.of(workload.kind, workload.isa, **dict(workload.params), in_place=True)


def _requant(op: Op) -> dict:
    params = {name: op.attrs[name] for name in REQUANT}
    return params | {"pre_shift": True} if "pre_shift" in op.constants else params


def _has_accumulator_bias(op: Op) -> bool:
    return bool(np.any(op.constants["accumulator_bias"]))


def _full_range(op: Op) -> bool:
    """Whether a weight is -128: then two products of int8 may not fit an int16 lane."""
    return bool(np.any(op.constants["weight"] == -128))


def _windowed(op: Op, in_shape: Shape, out_shape: Shape) -> dict:
    kernel, stride, _ = window(op)
    in_height, in_width, _ = padded_shape(op, in_shape)
    return {
        "height": out_shape[0], "width": out_shape[1], "in_height": in_height, "in_width": in_width,
        "kernel": kernel, "stride": stride,
    }  # fmt: skip


def _conv2d(op: Op, in_shape: Shape, out_shape: Shape) -> dict:
    params = _windowed(op, in_shape, out_shape)
    if params["kernel"] == (1, 1) and params["stride"] == (1, 1) and not any(op.attrs["pad"]):
        params = {"height": out_shape[0], "width": out_shape[1]}
    residual = op.attrs.get("residual_multiplier", 0) if len(op.inputs) == 2 else 0
    return params | _requant(op) | {
        "in_channels": in_shape[2], "out_channels": out_shape[2], "groups": op.attrs["groups"],
        "residual_multiplier": residual, "accumulator_bias": _has_accumulator_bias(op),
        "shuffle_rows": op.attrs.get("shuffle_rows", 1), "full_range_weights": _full_range(op),
    }  # fmt: skip


def _stem_pool(op: Op, in_shape: Shape, out_shape: Shape) -> dict:
    params = _windowed(op, in_shape, out_shape) | _requant(op)
    sizes = zip((params["in_height"], params["in_width"]), params["kernel"], params["stride"], strict=True)
    mid_height, mid_width = ((size - kernel) // stride + 1 for size, kernel, stride in sizes)
    return params | {
        "in_channels": in_shape[2], "out_channels": out_shape[2], "mid_height": mid_height, "mid_width": mid_width,
        "pool_kernel": op.attrs["pool_kernel"], "pool_stride": op.attrs["pool_stride"],
        "pool_pad": op.attrs["pool_pad"], "accumulator_bias": _has_accumulator_bias(op),
        "full_range_weights": _full_range(op),
    }  # fmt: skip


def _depthwise(op: Op, in_shape: Shape, out_shape: Shape) -> dict:
    params = _windowed(op, in_shape, out_shape) | _requant(op)
    return params | {
        "channels": out_shape[2], "accumulator_bias": _has_accumulator_bias(op), "full_range_weights": _full_range(op),
    }  # fmt: skip


def _max_pool(op: Op, in_shape: Shape, out_shape: Shape) -> dict:
    return _windowed(op, in_shape, out_shape) | {"channels": out_shape[2]}


def _avg_pool(op: Op, in_shape: Shape, out_shape: Shape) -> dict:
    table = np.unique(op.constants["multiplier"])
    names = ("zero_point", "out_zero_point", "fraction", "clamp_min", "clamp_max")
    uniform = int(table[0]) if len(table) == 1 else 0
    return (
        _windowed(op, in_shape, out_shape)
        | {name: op.attrs[name] for name in names}
        | {"channels": out_shape[2], "uniform_multiplier": uniform}
    )


def _global_avg_pool(op: Op, in_shape: Shape, out_shape: Shape) -> dict:
    # All channels share them, so they are part of the code; pre_shift is an amount here.
    values = {name: int(value[0]) for name, value in op.constants.items()}
    height, width, channels = in_shape
    plane = {"height": height, "width": width, "channels": channels, "zero_point": op.attrs["zero_point"]}
    return plane | _requant(op) | values


def _dense(op: Op, in_shape: Shape, out_shape: Shape) -> dict:
    return {"in_channels": int(np.prod(in_shape)), "out_channels": out_shape[2], "full_range_weights": _full_range(op)}


def _weighted_sum(op: Op, in_shape: Shape, out_shape: Shape) -> dict:
    names = ("multipliers", "bias", "fraction", "clamp_min", "clamp_max")
    height, width, channels = out_shape
    return {"height": height, "width": width, "channels": channels} | {name: op.attrs[name] for name in names}


def _channel_shuffle(op: Op, in_shape: Shape, out_shape: Shape) -> dict:
    height, width, channels = out_shape
    return {"height": height, "width": width, "channels": channels, "rows": op.attrs["rows"]}


def _channel_slice(op: Op, in_shape: Shape, out_shape: Shape) -> dict:
    height, width, channels = out_shape
    taken = {"begin": op.attrs["begin"], "in_channels": in_shape[2]}
    return {"height": height, "width": width, "channels": channels} | taken


_BUILDERS = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise,
    "max_pool2d": _max_pool,
    "stem_pool": _stem_pool,
    "avg_pool2d": _avg_pool,
    "global_avg_pool": _global_avg_pool,
    "dense": _dense,
    "add": _weighted_sum,
    "requantize": _weighted_sum,
    "channel_slice": _channel_slice,
    "channel_shuffle": _channel_shuffle,
}
