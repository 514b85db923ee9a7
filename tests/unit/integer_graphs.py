"""Small random integer graphs with every operator kind, for tests of kernels and backends."""

from __future__ import annotations

import numpy as np

from shufflec.ir.graph import Graph, Op, TensorSpec
from shufflec.ir.rules import A64, Rule


class GraphBuilder:
    """Appends operators with random constants; every method takes tensor names and returns the new one."""

    def __init__(self, seed: int, height: int, width: int, rule: Rule = A64):
        self.rule = rule
        self.rng = np.random.default_rng(seed)
        self.tensors = {"input": TensorSpec("input", (1, 3, height, width), "float32")}
        self.ops: list[Op] = []

    def finish(self, output: str) -> Graph:
        """The graph, whose output is the given tensor."""
        return Graph(self.tensors, tuple(self.ops), "input", output, self.rule.name)

    def shape(self, name: str) -> tuple[int, int, int]:
        """(H, W, C) of a tensor."""
        return self.tensors[name].shape

    def emit(self, kind: str, inputs: tuple[str, ...], shape, attrs=None, constants=None, dtype="int8") -> str:
        """Adds one operator."""
        name = f"{kind}_{len(self.ops)}"
        self.tensors[name] = TensorSpec(name, tuple(map(int, shape)), dtype)
        self.ops.append(Op(kind, f"layer{len(self.ops)}.{kind}", inputs, name, attrs or {}, constants or {}))
        return name

    def window_shape(self, name: str, channels: int, kernel, stride, pad):
        """Output shape of a windowed operator."""
        height, width, _ = self.shape(name)
        top, left, bottom, right = pad
        rows = (height + top + bottom - kernel[0]) // stride[0] + 1
        return rows, (width + left + right - kernel[1]) // stride[1] + 1, channels

    def requant(self, weight: np.ndarray, residual_real: float = 0.0, corrected: bool = False, uneven: bool = False):
        """(attrs, constants) that bring random accumulators to the int8 range; weight: (C, ...).

        uneven: the scales lie so far apart that channels get a pre_shift.
        """
        channels = len(weight)
        flat = weight.reshape(channels, -1).astype(np.int64)
        spread = np.sqrt((flat**2).sum(1) + 1.0) * 74
        real = self.rng.uniform(40, 90, channels) / spread
        if uneven:
            real *= 2.0 ** np.linspace(-9, 3, channels)
        peak = 128 * np.abs(flat).sum(1)
        correction = self.rng.integers(-3000, 3000, channels) if corrected else np.zeros(channels, np.int64)
        found = self.rule.requant(real, self.rng.uniform(-60, 60, channels), correction, -peak, peak, residual_real)
        low = int(self.rng.choice([-128, -128, -20]))
        attrs = found.attributes() | {"clamp_min": low, "clamp_max": 127}
        if residual_real:
            attrs["residual_multiplier"] = found.residual_multiplier
        return attrs, found.constants()

    def quantize(self) -> str:
        """The network's input in int8."""
        _, channels, height, width = self.tensors["input"].shape
        attrs = {"scale": 0.0187, "zero_point": -14}
        return self.emit("quantize", ("input",), (height, width, channels), attrs)

    def conv2d(
        self, x, channels, groups=1, kernel=(1, 1), stride=(1, 1), pad=(0, 0, 0, 0), rows=1, residual=None,
        pad_value=-14, corrected=False, uneven=False,
    ) -> str:  # fmt: skip
        """Convolution; rows: of the folded shuffle; pad_value None: one value a channel."""
        depth = self.shape(x)[2]
        weight = self.rng.integers(-127, 128, (channels, *kernel, depth // groups)).astype(np.int8)
        attrs, constants = self.requant(weight, 0.8 if residual else 0.0, corrected, uneven)
        attrs |= {"groups": groups, "stride": stride, "pad": pad, "shuffle_rows": rows}
        values = self.rng.integers(-128, 128, depth) if pad_value is None else np.full(depth, pad_value)
        constants |= {"weight": weight, "pad_value": values.astype(np.int8)}
        inputs = (x, residual) if residual else (x,)
        return self.emit("conv2d", inputs, self.window_shape(x, channels, kernel, stride, pad), attrs, constants)

    def depthwise(self, x, stride=(1, 1), kernel=(3, 3), pad=(1, 1, 1, 1), per_channel=True, uneven=False) -> str:
        """Depthwise convolution."""
        channels = self.shape(x)[2]
        weight = self.rng.integers(-127, 128, (channels, *kernel)).astype(np.int8)
        attrs, constants = self.requant(weight, corrected=bool(self.rng.integers(2)), uneven=uneven)
        values = self.rng.integers(-128, 128, channels) if per_channel else np.full(channels, 3)
        attrs |= {"stride": stride, "pad": pad}
        constants |= {"weight": weight, "pad_value": values.astype(np.int8)}
        shape = self.window_shape(x, channels, kernel, stride, pad)
        return self.emit("depthwise_conv2d", (x,), shape, attrs, constants)

    def max_pool(self, x, kernel=(3, 3), stride=(2, 2), pad=(1, 1, 1, 1)) -> str:
        """Max pool."""
        shape = self.window_shape(x, self.shape(x)[2], kernel, stride, pad)
        return self.emit("max_pool2d", (x,), shape, {"kernel": kernel, "stride": stride, "pad": pad})

    def avg_pool(self, x, kernel=(3, 3), stride=(2, 2), pad=(1, 1, 1, 1), count_padding=True) -> str:
        """Average pool; without count_padding the divisor differs at the border."""
        shape = self.window_shape(x, self.shape(x)[2], kernel, stride, pad)
        taps = kernel[0] * kernel[1]
        counts = np.full(shape[:2], taps)
        if not count_padding:
            counts = self.rng.integers(1, taps + 1, shape[:2])
        multiplier, rounding = self.rule.average(0.9, counts, -5, taps)
        attrs = {
            "kernel": kernel, "stride": stride, "pad": pad, "zero_point": -5, "out_zero_point": 7,
            "clamp_min": -128, "clamp_max": 127,
        } | rounding  # fmt: skip
        return self.emit("avg_pool2d", (x,), shape, attrs, {"multiplier": multiplier})

    def add(self, a, b) -> str:
        """Sum of two scaled tensors."""
        attrs = self.rule.weighted_sum((0.7, 1.3), 4.25) | {"clamp_min": -100, "clamp_max": 127}
        return self.emit("add", (a, b), self.shape(a), attrs)

    def requantize(self, a) -> str:
        """Change of scale."""
        attrs = self.rule.weighted_sum((1.7,), -9.5) | {"clamp_min": -128, "clamp_max": 127}
        return self.emit("requantize", (a,), self.shape(a), attrs)

    def concat(self, *parts) -> str:
        """Channel concatenation."""
        height, width, _ = self.shape(parts[0])
        return self.emit("concat", parts, (height, width, sum(self.shape(p)[2] for p in parts)))

    def shuffle(self, x, rows) -> str:
        """Channel shuffle as a copy."""
        return self.emit("channel_shuffle", (x,), self.shape(x), {"rows": rows})

    def slice(self, x, begin, channels) -> str:
        """Some of the channels, as a copy."""
        height, width, _ = self.shape(x)
        return self.emit("channel_slice", (x,), (height, width, channels), {"begin": begin, "channels": channels})

    def v2_unit(self, x, at_end) -> str:
        """A unit of ShuffleNetV2 of stride 1, shuffled at its end (torchvision) or at its start (megvii)."""
        half = self.shape(x)[2] // 2
        x = x if at_end else self.shuffle(x, half)
        passing, taken = self.slice(x, 0, half), self.slice(x, half, half)
        joined = self.concat(passing, self.conv2d(self.depthwise(self.conv2d(taken, half)), half))
        return self.shuffle(joined, 2) if at_end else joined

    def v2_unit_of_stride_2(self, x, channels, at_end) -> str:
        """The first unit of a stage."""
        half = channels // 2
        beside = self.conv2d(self.depthwise(x, stride=(2, 2)), half)
        y = self.conv2d(self.depthwise(self.conv2d(x, half), stride=(2, 2)), half)
        joined = self.concat(beside, y)
        return self.shuffle(joined, 2) if at_end else joined

    def global_avg_pool(self, x) -> str:
        """Average over the plane."""
        height, width, channels = self.shape(x)
        attrs, constants = self.requant(np.full((1, height * width), 127, np.int8), corrected=True)
        return self.emit("global_avg_pool", (x,), (1, 1, channels), attrs | {"zero_point": -3}, constants)

    def dense(self, x, classes) -> str:
        """Fully connected."""
        weight = self.rng.integers(-127, 128, (classes, self.shape(x)[2])).astype(np.int8)
        bias = self.rng.integers(-(2**20), 2**20, classes).astype(np.int32)
        constants = {"weight": weight, "accumulator_bias": bias}
        return self.emit("dense", (x,), (1, 1, classes), {}, constants, "int32")

    def dequantize(self, x) -> str:
        """float32 logits; the output's shape is (1, classes)."""
        channels = self.shape(x)[2]
        scale = self.rng.uniform(1e-4, 1e-2, channels).astype(np.float32)
        return self.emit("dequantize", (x,), (1, channels), {"zero_point": 0}, {"scale": scale}, "float32")


def tiny_shufflenet(
    seed: int, groups: int = 3, height: int = 37, width: int = 32, classes: int = 11, rule: Rule = A64
) -> Graph:
    """A ShuffleNet-like graph with every operator kind, both forms of padding and both kinds of concat."""
    b = GraphBuilder(seed, height, width, rule)
    x = b.conv2d(b.quantize(), 8 * groups, kernel=(3, 3), stride=(2, 2), pad=(1, 1, 1, 1))
    x = b.max_pool(x)
    # Stride 2, first unit: dense 1x1 into a shuffled write, both branches straight into the concat.
    branch = b.conv2d(x, 4 * groups, rows=groups)
    branch = b.conv2d(b.depthwise(branch, stride=(2, 2)), 12 * groups, groups=groups, corrected=True)
    x = b.concat(b.avg_pool(x, count_padding=False), branch)
    # Stride 1 with the residual in the convolution.
    branch = b.conv2d(x, 8 * groups, groups=groups, rows=groups)
    branch = b.depthwise(branch, per_channel=False)
    x = b.conv2d(branch, b.shape(x)[2], groups=groups, residual=x)
    # The shuffle as a copy and the addition as an operator of its own.
    branch = b.shuffle(b.conv2d(x, 8 * groups, groups=groups, corrected=True), groups)
    y = b.add(x, b.conv2d(branch, b.shape(x)[2], groups=groups))
    # A concat of a tensor that has another reader too, and so is copied; the other part is requantized.
    z = b.concat(y, b.requantize(x))
    pooled = b.avg_pool(y, stride=(1, 1))
    x = b.concat(b.conv2d(z, 4 * groups), pooled)
    return b.finish(b.dequantize(b.dense(b.global_avg_pool(x), classes)))


def shufflenet_v2_stage(seed: int, channels: int, units: int, at_end: bool, rule: Rule = A64) -> Graph:
    """A stage of ShuffleNetV2 with its slices, concatenations and shuffles as copies, between two convolutions."""
    b = GraphBuilder(seed, 9, 7, rule)
    x = b.v2_unit_of_stride_2(b.conv2d(b.quantize(), 6), channels, at_end)
    for _ in range(units):
        x = b.v2_unit(x, at_end)
    x = b.conv2d(b.v2_unit_of_stride_2(x, 12, at_end), 8)
    return b.finish(b.dequantize(b.dense(b.global_avg_pool(x), 5)))


def random_operators(seed: int, rule: Rule = A64) -> Graph:
    """One operator of every kind with random shapes and parameters, each reading the same random tensor."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder(seed, int(rng.integers(5, 14)), int(rng.integers(5, 14)), rule)
    groups = int(rng.choice([1, 2, 3, 8]))
    channels = groups * int(rng.integers(1, 7)) * int(rng.choice([1, 8]))

    def window() -> dict:
        kernel, stride = rng.integers(1, 4, 2), rng.integers(1, 4, 2)
        pad = rng.integers(0, 3, 4)
        return {"kernel": tuple(map(int, kernel)), "stride": tuple(map(int, stride)), "pad": tuple(map(int, pad))}

    x = b.conv2d(b.quantize(), channels, kernel=(3, 3), stride=(1, 1), pad=(1, 1, 1, 1))
    wide = groups * int(rng.integers(1, 20))
    b.conv2d(x, wide, groups=groups, rows=groups, corrected=True)
    b.conv2d(x, wide, **window(), pad_value=None)
    b.conv2d(x, wide, groups=groups, **window())
    b.conv2d(x, channels, groups=groups, residual=x)
    b.conv2d(x, channels, residual=x, corrected=True)
    b.conv2d(x, groups * 7, groups=groups, rows=groups, uneven=True)
    b.conv2d(x, channels, residual=x, uneven=True)
    b.depthwise(x, uneven=True)
    b.depthwise(x, **window(), per_channel=bool(rng.integers(2)))
    b.max_pool(x, **window())
    b.avg_pool(x, **window(), count_padding=False)
    b.avg_pool(x, **window())
    b.shuffle(x, groups)
    b.concat(x, b.requantize(x), b.add(x, x), x)
    return b.finish(b.dequantize(b.dense(b.global_avg_pool(x), int(rng.integers(1, 70)))))


def random_input(graph: Graph, seed: int) -> np.ndarray:
    """A float32 input that covers the int8 range and saturates now and then."""
    shape = graph.tensors[graph.input].shape
    return np.random.default_rng(seed).normal(0, 1.2, shape).astype(np.float32)
