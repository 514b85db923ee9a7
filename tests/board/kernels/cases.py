"""Random operators with their reference results, as cases for emulated.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from emulated import Case, conv_reference

from shufflec.kernels.kernel import Kernel, Workload


def _int8(rng, shape, extreme=False):
    return np.full(shape, -128, np.int8) if extreme else rng.integers(-128, 128, shape).astype(np.int8)


def requant_constants(rng, channels: int, peak: int, shift: int, fraction: int, bias: bool) -> dict:
    """Multipliers that spread the accumulators (peak: their usual magnitude) over the output range and beyond."""
    scale = 160.0 * (1 << fraction) * (1 << shift) * 32768 / max(peak, 1)
    multiplier = np.clip(np.round(scale * rng.uniform(0.3, 1.0, channels)), 1, 32767).astype(np.int16)
    return {
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
) -> Case:
    """A 1x1 convolution; depth and outputs are per group."""
    channels, in_channels = groups * outputs, groups * depth
    shift, fraction = int(rng.integers(3, 9)), int(rng.integers(4, 8))
    low = int(rng.integers(-127, 0)) if relu else -128
    weight = rng.integers(-127, 128, (channels, 1, 1, depth)).astype(np.int8)
    if full_range:
        weight[:] = -128
    peak = int(74 * 74 * np.sqrt(depth) * 2)
    constants = requant_constants(rng, channels, peak, shift, fraction, bias)
    constants |= {"weight": weight, "pad_value": np.zeros(in_channels, np.int8)}
    rule = {"shift": shift, "fraction": fraction, "clamp_min": low, "clamp_max": 127}
    x = _int8(rng, (height, width, in_channels), extreme)
    r = _int8(rng, (height, width, channels)) if residual else None
    attrs = rule | {"groups": groups, "stride": (1, 1), "pad": (0, 0, 0, 0), "shuffle_rows": rows}
    attrs["residual_multiplier"] = residual
    params = rule | {
        "height": height, "width": width, "in_channels": in_channels, "out_channels": channels, "groups": groups,
        "out_pitch": pitch or channels, "out_row": row or width, "residual_multiplier": residual,
        "accumulator_bias": bias, "shuffle_rows": rows,
    }  # fmt: skip
    if full_range:
        params["full_range_weights"] = True
    kernel = choose(Workload.of("conv2d", isa, **params))
    name = f"conv {height}x{width} g{groups} {depth}->{outputs}" + (f" rows {rows}" if rows > 1 else "")
    expected = conv_reference(constants, attrs, x, r)
    inputs = [x] if r is None else [x, r]
    return Case(name, kernel, constants, inputs, expected, pitch or channels, row or width, channel)
