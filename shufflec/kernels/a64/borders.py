"""The input of a windowed operator with the border that its padding asks for, without a padded copy.

A workload with `pad` (top, left, bottom, right) and `fill` reads the plain input. Rows and columns outside of it are
read from a row of border pixels, which the kernel writes to its scratch when it is called: an address is chosen for
each row of a step's window, and for each column that may lie outside, and the loads stay what they were.
Without `pad` the input is padded already (kernels/kernel.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import tirx

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.moving import copy_row, fill_row
from shufflec.kernels.kernel import Workload


@dataclass(frozen=True)
class Plane:
    """height, width, channels: of the input as it lies in memory; fill: of the border, None for a byte a channel."""

    height: int
    width: int
    channels: int
    stride: tuple[int, int]
    pad: tuple[int, int, int, int]
    fill: int | None

    @staticmethod
    def of(workload: Workload) -> Plane:
        params = dict(workload.params)
        return Plane(
            params["in_height"],
            params["in_width"],
            params["channels"],
            tuple(params["stride"]),
            tuple(params.get("pad", (0, 0, 0, 0))),
            params.get("fill"),
        )

    def border_bytes(self, columns: int) -> int:
        """Scratch for the border row of steps that are `columns` input columns wide."""
        return columns * self.channels if any(self.pad) else 0

    def write_border(self, e: Emitter, columns: int) -> None:
        """Fills the border row, once a call."""
        if not any(self.pad):
            return
        row = e.at(e.arena, e.scratch)
        if self.fill is not None:
            fill_row(e, row, columns * self.channels, self.fill)
        else:
            with e.loop(columns) as column:
                copy_row(e, e.at(e.weights, 0), e.at(row, column * self.channels), self.channels)

    def pack_fill(self, constants: dict[str, np.ndarray]) -> np.ndarray:
        """The border by channel, which the packed weights begin with: int8 (fill_bytes,)."""
        packed = np.zeros(self.fill_bytes, np.int8)
        if self.fill_bytes:
            packed[: self.channels] = constants["pad_value"]
        return packed

    @property
    def fill_bytes(self) -> int:
        """Of pack_fill: nothing where `fill` says it, else a multiple of 16."""
        return -(-self.channels // 16) * 16 if any(self.pad) and self.fill is None else 0


class Input:
    """What the windows of a step see: loads by row and column of the step's input, each once.

    line, column: first output of the step; last_line, last_column: the largest that they become in the kernel.
    channel: first channel of the strip; rows: of the input that the step reads.
    """

    def __init__(
        self, e: Emitter, plane: Plane, line: Value, column: Value, channel: Value, rows: int, last: tuple[int, int]
    ):
        self.e, self.plane, self.last_column = e, plane, last[1]
        (top, left, _, _), (stride_y, stride_x) = plane.pad, plane.stride
        self.border = e.bind(e.scratch + channel) if any(plane.pad) else None
        self.first_row = e.bind(line * stride_y - top)
        self.first_column = e.bind(column * stride_x - left)
        start = e.bind(e.in0 + (self.first_row * plane.width + self.first_column) * plane.channels + channel)
        base = e.at(e.arena, start)
        self.offsets, self.rows = [], []
        for i in range(rows):
            offset, pointer = start + i * plane.width * plane.channels, None
            if i < top or last[0] * stride_y - top + i >= plane.height:
                offset = self._inside(self.first_row + i, plane.height, offset)
                pointer = e.at(e.arena, offset)
            self.offsets.append(offset)
            self.rows.append(pointer or e.at(base, i * plane.width * plane.channels))
        self.chosen: dict[tuple[int, int], Pointer] = {}
        self.loaded: dict[tuple[int, int], Value] = {}

    def _inside(self, position: Value, extent: int, offset: Value) -> Value:
        """The offset, or the border's where the position is outside 0..extent-1."""
        outside = tirx.Cast("uint32", position) >= tirx.const(extent, "uint32")
        return self.e.bind(tirx.Select(outside, self.border, offset))

    def __call__(self, i: int, j: int, dtype: str) -> Value:
        """Row i, column j of the step's input, one strip of channels."""
        if (i, j) not in self.loaded:
            pointer, offset = self._place(i, j)
            self.loaded[i, j] = self.e.load(pointer, offset, dtype)
        return self.loaded[i, j]

    def _place(self, i: int, j: int) -> tuple[Pointer, int]:
        plane, e = self.plane, self.e
        left, stride = plane.pad[1], plane.stride[1]
        first, last = j - left, self.last_column * stride - left + j
        if first >= 0 and last < plane.width:
            return self.rows[i], j * plane.channels
        if self.last_column == 0:  # a single step: the column is known
            return e.at(e.arena, self.border), 0
        if (i, j) not in self.chosen:
            offset = self._inside(self.first_column + j, plane.width, self.offsets[i] + j * plane.channels)
            self.chosen[i, j] = e.at(e.arena, offset)
        return self.chosen[i, j], 0
