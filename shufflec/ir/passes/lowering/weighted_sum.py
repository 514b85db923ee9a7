"""Quantized tensors, their sums in pairs, and their moves from one grid to another.

before   R.quantize(R.nn.relu(R.add(R.dequantize(a, sa, za), R.dequantize(b, sb, zb))), s, z)
after    add(a, b)           or requantize(a) with one input, or `a` itself when nothing changes
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from shufflec.ir.passes.lowering.values import NO_CLAMP, Clamp, Emitter, Grid, Shape
from shufflec.ir.passes.rewrite import unsupported


@dataclass(frozen=True)
class Dequantized:
    """An int8 tensor of the integer module with the grid that its DequantizeLinear gives it."""

    name: str
    shape: Shape
    tensor: str
    grid: Grid

    def clamped(self, low: float, high: float) -> WeightedSum:
        return WeightedSum(self.name, self.shape, (self,), Clamp(low, high))

    def requantized(self, emitter: Emitter, grid: Grid) -> str:
        return self.clamped(-np.inf, np.inf).requantized(emitter, grid)


def dequantized(value: object, name: str) -> Dequantized:
    """The value as an int8 tensor; raises UnsupportedModelError when it has no quantizer of its own."""
    if not isinstance(value, Dequantized):
        raise unsupported(
            name, "reads a float tensor where a quantized one is needed", "quantize it with: shufflec quantize"
        )
    return value


@dataclass(frozen=True)
class WeightedSum:
    """The clamped sum of one or two int8 tensors."""

    name: str
    shape: Shape
    terms: tuple[Dequantized, ...]
    clamp: Clamp = NO_CLAMP

    def clamped(self, low: float, high: float) -> WeightedSum:
        return replace(self, clamp=self.clamp.tightened(low, high))

    def requantized(self, emitter: Emitter, grid: Grid) -> str:
        """`add`, `requantize`, or the one term's own tensor."""
        if len(self.terms) == 1 and self._changes_nothing(grid):
            return self.terms[0].tensor
        scale, zero_point = grid.scalar(self.name)
        parts = [term.grid.scalar(self.name) for term in self.terms]
        ratios = tuple(term_scale / scale for term_scale, _ in parts)
        offset = zero_point - sum(ratio * part[1] for ratio, part in zip(ratios, parts, strict=True))
        attrs = emitter.rule.weighted_sum(ratios, offset) | self.clamp.codes(grid, self.name)
        kind, name = ("add", self.name) if len(parts) == 2 else ("requantize", f"{self.name}.requantize")
        return emitter.emit(kind, name, [term.tensor for term in self.terms], self.shape, attrs)

    def _changes_nothing(self, grid: Grid) -> bool:
        if not self.terms[0].grid.same(grid):
            return False
        low, high = (self.clamp._codes(bound, grid) for bound in (self.clamp.low, self.clamp.high))
        return bool((low == -128).all() and (high == 127).all())


def add(name: str, a: Dequantized, b: Dequantized) -> WeightedSum:
    """The sum of two tensors of one shape."""
    if a.shape != b.shape:
        raise unsupported(name, f"adds tensors of shapes {a.shape} and {b.shape}, expected one shape")
    return WeightedSum(name, a.shape, (a, b))
