"""Convolutions with everything that one integer operator absorbs.

    before   R.quantize(R.nn.relu(R.add(R.add(R.nn.conv2d(R.dequantize(x, ..), R.dequantize(w, ..)), bias),
                                        R.dequantize(residual, ..))), s, z)
    after    conv2d(x, residual)    or depthwise_conv2d(x)

The input's zero point is folded into accumulator_bias or bias, the output's into bias; relu is clamp_min, which for
an output zero point of -128 is the saturation itself. Per-channel input grids (NNCF writes them before a depthwise
convolution) become per-channel multipliers and paddings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from tvm import relax

from shufflec.ir.numerics import Requant
from shufflec.ir.numerics_m import MRequant
from shufflec.ir.passes.lowering.geometry import fitted_pad
from shufflec.ir.passes.lowering.values import NO_CLAMP, Clamp, Emitter, Grid, Shape, Value, Weights
from shufflec.ir.passes.lowering.weighted_sum import Dequantized, dequantized
from shufflec.ir.passes.rewrite import shape_of, unsupported
from shufflec.ir.rules import Rule


@dataclass(frozen=True)
class Convolution:
    """conv2d(source) + bias [+ residual], clamped. weight: int8 (O, I/g, KH, KW); pad: (top, left, bottom, right)."""

    name: str
    shape: Shape
    source: Dequantized
    weight: np.ndarray
    weight_scale: np.ndarray
    groups: int
    stride: tuple[int, int]
    pad: tuple[int, int, int, int]
    bias: np.ndarray
    residual: Dequantized | None = None
    clamp: Clamp = NO_CLAMP

    def clamped(self, low: float, high: float) -> Convolution:
        return replace(self, clamp=self.clamp.tightened(low, high))

    def plus_bias(self, bias: np.ndarray) -> Convolution:
        """Adds float64 (O,) before the clamp, which must not have come yet."""
        self._check_open()
        return replace(self, bias=self.bias + bias)

    def plus(self, residual: Dequantized) -> Convolution:
        """Adds a tensor of the output's shape."""
        self._check_open()
        if self.residual is not None or residual.shape != self.shape:
            raise unsupported(self.name, "can take one residual of its own shape only")
        return replace(self, residual=residual)

    def _check_open(self) -> None:
        if self.clamp != NO_CLAMP:
            raise unsupported(self.name, "is followed by an addition after its relu, without a quantizer between")

    def requantized(self, emitter: Emitter, grid: Grid) -> str:
        """`depthwise_conv2d` where each channel has one filter of its own, else `conv2d`."""
        depthwise = self._is_depthwise()
        requant = self._requant(emitter.rule, grid)
        attrs = (
            {
                "stride": self.stride,
                "pad": self.pad,
            }
            | requant.attributes()
            | self.clamp.codes(grid, self.name)
        )
        constants = {
            "weight": self.weight[:, 0] if depthwise else self.weight.transpose(0, 2, 3, 1),
            "pad_value": self._input_zero_points().astype(np.int8),
        } | requant.constants()
        if depthwise:
            return emitter.emit("depthwise_conv2d", self.name, [self.source.tensor], self.shape, attrs, constants)
        attrs |= {"groups": self.groups, "shuffle_rows": 1}
        operands = [self.source.tensor]
        if self.residual is not None:
            operands.append(self.residual.tensor)
            attrs["residual_multiplier"] = requant.residual_multiplier
        return emitter.emit("conv2d", self.name, operands, self.shape, attrs, constants)

    def _requant(self, rule: Rule, grid: Grid) -> MRequant | Requant:
        """Constants of the rule for this layer and output grid."""
        weight = self.weight.astype(np.int64)
        # Row o of `seen`: the zero points of the input channels that output channel o reads.
        per_group = self._input_zero_points().reshape(self.groups, -1)
        seen = np.repeat(per_group, self.shape[2] // self.groups, axis=0)
        positive = np.maximum(weight, 0).sum(axis=(1, 2, 3))
        negative = np.minimum(weight, 0).sum(axis=(1, 2, 3))
        residual_real, offset = 0.0, self.bias / grid.scale + grid.zero_point
        if self.residual is not None:
            residual_scale, residual_zero = self.residual.grid.scalar(self.name)
            residual_real = residual_scale / grid.scalar(self.name)[0]
            offset = offset - residual_real * residual_zero
        return rule.requant(
            self._input_scale() * self.weight_scale / grid.scale,
            offset,
            -(weight.sum(axis=(2, 3)) * seen).sum(axis=1),
            127 * negative - 128 * positive,
            127 * positive - 128 * negative,
            residual_real,
        )

    def _is_depthwise(self) -> bool:
        """Whether each channel has one filter of its own, as `depthwise_conv2d` has it."""
        return self.groups == self.source.shape[2] == self.shape[2] and self.groups > 1 and self.residual is None

    def _input_zero_points(self) -> np.ndarray:
        """int64, one an input channel."""
        return np.broadcast_to(self.source.grid.zero_point, self.source.shape[2:])

    def _input_scale(self) -> np.ndarray:
        """float64 (C,) or (1,). Only a depthwise convolution keeps input channels apart until the requantization."""
        scale = self.source.grid.scale
        if self._is_depthwise():
            return scale
        if np.any(scale != scale[0]):
            self.source.grid.scalar(self.name)
        return scale[:1]


def convolve(name: str, call: relax.Call, data: Value, weights: object) -> Convolution:
    """Lowers one R.nn.conv2d; raises UnsupportedModelError for dilation, float weights or float data."""
    attrs = call.attrs
    if not isinstance(weights, Weights):
        raise unsupported(name, "has weights that are not quantized", "quantize it with: shufflec quantize")
    if any(int(item) != 1 for item in attrs.dilation):
        raise unsupported(name, "is a dilated convolution, which is not supported")
    source = dequantized(data, name)
    stride = tuple(int(item) for item in attrs.strides)
    pad = tuple(int(item) for item in attrs.padding)
    _, channels, height, width = shape_of(relax.BlockBuilder().normalize(call))
    return Convolution(
        name,
        (height, width, channels),
        source,
        weights.codes,
        weights.scales(0, name),
        int(attrs.groups),
        stride,
        fitted_pad(source.shape, (height, width), weights.codes.shape[2:], stride, pad),
        np.zeros(channels),
    )
