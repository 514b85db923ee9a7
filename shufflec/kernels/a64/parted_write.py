"""The write of a convolution whose channels go to several tensors: they part in scratch, where each pixel has a row.

ShuffleNetV2's units each read a part of what a convolution makes (ir/passes/route_channels.py). The parts follow one
another in computed order; each goes to a place of its own, whose byte offset in the arena stands in a table at the end
of the kernel's accumulator constants: the memory plan, which is made after the kernel, fills it in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.geometry import OutputView
from shufflec.kernels.a64.shuffled_write import OVERREAD, column_steps

_WIDTHS = (16, 8, 4, 1)


class PartedWrite:
    """Writes the scratch rows of a tile of pixels to the parts.

    parts: (channels, bytes from an output pixel to the next) of each. table: where the offsets begin among the
    accumulator constants.
    """

    header = np.zeros(0, np.int8)  # nothing of its own among the packed weights

    def __init__(self, parts: Sequence[tuple[int, int]], tile: int, table: int):
        self.parts, self.tile, self.table = parts, tile, table
        channels = sum(count for count, _ in parts)
        self.row_bytes = -(-(channels + OVERREAD) // 16) * 16

    def emit(self, e: Emitter, view: OutputView, first: Value, header: int) -> None:
        """Statements for all pixels of the tile. Output rows have no margin, so pixels are numbered through."""
        del view, header
        table, row = e.at(e.accumulators, self.table), e.at(e.arena, e.scratch)
        targets = []
        for number, (_, pitch) in enumerate(self.parts):
            start = e.load(table, number, "int32")
            targets.append(e.at(e.arena, e.bind(start + first * pitch)))
        for pixel in range(self.tile):
            self._pixel(e, e.at(row, pixel * self.row_bytes), targets, pixel)

    def _pixel(self, e: Emitter, source: Pointer, targets: list[Pointer], pixel: int) -> None:
        """Loads before stores, which for all that LLVM knows might change what is loaded."""
        moves, at = [], 0
        for (channels, pitch), target in zip(self.parts, targets, strict=True):
            width = next(width for width in _WIDTHS if width <= channels)
            dtype = f"int8x{width}" if width > 1 else "int8"
            for start, _ in column_steps(channels, (width,)):
                moves.append((target, pixel * pitch + start, e.load(source, at + start, dtype), dtype))
            at += channels
        for move in moves:
            e.store(*move)
