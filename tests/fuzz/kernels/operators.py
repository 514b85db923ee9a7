"""Hypothesis strategies: one random operator of each kind, with inputs and constants up to the extremes.

Shapes are drawn one by one, so that a failure shrinks to the smallest; bytes come from a seeded generator and a
pattern.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from shufflec.ir.graph import Op

PATTERNS = ("random", "lowest", "highest", "extremes", "zero")
#: Of (inputs, weights): sums that cancel, and the largest of either sign.
TOGETHER = (
    ("random", "random"), ("lowest", "lowest"), ("random", "extremes"), ("highest", "lowest"), ("extremes", "lowest"),
    ("extremes", "extremes"), ("highest", "highest"), ("zero", "random"),
)  # fmt: skip
Draw = st.DrawFn


@dataclass(frozen=True)
class Operator:
    """op and its inputs as the reference takes them. slice_of: channels of the buffer that the output is a slice of.

    channel: first of the slice. margin: pixels of an output row beyond the width.
    """

    op: Op
    inputs: tuple[np.ndarray, ...]
    slice_of: int = 0
    channel: int = 0
    margin: int = 0
    extra: dict = field(default_factory=dict)


def filled(rng: np.random.Generator, shape: tuple[int, ...], pattern: str, low: int = -128) -> np.ndarray:
    """int8 values by pattern; low: the least."""
    if pattern == "random":
        return rng.integers(low, 128, shape).astype(np.int8)
    if pattern == "extremes":
        return rng.choice(np.array([low, 127], np.int8), shape)
    return np.full(shape, {"lowest": low, "highest": 127, "zero": 0}[pattern], np.int8)


def _rng(draw: Draw) -> np.random.Generator:
    return np.random.default_rng(draw(st.integers(0, 2**16)))


def _rule(draw: Draw, calm: bool = False) -> dict[str, int]:
    low = draw(st.sampled_from([-128, -128, -100] if calm else [-128, -128, -100, 0, 127]))
    high = draw(st.sampled_from([127, 127, max(low, 90)]))
    return {"fraction": draw(st.integers(1, 7)), "clamp_min": low, "clamp_max": high}


def requant(draw: Draw, rng: np.random.Generator, channels: int, taps: int) -> tuple[dict, dict]:
    """(attributes, constants) of the rounding rule. taps: products of one output.

    Mostly such that results lie all over the output's range, where a wrong sum shows; else anything that is legal, up
    to the extremes, where most results are the same.
    """
    calm = draw(st.integers(0, 3)) > 0
    rule = _rule(draw, calm)
    usual = 160.0 * 2.0 ** (rule["fraction"] + 15) / (74 * 74 * 2 * np.sqrt(taps))  # multiplier at a shift of 0
    most = int(np.clip(np.log2(32767 / usual), 1, 16))
    shift = draw(st.integers(max(1, most - 3), most) if calm else st.integers(1, 16))

    def chosen(ways: dict, *extreme: str):
        return ways[draw(st.sampled_from(["usual"] if calm else ["usual", *extreme]))]()

    multiplier = {
        "usual": lambda: np.clip(usual * 2.0**shift * rng.uniform(0.3, 1.0, channels), 0, 32767),
        "any": lambda: rng.integers(0, 32768, channels),
        "greatest": lambda: np.full(channels, 32767),
        "least": lambda: np.zeros(channels),
    }
    bias = {
        "usual": lambda: rng.integers(-60, 60, channels) << rule["fraction"],
        "any": lambda: rng.integers(-32768, 32768, channels),
        "extremes": lambda: rng.choice([-32768, 32767], channels),
    }
    accumulator_bias = {
        "usual": lambda: rng.integers(-(2**14), 2**14, channels),
        "extremes": lambda: rng.choice([-(2**30), 2**30], channels),
    }
    has_bias = draw(st.booleans())
    constants = {
        "multiplier": chosen(multiplier, "any", "greatest", "least").astype(np.int16),
        "bias": chosen(bias, "any", "extremes").astype(np.int16),
        "accumulator_bias": (chosen(accumulator_bias, "extremes") * has_bias).astype(np.int32),
    }
    if draw(st.integers(0, 2)) == 2:
        constants["pre_shift"] = rng.integers(0, 4 if calm else 16, channels).astype(np.int8)
    return {"shift": shift} | rule, constants


def _values(draw: Draw, rng: np.random.Generator, inputs: tuple, weights: tuple) -> tuple[np.ndarray, np.ndarray]:
    """(input, weights) of those shapes."""
    patterns = draw(st.sampled_from(TOGETHER))
    low = draw(st.sampled_from([-127, -128]))  # the quantizer never makes -128; a foreign model may
    return filled(rng, inputs, patterns[0]), filled(rng, weights, patterns[1], low)


def _channels(draw: Draw, most: int = 70) -> int:
    """Around the sizes of registers, or any."""
    return draw(st.one_of(st.integers(1, most), st.integers(1, 17), st.sampled_from([16, 24, 32, 40, 60])))


def _slice(draw: Draw, channels: int) -> dict[str, int]:
    """Where the output lies: mostly alone, or a slice of a concat, or in rows with a margin."""
    before, after = draw(st.sampled_from([(0, 0), (0, 0), (0, 5), (24, 0), (13, 40)]))
    margin = draw(st.sampled_from([0, 2]))
    return {"slice_of": before + channels + after, "channel": before, "margin": margin}


def _plane(draw: Draw, most: int = 9) -> tuple[int, int]:
    return draw(st.integers(1, most)), draw(st.integers(1, most))


def _input(draw: Draw, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return filled(rng, shape, draw(st.sampled_from(["random", *PATTERNS])))


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


@st.composite
def pointwise(draw: Draw) -> Operator:
    """1x1 convolution: grouped, with shuffled write or residual."""
    rng = _rng(draw)
    groups = draw(st.sampled_from([1, 2, 3, 4, 8, 5]))
    depth = draw(st.one_of(st.integers(1, 64), st.sampled_from([80, 96, 120, 160, 192, 240, 321, 384, 720])))
    outputs = draw(st.one_of(st.integers(1, 40), st.sampled_from([12, 24, 48, 80, 96])))
    while groups * depth * outputs > 60_000:
        outputs = (outputs + 1) // 2
    height, width = _plane(draw)
    channels = groups * outputs
    x, weight = _values(draw, rng, (height, width, groups * depth), (channels, 1, 1, depth))
    attrs, constants = requant(draw, rng, channels, depth)
    constants |= {"weight": weight, "pad_value": np.zeros(groups * depth, np.int8)}
    inputs = (x,)
    rows = 1
    if draw(st.booleans()):
        rows = draw(st.sampled_from(_divisors(channels)))
    elif draw(st.booleans()):
        attrs["residual_multiplier"] = draw(st.sampled_from([1, 900, 9000, 32767]))
        inputs = (x, _input(draw, rng, (height, width, channels)))
    attrs |= {"groups": groups, "stride": (1, 1), "pad": (0, 0, 0, 0), "shuffle_rows": rows}
    op = Op("conv2d", "case", ("x", "residual")[: len(inputs)], "y", attrs, constants)
    return Operator(op, inputs, **_slice(draw, channels), extra={"in_place": draw(st.booleans())})


def _window(draw: Draw, kernels: list[tuple[int, int]]) -> tuple[tuple[int, int], dict]:
    """(input plane, attributes) of a windowed operator with at least one output."""
    kernel = draw(st.sampled_from(kernels))
    stride = draw(st.sampled_from([(1, 1), (2, 2), (2, 1), (1, 2)]))
    # Padding is below the window's size, as everywhere: each window sees an input.
    pad = tuple(draw(st.integers(0, min(2, side - 1))) for side in (*kernel, *kernel))
    outputs = _plane(draw, 8)
    plane = []
    for axis in (0, 1):
        size = (outputs[axis] - 1) * stride[axis] + kernel[axis] - pad[axis] - pad[axis + 2]
        plane.append(max(1, size + draw(st.integers(0, stride[axis] - 1))))
    return tuple(plane), {"kernel": kernel, "stride": stride, "pad": pad}


@st.composite
def stem(draw: Draw) -> Operator:
    """Convolution with a window over few channels."""
    rng = _rng(draw)
    plane, window = _window(draw, [(3, 3), (3, 3), (2, 2), (1, 3), (4, 1), (5, 5), (1, 1)])
    groups, depth = draw(st.sampled_from([(1, 3), (1, 3), (1, 1), (1, 5), (2, 4), (1, 17)]))
    outputs = draw(st.one_of(st.sampled_from([12, 24, 48]), st.integers(1, 30)))
    channels, kernel = groups * outputs, window.pop("kernel")
    attrs, constants = requant(draw, rng, channels, depth * kernel[0] * kernel[1])
    x, constants["weight"] = _values(draw, rng, (*plane, groups * depth), (channels, *kernel, depth))
    constants["pad_value"] = filled(rng, (groups * depth,), draw(st.sampled_from(PATTERNS)))
    attrs |= window | {"groups": groups, "shuffle_rows": draw(st.sampled_from([1, 1, _divisors(channels)[-1]]))}
    op = Op("conv2d", "case", ("x",), "y", attrs, constants)
    return Operator(op, (x,), **_slice(draw, channels))


@st.composite
def stem_pool(draw: Draw) -> Operator:
    """Convolution with a window over few channels and the 3x3 max pool of stride 2 behind it."""
    rng = _rng(draw)
    others = [((3, 3), 1), ((2, 2), 4), ((2, 2), 3), ((1, 3), 5), ((4, 1), 5), ((2, 2), 7)]
    kernel, depth = draw(st.sampled_from([((3, 3), 3)] * 4 + others))
    stride = draw(st.sampled_from([(2, 2), (2, 2), (1, 1), (2, 1), (1, 2)]))
    pool_pad = tuple(draw(st.integers(0, 1)) for _ in range(4))
    pooled = draw(st.integers(1, 5)), draw(st.one_of(st.integers(1, 12), st.sampled_from([32, 35, 64])))
    pad, plane = [0, 0, 0, 0], []
    for axis in (0, 1):
        middle = 2 * (pooled[axis] - 1) + 3 - pool_pad[axis] - pool_pad[axis + 2] + draw(st.integers(0, 1))
        whole = (middle - 1) * stride[axis] + kernel[axis]
        border = min(draw(st.integers(0, 2)), whole - 1, kernel[axis] - 1)
        side = draw(st.sampled_from([axis, axis + 2]))
        pad[side] = border
        plane.append(whole - border + draw(st.integers(0, stride[axis] - 1)))
    channels = draw(st.one_of(st.sampled_from([24, 24, 8, 16]), st.integers(8, 30)))
    attrs, constants = requant(draw, rng, channels, depth * kernel[0] * kernel[1])
    x, constants["weight"] = _values(draw, rng, (*plane, depth), (channels, *kernel, depth))
    constants["pad_value"] = filled(rng, (depth,), draw(st.sampled_from(PATTERNS)))
    attrs |= {"stride": stride, "pad": tuple(pad), "groups": 1, "shuffle_rows": 1}
    attrs |= {"pool_kernel": (3, 3), "pool_stride": (2, 2), "pool_pad": pool_pad}
    return Operator(Op("stem_pool", "case", ("x",), "y", attrs, constants), (x,), **_slice(draw, channels))


@st.composite
def depthwise(draw: Draw) -> Operator:
    """Depthwise convolution."""
    rng = _rng(draw)
    plane, window = _window(draw, [(3, 3), (3, 3), (3, 3), (2, 2), (1, 3), (3, 1), (5, 5)])
    channels, kernel = _channels(draw), window.pop("kernel")
    attrs, constants = requant(draw, rng, channels, kernel[0] * kernel[1])
    x, constants["weight"] = _values(draw, rng, (*plane, channels), (channels, *kernel))
    constants["pad_value"] = filled(rng, (channels,), draw(st.sampled_from(PATTERNS)))
    op = Op("depthwise_conv2d", "case", ("x",), "y", attrs | window, constants)
    return Operator(op, (x,), **_slice(draw, channels), extra={"unpadded": draw(st.booleans())})


@st.composite
def pool(draw: Draw) -> Operator:
    """Maximum or average over windows."""
    rng = _rng(draw)
    plane, attrs = _window(draw, [(3, 3), (3, 3), (2, 2), (1, 4), (4, 4)])
    channels, kind = _channels(draw), draw(st.sampled_from(["max_pool2d", "avg_pool2d"]))
    constants = {}
    if kind == "avg_pool2d":
        attrs |= _rule(draw) | {
            "zero_point": draw(st.sampled_from([-128, 127, 7])),
            "out_zero_point": draw(st.sampled_from([-128, 127, -9])),
        }
        shape = [
            (plane[i] + attrs["pad"][i] + attrs["pad"][i + 2] - attrs["kernel"][i]) // attrs["stride"][i] + 1
            for i in (0, 1)
        ]
        table = draw(st.sampled_from(["equal", "any", "greatest"]))
        values = {
            "equal": np.full(shape, 14000),
            "any": rng.integers(1, 32768, shape),
            "greatest": np.full(shape, 32767),
        }
        constants["multiplier"] = values[table].astype(np.int16)
    op = Op(kind, "case", ("x",), "y", attrs, constants)
    x = _input(draw, rng, (*plane, channels))
    return Operator(op, (x,), **_slice(draw, channels), extra={"unpadded": draw(st.booleans())})


@st.composite
def global_pool(draw: Draw) -> Operator:
    """The average over the plane."""
    rng = _rng(draw)
    height, width = draw(
        st.one_of(st.sampled_from([(7, 7), (17, 20), (15, 20), (32, 32)]), st.tuples(*[st.integers(1, 20)] * 2))
    )
    attrs, constants = requant(draw, rng, 1, height * width)
    attrs["zero_point"] = draw(st.sampled_from([-128, 127, -11]))
    op = Op("global_avg_pool", "case", ("x",), "y", attrs, constants)
    return Operator(op, (_input(draw, rng, (height, width, _channels(draw))),))


@st.composite
def dense(draw: Draw) -> Operator:
    """The classifier."""
    rng = _rng(draw)
    depth, outputs = draw(st.integers(1, 300)), _channels(draw)
    x, weight = _values(draw, rng, (1, 1, depth), (outputs, depth))
    bias = rng.choice([-(2**30), 2**30], outputs) if draw(st.booleans()) else rng.integers(-9999, 9999, outputs)
    constants = {"weight": weight, "accumulator_bias": bias.astype(np.int32)}
    return Operator(Op("dense", "case", ("x",), "y", {}, constants), (x,))


@st.composite
def weighted_sum(draw: Draw) -> Operator:
    """`add` or `requantize`."""
    rng = _rng(draw)
    terms, channels = draw(st.integers(1, 2)), _channels(draw)
    shape = (*_plane(draw), channels)
    multipliers = tuple(draw(st.sampled_from([0, 1, 3000, 16384, 32767])) for _ in range(terms))
    attrs = _rule(draw) | {"multipliers": multipliers, "bias": draw(st.sampled_from([-32768, 32767, 0, -300]))}
    op = Op("add" if terms == 2 else "requantize", "case", ("a", "b")[:terms], "y", attrs)
    return Operator(op, tuple(_input(draw, rng, shape) for _ in range(terms)), **_slice(draw, channels))


@st.composite
def movement(draw: Draw) -> Operator:
    """channel_shuffle; with one row, what layout.py calls copy."""
    rng = _rng(draw)
    channels = draw(st.integers(1, 300))
    rows = draw(st.sampled_from([1, *_divisors(channels)]))
    op = Op("channel_shuffle", "case", ("x",), "y", {"rows": rows})
    return Operator(op, (_input(draw, rng, (*_plane(draw, 5), channels)),), **_slice(draw, channels))


@st.composite
def quantize(draw: Draw) -> Operator:
    """The network's input, with ties, infinities and values far out of range; extra: the border it writes."""
    rng = _rng(draw)
    height = draw(st.integers(1, 6))
    width = draw(st.one_of(st.integers(1, 70), st.integers(15, 33)))
    channels = draw(st.sampled_from([3, 3, 3, 1, 4]))
    scale = draw(st.sampled_from([0.0173, 1.0, 3.1e-6, 250.0]))
    x = rng.normal(0, 60, (1, channels, height, width)) * scale * 10.0 ** rng.integers(-2, 3, (1, channels, height, 1))
    x = x.astype(np.float32)
    ties = min(width, 8)
    x[0, 0, 0, :ties] = (np.arange(ties) - 3.5) * np.float32(scale)
    x[0, -1, -1, :ties] = np.array([np.inf, -np.inf, 3.4e38, -3.4e38, 0.0, -0.0, 1e-40, -1e-40], np.float32)[:ties]
    attrs = {"scale": scale, "zero_point": draw(st.sampled_from([-128, 127, 0, -14]))}
    pad = tuple(draw(st.integers(0, 2)) for _ in range(4))
    return Operator(Op("quantize", "case", ("x",), "y", attrs), (x,), extra={"pad": pad})


@st.composite
def dequantize(draw: Draw) -> Operator:
    """The network's output."""
    rng = _rng(draw)
    channels = _channels(draw)
    if draw(st.booleans()):
        x, zero_point = filled(rng, (1, 1, channels), "extremes"), draw(st.sampled_from([-128, 127, 5]))
    else:
        x, zero_point = rng.integers(-(2**24), 2**24, (1, 1, channels)).astype(np.int32), 0
    scale = rng.uniform(1e-4, 1e-2, channels).astype(np.float32)
    return Operator(Op("dequantize", "case", ("x",), "y", {"zero_point": zero_point}, {"scale": scale}), (x,))


@st.composite
def padding(draw: Draw) -> Operator:
    """The border in front of a windowed operator: one byte, or one a channel."""
    rng = _rng(draw)
    channels = _channels(draw)
    pad = tuple(draw(st.integers(0, 3)) for _ in range(4))
    one = bool(draw(st.booleans()))
    fill = (
        np.full(channels, draw(st.sampled_from([-128, 127, 0, 5])), np.int8)
        if one
        else filled(rng, (channels,), "random")
    )
    op = Op("depthwise_conv2d", "case", ("x",), "y", {"stride": (1, 1), "pad": pad}, {"pad_value": fill})
    return Operator(op, (_input(draw, rng, (*_plane(draw, 6), channels)),), extra={"only_pad": True})
