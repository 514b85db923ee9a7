"""Concatenations along the channels.

    before   R.quantize(R.nn.relu(R.concat((R.nn.avg_pool2d(..), R.add(R.nn.conv2d(..), bias)), axis=1)), s, z)
    after    concat(avg_pool2d(..), conv2d(..)), both computed on the grid (s, z) and clamped

Quantization and relu act on each part alone. A part that is quantized already gets a `requantize`, unless its grid
is the result's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tvm import relax

from shufflec.ir.passes.lowering.values import Emitter, Grid, Shape, Value
from shufflec.ir.passes.rewrite import unsupported


@dataclass(frozen=True)
class Concatenation:
    """Parts side by side along the channels."""

    name: str
    shape: Shape
    parts: tuple[Value, ...]

    def clamped(self, low: float, high: float) -> Concatenation:
        return replace(self, parts=tuple(part.clamped(low, high) for part in self.parts))

    def requantized(self, emitter: Emitter, grid: Grid) -> str:
        """The parts' operators, then `concat`."""
        operands, begin = [], 0
        for part in self.parts:
            end = begin + part.shape[2]
            operands.append(part.requantized(emitter, grid.channels(begin, end)))
            begin = end
        return emitter.emit("concat", self.name, operands, self.shape)


def concatenate(name: str, call: relax.Call, parts: list[Value]) -> Value:
    """Lowers one R.concat; raises UnsupportedModelError for another axis than the channels."""
    axis = int(call.attrs.axis)
    if axis not in (1, -3) or len({part.shape[:2] for part in parts}) != 1:
        raise unsupported(name, f"concatenates along axis {axis}, expected the channels of equal planes")
    height, width, _ = parts[0].shape
    return Concatenation(name, (height, width, sum(part.shape[2] for part in parts)), tuple(parts))
