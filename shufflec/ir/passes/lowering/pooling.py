"""Maximum, average and global average pools.

    before   R.quantize(R.nn.max_pool2d(R.dequantize(x, s, z)), s, z)            after   max_pool2d(x)
    before   R.quantize(R.nn.relu(R.nn.avg_pool2d(R.dequantize(x, ..))), s, z)   after   avg_pool2d(x)
    before   R.quantize(R.mean(R.dequantize(x, ..), [2, 3]), s, z)               after   global_avg_pool(x)

The maximum commutes with quantization, so a pool behind a float convolution pools its codes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from tvm import relax

from shufflec.ir.passes.lowering.geometry import divisors, fitted_pad
from shufflec.ir.passes.lowering.values import NO_CLAMP, Clamp, Emitter, Grid, Shape, Value
from shufflec.ir.passes.lowering.weighted_sum import Dequantized, WeightedSum, dequantized
from shufflec.ir.passes.rewrite import shape_of, unsupported

MAX_TAPS = 16  # of avg_pool2d's int16 sums (numerics.choose_average)


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows of any value."""

    name: str
    shape: Shape
    source: Value
    attrs: dict

    def clamped(self, low: float, high: float) -> MaxPool:
        return replace(self, source=self.source.clamped(low, high))

    def requantized(self, emitter: Emitter, grid: Grid) -> str:
        """`max_pool2d`, and `requantize` of its smaller result when the input has another grid."""
        source = self.source
        if isinstance(source, Dequantized):
            pooled = emitter.emit("max_pool2d", self.name, [source.tensor], self.shape, self.attrs)
            return Dequantized(self.name, self.shape, pooled, source.grid).requantized(emitter, grid)
        codes = source.requantized(emitter, grid)
        return emitter.emit("max_pool2d", self.name, [codes], self.shape, self.attrs)


@dataclass(frozen=True)
class AveragePool:
    """Average over windows. counts: divisor at each output position, int64 (Ho, Wo)."""

    name: str
    shape: Shape
    source: Dequantized
    attrs: dict
    counts: np.ndarray
    clamp: Clamp = NO_CLAMP

    def clamped(self, low: float, high: float) -> AveragePool:
        return replace(self, clamp=self.clamp.tightened(low, high))

    def requantized(self, emitter: Emitter, grid: Grid) -> str:
        """`avg_pool2d`."""
        scale_in, zero_in = self.source.grid.scalar(self.name)
        scale, zero_point = grid.scalar(self.name)
        taps = self.attrs["kernel"][0] * self.attrs["kernel"][1]
        multiplier, rounding = emitter.rule.average(scale_in / scale, self.counts, zero_in, taps)
        attrs = self.attrs | self.clamp.codes(grid, self.name)
        attrs |= {"zero_point": zero_in, "out_zero_point": zero_point} | rounding
        return emitter.emit(
            "avg_pool2d", self.name, [self.source.tensor], self.shape, attrs, {"multiplier": multiplier}
        )


@dataclass(frozen=True)
class GlobalAverage:
    """Average over the whole plane."""

    name: str
    shape: Shape
    source: Dequantized
    clamp: Clamp = NO_CLAMP

    def clamped(self, low: float, high: float) -> GlobalAverage:
        return replace(self, clamp=self.clamp.tightened(low, high))

    def requantized(self, emitter: Emitter, grid: Grid) -> str:
        """`global_avg_pool`."""
        scale_in, zero_in = self.source.grid.scalar(self.name)
        scale, zero_point = grid.scalar(self.name)
        count = self.source.shape[0] * self.source.shape[1]
        requant = emitter.rule.requant(
            np.array([scale_in / scale / count]),
            np.array([float(zero_point)]),
            np.zeros(1, np.int64),
            np.array([count * (-128 - zero_in)]),
            np.array([count * (127 - zero_in)]),
        )
        attrs = {"zero_point": zero_in} | requant.attributes()
        attrs |= self.clamp.codes(grid, self.name)
        return emitter.emit("global_avg_pool", self.name, [self.source.tensor], self.shape, attrs, requant.constants())


def max_pool(name: str, call: relax.Call, data: Value) -> MaxPool:
    """Lowers one R.nn.max_pool2d."""
    shape, attrs, _ = _windows(name, call, data)
    return MaxPool(name, shape, data, attrs)


def average_pool(name: str, call: relax.Call, data: Value) -> AveragePool:
    """Lowers one R.nn.avg_pool2d with its padding rule."""
    source = dequantized(data, name)
    shape, attrs, pad = _windows(name, call, source)
    counted = bool(call.attrs.count_include_pad)
    counts = divisors(source.shape, shape[:2], attrs["kernel"], attrs["stride"], pad, counted)
    return AveragePool(name, shape, source, attrs, counts)


def global_average(name: str, data: Value) -> Value:
    """Lowers R.mean over height and width.

    An average over few positions makes each accumulator step a large part of an output step, which
    `global_avg_pool` has no room for; up to 16 positions are an `avg_pool2d`, and one position is no pool at all.
    """
    source = dequantized(data, name)
    kernel, shape = source.shape[:2], (1, 1, source.shape[2])
    count = kernel[0] * kernel[1]
    if count == 1:
        return WeightedSum(name, shape, (source,))
    if count > MAX_TAPS:
        return GlobalAverage(name, shape, source)
    attrs = {"kernel": kernel, "stride": (1, 1), "pad": (0, 0, 0, 0)}
    return AveragePool(name, shape, source, attrs, np.array([[count]]))


def _windows(name: str, call: relax.Call, data: Value) -> tuple[Shape, dict, tuple[int, ...]]:
    """Output shape, attributes kernel, stride and pad, and the model's own padding."""
    if any(int(item) != 1 for item in call.attrs.dilation):
        raise unsupported(name, "is a dilated pool, which is not supported")
    kernel, stride, pad = (
        tuple(int(item) for item in items) for items in (call.attrs.pool_size, call.attrs.strides, call.attrs.padding)
    )
    _, channels, height, width = shape_of(relax.BlockBuilder().normalize(call))
    fitted = fitted_pad(data.shape, (height, width), kernel, stride, pad)
    return (height, width, channels), {"kernel": kernel, "stride": stride, "pad": fitted}, pad
