"""The fully connected layer and the network's output.

    before   R.add(R.matmul(R.dequantize(x, s, z), R.dequantize(w, sw)), bias)        [1, classes] float32
    after    dequantize(dense(x)), scale s * sw per class, the bias in the accumulators

A classifier with a quantizer behind it is a 1x1 convolution of one pixel instead, and ends in a dequantize of int8.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from shufflec.ir.passes.lowering.convolution import Convolution
from shufflec.ir.passes.lowering.values import NO_CLAMP, Clamp, Emitter, Grid, Shape, Value, Weights
from shufflec.ir.passes.lowering.weighted_sum import Dequantized, dequantized
from shufflec.ir.passes.rewrite import unsupported

_ACCUMULATOR_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Classifier:
    """weight @ source + bias. weight: int8 (O, I); weight_scale, bias: float64 (O,)."""

    name: str
    shape: Shape
    source: Dequantized
    weight: np.ndarray
    weight_scale: np.ndarray
    bias: np.ndarray

    def plus_bias(self, bias: np.ndarray) -> Classifier:
        """Adds float64 (O,)."""
        return replace(self, bias=self.bias + bias)

    def clamped(self, low: float, high: float) -> Convolution:
        return replace(self._as_convolution(), clamp=Clamp(low, high))

    def requantized(self, emitter: Emitter, grid: Grid) -> str:
        return self._as_convolution().requantized(emitter, grid)

    def _as_convolution(self) -> Convolution:
        weight = self.weight[:, :, None, None]
        return Convolution(
            self.name, self.shape, self.source, weight, self.weight_scale, 1, (1, 1), (0, 0, 0, 0), self.bias
        )

    def logits(self, emitter: Emitter, output: str) -> str:
        """Emits `dense` and `dequantize`: float32 (1, O). Raises UnsupportedModelError when int32 does not hold it."""
        scale, zero_point = self.source.grid.scalar(self.name)
        scales = scale * self.weight_scale
        if not np.all(np.isfinite(scales) & (scales > 0)):
            raise unsupported(self.name, "has weight scales that are not positive and finite")
        weight = self.weight.astype(np.int64)
        offset = np.rint(self.bias / scales) - zero_point * weight.sum(axis=1)
        if np.any(np.abs(offset) + 128 * np.abs(weight).sum(axis=1) > _ACCUMULATOR_LIMIT):
            raise unsupported(self.name, "has a bias too large for its weight scale: int32 accumulators overflow")
        constants = {"weight": self.weight, "accumulator_bias": offset.astype(np.int32)}
        sums = emitter.emit("dense", self.name, [self.source.tensor], self.shape, {}, constants, "int32")
        return emit_dequantize(emitter, output, sums, scales, 0)


def classify(name: str, data: Value, weights: object) -> Classifier:
    """Lowers R.matmul of a vector with quantized weights [I, O]."""
    if not isinstance(weights, Weights):
        raise unsupported(name, "has weights that are not quantized", "quantize it with: shufflec quantize")
    source = dequantized(data, name)
    if source.shape[:2] != (1, 1) or weights.codes.ndim != 2 or weights.codes.shape[0] != source.shape[2]:
        raise unsupported(name, f"multiplies {source.shape} by {weights.codes.shape}, expected a vector by a matrix")
    scale = weights.scales(1, name)
    codes = np.ascontiguousarray(weights.codes.T)
    return Classifier(name, (1, 1, codes.shape[0]), source, codes, scale, np.zeros(codes.shape[0]))


def emit_output(emitter: Emitter, output: str, value: Value) -> str:
    """Emits what the network returns: float32 (1, classes)."""
    if isinstance(value, Convolution) and _is_classifier(value):
        weight = value.weight[:, :, 0, 0]
        value = Classifier(value.name, value.shape, value.source, weight, value.weight_scale, value.bias)
    if isinstance(value, Classifier):
        return value.logits(emitter, output)
    if isinstance(value, Dequantized) and value.shape[:2] == (1, 1):
        scale = np.broadcast_to(value.grid.scale, value.shape[2:])
        zero_point = value.grid.zero_point
        if len(set(zero_point.tolist())) == 1:
            return emit_dequantize(emitter, output, value.tensor, scale, int(zero_point[0]))
    raise unsupported(value.name, f"is the model's output with shape {value.shape}, expected a classifier's logits")


def emit_dequantize(emitter: Emitter, output: str, codes: str, scale: np.ndarray, zero_point: int) -> str:
    """The last operator: float32 (1, C)."""
    constants = {"scale": scale.astype(np.float32)}
    return emitter.emit(
        "dequantize", output, [codes], (1, len(scale)), {"zero_point": zero_point}, constants, "float32"
    )


def _is_classifier(value: Convolution) -> bool:
    plain = value.groups == 1 and value.residual is None and value.clamp == NO_CLAMP
    return plain and value.shape[:2] == (1, 1) and value.weight.shape[2:] == (1, 1) and value.source.shape[:2] == (1, 1)
