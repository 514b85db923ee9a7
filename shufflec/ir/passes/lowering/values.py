"""What the lowering knows about a float value that will never be computed: how to get its integer form.

A value is either `Dequantized` (weighted_sum.py), an int8 tensor with its grid, or an operator over such tensors that
waits for the grid of the QuantizeLinear behind it. `requantized(emitter, grid)` then emits integer operators. Shapes
are (H, W, C).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from shufflec.ir.graph import Op, TensorSpec
from shufflec.ir.passes.rewrite import unsupported
from shufflec.ir.rules import A64, Rule

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Grid:
    """real = scale * (code - zero_point). scale: float64, zero_point: int64, both (1,) or one entry a channel."""

    scale: np.ndarray
    zero_point: np.ndarray

    @staticmethod
    def of(scale: np.ndarray, zero_point: np.ndarray) -> Grid:
        """A grid from the constants of a Q or DQ; equal entries become one."""
        scale, zero_point = np.ravel(scale).astype(np.float64), np.ravel(zero_point).astype(np.int64)
        if np.all(scale == scale[0]) and np.all(zero_point == zero_point[0]):
            scale, zero_point = scale[:1], zero_point[:1]
        return Grid(scale, zero_point)

    def scalar(self, name: str) -> tuple[float, int]:
        """Scale and zero point of a per-tensor grid; raises UnsupportedModelError naming the node otherwise."""
        if len(self.scale) != 1:
            raise unsupported(name, "has per-channel activation scales, supported only into a depthwise convolution")
        return float(self.scale[0]), int(self.zero_point[0])

    def channels(self, begin: int, end: int) -> Grid:
        """The grid of a slice of the channels."""
        return self if len(self.scale) == 1 else Grid.of(self.scale[begin:end], self.zero_point[begin:end])

    def same(self, other: Grid) -> bool:
        """Whether codes of both grids mean the same."""
        return np.array_equal(self.scale, other.scale) and np.array_equal(self.zero_point, other.zero_point)


@dataclass(frozen=True)
class Clamp:
    """Real bounds that relu and clip put on a value."""

    low: float = -np.inf
    high: float = np.inf

    def tightened(self, low: float, high: float) -> Clamp:
        return Clamp(min(max(self.low, low), high), max(min(self.high, high), low))

    def codes(self, grid: Grid, name: str) -> dict[str, int]:
        """Attributes clamp_min and clamp_max; quantizing is monotone, so the bounds may be quantized instead."""
        low, high = (self._codes(bound, grid) for bound in (self.low, self.high))
        if len(set(low)) > 1 or len(set(high)) > 1:
            raise unsupported(name, "is clamped at another code in each channel, which is not supported")
        return {"clamp_min": int(low[0]), "clamp_max": int(high[0])}

    @staticmethod
    def _codes(bound: float, grid: Grid) -> np.ndarray:
        return np.clip(np.rint(bound / grid.scale) + grid.zero_point, -128, 127).astype(np.int64)


NO_CLAMP = Clamp()


class Value(Protocol):
    """A float value of the model."""

    name: str
    shape: Shape

    def clamped(self, low: float, high: float) -> Value:
        """The value after relu or clip."""

    def requantized(self, emitter: Emitter, grid: Grid) -> str:
        """Emits the operators that compute the value's codes on a grid; the name of the int8 tensor (H, W, C)."""


@dataclass
class Emitter:
    """Collects the operators of the integer graph, each under a name of its own. rule: rounds every layer."""

    tensors: dict[str, TensorSpec]
    ops: list[Op] = field(default_factory=list)
    rule: Rule = A64

    def emit(
        self,
        kind: str,
        name: str,
        inputs: list[str],
        shape: tuple[int, ...],
        attrs: dict | None = None,
        constants: dict[str, np.ndarray] | None = None,
        dtype: str = "int8",
    ) -> str:
        """Adds one operator of ir/graph.py and returns its result's name; `name` gets a number when it is taken."""
        unique, count = name, 1
        while unique in self.tensors:
            count += 1
            unique = f"{name}_{count}"
        self.tensors[unique] = TensorSpec(unique, tuple(shape), dtype)
        self.ops.append(Op(kind, unique, tuple(inputs), unique, attrs or {}, constants or {}))
        return unique


@dataclass(frozen=True)
class Weights:
    """Quantized constants: codes int8, scale float64 with one entry a channel of `axis`, or one."""

    codes: np.ndarray
    scale: np.ndarray
    axis: int

    def scales(self, axis: int, name: str) -> np.ndarray:
        """float64 scales along `axis` of the codes; raises UnsupportedModelError when they run along another."""
        if self.scale.size > 1 and self.axis != axis:
            raise unsupported(name, f"has weight scales along axis {self.axis}, expected the output channels")
        return np.broadcast_to(self.scale.reshape(-1), (self.codes.shape[axis],)).astype(np.float64)
