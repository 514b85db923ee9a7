"""Random operators with their reference results, as cases for emulated.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from emulated import Case, conv_reference

from shufflec.ir import reference
from shufflec.ir.graph import Op
from shufflec.kernels.kernel import Kernel, Workload


def _int8(rng, shape, extreme=False):
    return np.full(shape, -128, np.int8) if extreme else rng.integers(-128, 128, shape).astype(np.int8)


def requant_constants(
    rng, channels: int, peak: int, shift: int, fraction: int, bias: bool, pre_shift: bool = False
) -> dict:
    """Multipliers that spread the accumulators (peak: their usual magnitude) over the output range and beyond."""
    scale = 160.0 * (1 << fraction) * (1 << shift) * 32768 / max(peak, 1)
    multiplier = np.clip(np.round(scale * rng.uniform(0.3, 1.0, channels)), 1, 32767).astype(np.int16)
    own = {"pre_shift": rng.integers(0, 16, channels).astype(np.int8)} if pre_shift else {}
    return own | {
        "multiplier": multiplier,
        "bias": rng.integers(-60 << fraction, 60 << fraction, channels).astype(np.int16),
        "accumulator_bias": (rng.integers(-peak, peak + 1, channels) * bias).astype(np.int32),
    }


def conv_case(
    rng: np.random.Generator,
    choose: Callable[[Workload], Kernel],
    isa: str,
    height: int,
    width: int,
    groups: int,
    depth: int,
    outputs: int,
    *,
    rows: int = 1,
    residual: int = 0,
    bias: bool = False,
    relu: bool = False,
    pitch: int = 0,
    channel: int = 0,
    row: int = 0,
    full_range: bool = False,
    extreme: bool = False,
    pre_shift: bool = False,
    largest: int = 127,
    weight_value: int | None = None,
) -> Case:
    """A 1x1 convolution; depth and outputs are per group. largest: weight; weight_value: of all of them."""
    channels, in_channels = groups * outputs, groups * depth
    shift, fraction = int(rng.integers(3, 9)), int(rng.integers(4, 8))
    low = int(rng.integers(-127, 0)) if relu else -128
    weight = rng.integers(-largest, largest + 1, (channels, 1, 1, depth)).astype(np.int8)
    if full_range:
        weight[:] = -128
    if weight_value is not None:
        weight[:] = weight_value
    peak = int(74 * 74 * np.sqrt(depth) * 2)
    constants = requant_constants(rng, channels, peak, shift, fraction, bias, pre_shift)
    constants |= {"weight": weight, "pad_value": np.zeros(in_channels, np.int8)}
    rule = {"shift": shift, "fraction": fraction, "clamp_min": low, "clamp_max": 127}
    x = _int8(rng, (height, width, in_channels), extreme)
    r = _int8(rng, (height, width, channels)) if residual else None
    attrs = rule | {"groups": groups, "stride": (1, 1), "pad": (0, 0, 0, 0), "shuffle_rows": rows}
    attrs["residual_multiplier"] = residual
    params = rule | {
        "height": height, "width": width, "in_channels": in_channels, "out_channels": channels, "groups": groups,
        "out_pitch": pitch or channels, "out_row": row or width, "residual_multiplier": residual,
        "accumulator_bias": bias, "shuffle_rows": rows, "full_range_weights": full_range, "pre_shift": pre_shift,
    }  # fmt: skip
    kernel = choose(Workload.of("conv2d", isa, **params))
    name = f"conv {height}x{width} g{groups} {depth}->{outputs}" + (f" rows {rows}" if rows > 1 else "")
    expected = conv_reference(constants, attrs, x, r)
    inputs = [x] if r is None else [x, r]
    return Case(name, kernel, constants, inputs, expected, pitch or channels, row or width, channel)


def stem_case(
    rng, choose, isa: str, size: int, outputs: int, *, bias=False, extreme=False, full_range=False, pre_shift=False
) -> Case:
    """The 3x3 stride 2 convolution over three channels, on a padded input."""
    shift, fraction = 5, 6
    weight = rng.integers(-127, 128, (outputs, 3, 3, 3)).astype(np.int8)
    if full_range:
        weight[:] = -128
    constants = requant_constants(rng, outputs, 74 * 74 * 10, shift, fraction, bias, pre_shift)
    constants |= {"weight": weight, "pad_value": np.zeros(3, np.int8)}
    rule = {"shift": shift, "fraction": fraction, "clamp_min": -100, "clamp_max": 127}
    x = _int8(rng, (2 * size + 1, 2 * size + 1, 3), extreme)
    attrs = rule | {"groups": 1, "stride": (2, 2), "pad": (0, 0, 0, 0), "shuffle_rows": 1}
    params = rule | {
        "height": size, "width": size, "in_height": 2 * size + 1, "in_width": 2 * size + 1, "kernel": (3, 3),
        "stride": (2, 2), "in_channels": 3, "out_channels": outputs, "groups": 1, "out_pitch": outputs,
        "out_row": size, "residual_multiplier": 0, "accumulator_bias": bias, "shuffle_rows": 1,
        "full_range_weights": full_range, "pre_shift": pre_shift,
    }  # fmt: skip
    kernel = choose(Workload.of("conv2d", isa, **params))
    return Case(f"stem {size} {outputs}", kernel, constants, [x], conv_reference(constants, attrs, x))


def stem_pool_case(
    rng, choose, isa: str, middle: tuple[int, int], outputs: int, *, depth=3, pool_pad=(1, 1, 1, 1), bias=False,
    extreme=False, full_range=False, pre_shift=False, pitch=0, channel=0,
) -> Case:  # fmt: skip
    """The 3x3 stride 2 convolution, of a plane `middle`, and the 3x3 stride 2 max pool behind it."""
    weight = rng.integers(-127, 128, (outputs, 3, 3, depth)).astype(np.int8)
    if full_range:
        weight[:] = -128
    rule = {"shift": 3, "fraction": 5, "clamp_min": -100, "clamp_max": 127}
    constants = requant_constants(rng, outputs, 74 * 74 * 10, rule["shift"], rule["fraction"], bias, pre_shift)
    constants |= {"weight": weight, "pad_value": np.zeros(depth, np.int8)}
    pool = {"pool_kernel": (3, 3), "pool_stride": (2, 2), "pool_pad": pool_pad}
    attrs = rule | pool | {"groups": 1, "stride": (2, 2), "pad": (0, 0, 0, 0), "shuffle_rows": 1}
    x = _int8(rng, (2 * middle[0] + 1, 2 * middle[1] + 1, depth), extreme)
    expected = reference.stem_pool(Op("stem_pool", "case", ("x",), "y", attrs, constants), x)
    height, width, _ = expected.shape
    params = rule | pool | {
        "height": height, "width": width, "mid_height": middle[0], "mid_width": middle[1], "in_height": x.shape[0],
        "in_width": x.shape[1], "kernel": (3, 3), "stride": (2, 2), "in_channels": depth, "out_channels": outputs,
        "out_pitch": pitch or outputs, "out_row": width, "accumulator_bias": bias, "full_range_weights": full_range,
    } | ({"pre_shift": True} if pre_shift else {})  # fmt: skip
    kernel = choose(Workload.of("stem_pool", isa, **params))
    return Case(f"stem_pool {middle} {outputs}", kernel, constants, [x], expected, pitch, width, channel)


def depthwise_case(
    rng, choose, isa: str, height: int, width: int, channels: int, stride: int, *, bias=False, extreme=False,
    full_range=False, pre_shift=False, row: int = 0,
) -> Case:  # fmt: skip
    """A 3x3 depthwise convolution on a padded input; height and width are the output's."""
    shift, fraction = int(rng.integers(2, 7)), int(rng.integers(4, 8))
    weight = rng.integers(-127, 128, (channels, 3, 3)).astype(np.int8)
    if full_range:
        weight[:] = -128
    constants = requant_constants(rng, channels, 74 * 74 * 6, shift, fraction, bias, pre_shift)
    constants |= {"weight": weight, "pad_value": np.zeros(channels, np.int8)}
    rule = {"shift": shift, "fraction": fraction, "clamp_min": -128, "clamp_max": 127}
    in_height, in_width = (height - 1) * stride + 3, (width - 1) * stride + 3
    x = _int8(rng, (in_height, in_width, channels), extreme)
    attrs = rule | {"stride": (stride, stride), "pad": (0, 0, 0, 0)}
    expected = reference.depthwise_conv2d(Op("depthwise_conv2d", "case", ("x",), "y", attrs, constants), x)
    params = rule | {
        "height": height, "width": width, "in_height": in_height, "in_width": in_width, "kernel": (3, 3),
        "stride": (stride, stride), "channels": channels, "out_pitch": channels, "out_row": row or width,
        "accumulator_bias": bias, "full_range_weights": full_range, "pre_shift": pre_shift,
    }  # fmt: skip
    kernel = choose(Workload.of("depthwise_conv2d", isa, **params))
    return Case(f"depthwise {height}x{width}x{channels}/{stride}", kernel, constants, [x], expected, row=row)


def pool_case(
    rng, choose, isa: str, kind: str, height: int, width: int, channels: int, *, uniform=True, pitch=0, channel=0
) -> Case:
    """A 3x3 stride 2 pool on a padded input."""
    in_height, in_width = 2 * height + 1, 2 * width + 1
    x = _int8(rng, (in_height, in_width, channels))
    params = {
        "height": height, "width": width, "in_height": in_height, "in_width": in_width, "kernel": (3, 3),
        "stride": (2, 2), "channels": channels, "out_pitch": pitch or channels, "out_row": width,
    }  # fmt: skip
    attrs = {"kernel": (3, 3), "stride": (2, 2), "pad": (0, 0, 0, 0)}
    constants = {}
    if kind == "avg_pool2d":
        rule = {"zero_point": 7, "out_zero_point": -9, "fraction": 5, "clamp_min": -128, "clamp_max": 120}
        table = np.full((height, width), 14000) if uniform else rng.integers(9000, 30000, (height, width))
        constants["multiplier"] = table.astype(np.int16)
        attrs |= rule
        params |= rule | {"uniform_multiplier": 14000 if uniform else 0}
    expected = reference.KERNELS[kind](Op(kind, "case", ("x",), "y", attrs, constants), x)
    kernel = choose(Workload.of(kind, isa, **params))
    return Case(f"{kind} {height}x{width}x{channels}", kernel, constants, [x], expected, pitch, width, channel)


def global_pool_case(rng, choose, isa: str, height: int, width: int, channels: int) -> Case:
    """The average over the plane."""
    pixels = height * width
    shift, fraction = 4, 6
    multiplier = min(32767, int(1.5 * (1 << fraction) * (1 << shift) * 32768 / pixels))
    rule = {"shift": shift, "fraction": fraction, "clamp_min": -128, "clamp_max": 127, "zero_point": -11}
    values = {"multiplier": multiplier, "bias": -700, "accumulator_bias": 35}
    dtypes = {"multiplier": np.int16, "bias": np.int16, "accumulator_bias": np.int32}
    constants = {name: np.array([value], dtypes[name]) for name, value in values.items()}
    x = _int8(rng, (height, width, channels))
    expected = reference.global_avg_pool(Op("global_avg_pool", "case", ("x",), "y", rule, constants), x)
    params = rule | values | {"height": height, "width": width, "channels": channels}
    kernel = choose(Workload.of("global_avg_pool", isa, **params))
    return Case(f"global_avg_pool {height}x{width}x{channels}", kernel, constants, [x], expected)


def dense_case(rng, choose, isa: str, depth: int, outputs: int, *, full_range=False, extreme=False) -> Case:
    """The classifier; its output is int32 in the arena."""
    weight = rng.integers(-127, 128, (outputs, depth)).astype(np.int8)
    if full_range:
        weight[:] = -128
    constants = {"weight": weight, "accumulator_bias": rng.integers(-9999, 9999, outputs).astype(np.int32)}
    x = _int8(rng, (1, 1, depth), extreme)
    expected = reference.dense(Op("dense", "case", ("x",), "y", {}, constants), x)
    params = {"in_channels": depth, "out_channels": outputs, "full_range_weights": full_range}
    kernel = choose(Workload.of("dense", isa, **params))
    expected = expected.reshape(1, 1, -1).view(np.int8)
    return Case(f"dense {depth}->{outputs}", kernel, constants, [x], expected)


def quantize_case(rng, choose, isa: str, height: int, width: int, zero_point: int, pad: tuple) -> Case:
    """The input's quantization into a bordered plane, with values far out of range."""
    x = (rng.normal(0, 1.5, (1, 3, height, width)) * 10.0 ** rng.integers(-3, 4, (1, 3, height, 1))).astype(np.float32)
    scale = 0.0173
    x[0, 0, 0, :8] = (np.arange(8) - 3.5) * np.float32(scale)  # ties
    attrs = {"scale": scale, "zero_point": zero_point}
    inner = reference.quantize(Op("quantize", "case", ("x",), "y", attrs), x)
    top, left, bottom, right = pad
    expected = np.pad(inner, ((top, bottom), (left, right), (0, 0)), constant_values=zero_point)
    params = {
        "height": height,
        "width": width,
        "channels": 3,
        "scale": scale.hex(),
        "zero_point": zero_point,
        "pad": pad,
    }
    kernel = choose(Workload.of("quantize", isa, **params))
    return Case(f"quantize {height}x{width}", kernel, {}, [], expected, weights=x.reshape(-1).view(np.int8))


def pad_case(rng, choose, isa: str, height: int, width: int, channels: int, pad: tuple, value: int | None) -> Case:
    """A border of one byte, or of one byte a channel."""
    fill = rng.integers(-128, 128, channels).astype(np.int8) if value is None else np.full(channels, value, np.int8)
    x = _int8(rng, (height, width, channels))
    top, left, bottom, right = pad
    expected = np.empty((top + height + bottom, left + width + right, channels), np.int8)
    expected[:] = fill
    expected[top : top + height, left : left + width] = x
    params = {"height": height, "width": width, "channels": channels, "pad": pad, "value": value}
    kernel = choose(Workload.of("pad", isa, **params))
    return Case(f"pad {height}x{width}x{channels}", kernel, {"pad_value": fill}, [x], expected)


def copy_case(rng, choose, isa: str, height: int, width: int, channels: int, *, rows=1, pitch=0, channel=0) -> Case:
    """`copy` (rows 1) or `channel_shuffle`."""
    x = _int8(rng, (height, width, channels))
    op = Op("channel_shuffle", "case", ("x",), "y", {"rows": rows})
    params = {"height": height, "width": width, "channels": channels, "out_pitch": pitch or channels, "out_row": width}
    if rows > 1:
        params["rows"] = rows
    kernel = choose(Workload.of("channel_shuffle" if rows > 1 else "copy", isa, **params))
    expected = reference.channel_shuffle(op, x)
    return Case(f"copy {height}x{width}x{channels} rows {rows}", kernel, {}, [x], expected, pitch, width, channel)


def sum_case(rng, choose, isa: str, height: int, width: int, channels: int, terms: int, *, pitch=0, channel=0) -> Case:
    """`requantize` (one term) or `add` (two)."""
    inputs = [_int8(rng, (height, width, channels)) for _ in range(terms)]
    rule = {"fraction": 6, "clamp_min": -120, "clamp_max": 127, "bias": -300}
    attrs = rule | {"multipliers": tuple(int(m) for m in rng.integers(3000, 20000, terms))}
    kind = "add" if terms == 2 else "requantize"
    expected = reference.weighted_sum(Op(kind, "case", ("a", "b")[:terms], "y", attrs), *inputs)
    params = attrs | {"height": height, "width": width, "channels": channels}
    kernel = choose(Workload.of(kind, isa, **params, out_pitch=pitch or channels, out_row=width))
    return Case(f"{kind} {height}x{width}x{channels}", kernel, {}, inputs, expected, pitch, width, channel)


def dequantize_case(rng, choose, isa: str, channels: int, dtype: str) -> Case:
    """The network's output."""
    limit = 128 if dtype == "int8" else 1 << 24
    x = rng.integers(-limit, limit, (1, 1, channels)).astype(dtype)
    constants = {"scale": rng.uniform(1e-4, 1e-2, channels).astype(np.float32)}
    zero_point = 5 if dtype == "int8" else 0
    op = Op("dequantize", "case", ("x",), "y", {"zero_point": zero_point}, constants)
    kernel = choose(Workload.of("dequantize", isa, channels=channels, in_dtype=dtype, zero_point=zero_point))
    expected = reference.dequantize(op, x)
    output = np.zeros(channels, np.float32).view(np.int8)
    return Case(f"dequantize {channels} {dtype}", kernel, constants, [x], expected, accumulators=output)
