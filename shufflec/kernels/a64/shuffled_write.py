"""The write of a folded channel shuffle: computed channels lie in scratch, one row a pixel, and leave permuted.

With r rows of c columns, channel i * c + j goes to j * r + i (ir/graph.py):
- r of 2, 3 or 4 with at least 8 columns: ST2, ST3 or ST4 of r rows, 16 or 8 columns at once;
- r of 8: ZIP of pairs of rows, then ST4 of 16-bit elements, 16, 8 or 4 columns at once;
- up to 64 channels, any r: table lookups (TBL), 16 outputs at once;
- c of 2, 3, 4 or 8, the inverse of those: LD2, LD3 or LD4 of c columns (for 8 of 16-bit elements, then UZP), 16 or 8
  rows at once;
- anything else: bytes, one by one.
r of 1 is a plain copy.
"""

from __future__ import annotations

import numpy as np

from shufflec.ir.graph import shuffle_destination
from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.geometry import OutputView

OVERREAD = 32  # bytes behind a pixel's channels that loads and stores of whole registers may touch


def column_steps(columns: int, widths: tuple[int, ...]) -> list[tuple[int, int]]:
    """Covers columns by (first, width) steps of the given widths, descending; the last ones may overlap."""
    steps, at = [], 0
    for width in widths:
        while columns - at >= width:
            steps.append((at, width))
            at += width
    if at < columns:
        steps.append((columns - widths[-1], widths[-1]))
    return steps


class ShuffledWrite:
    """Writes the scratch rows of a tile of pixels to the output."""

    def __init__(self, channels: int, rows: int, tile: int):
        self.channels, self.rows, self.tile = channels, rows, tile
        self.columns = channels // rows
        self.row_bytes = -(-(channels + OVERREAD) // 16) * 16
        self.by_table = False
        if rows == 1:
            self.pixel = self._copy
        elif rows in (2, 3, 4) and self.columns >= 8:
            self.pixel = self._interleave
        elif rows == 8 and self.columns >= 4:
            self.pixel = self._interleave_8
        elif 16 <= channels <= 64:
            self.pixel, self.by_table = self._permute, True
        elif self.columns in (2, 3, 4, 8) and rows >= 8:
            self.pixel = self._deinterleave
        else:
            self.pixel = self._scatter
        self.header = self._indices() if self.by_table else np.zeros(0, np.int8)

    # pixel(e, source, target, header) writes one pixel; header: where self.header lies in the packed weights.

    def emit(self, e: Emitter, view: OutputView, first: Value, header: int) -> None:
        """Statements for all pixels of the tile."""
        row = e.at(e.arena, e.scratch)
        for pixel, offset in enumerate(view.pixel_offsets(e, first, self.tile)):
            self.pixel(e, e.at(row, pixel * self.row_bytes), e.at(e.arena, offset), header)

    def _copy(self, e: Emitter, source: Pointer, target: Pointer, header: int) -> None:
        widths = tuple(w for w in (16, 8, 4, 1) if w <= self.channels)
        for at, width in column_steps(self.channels, widths):
            dtype = f"int8x{width}" if width > 1 else "int8"
            e.store(target, at, e.load(source, at, dtype), dtype)

    def _interleave(self, e: Emitter, source: Pointer, target: Pointer, header: int) -> None:
        widths = (16, 8) if self.columns >= 16 else (8,)
        for at, width in column_steps(self.columns, widths):
            rows = [e.load(source, i * self.columns + at, f"int8x{width}") for i in range(self.rows)]
            e.store_interleaved(rows, target, at * self.rows)

    def _interleave_8(self, e: Emitter, source: Pointer, target: Pointer, header: int) -> None:
        for start in range(0, self.columns, 16):
            at = min(start, self.columns - 4)
            width = min(16, self.columns - at)
            size = 16 if width > 8 else 8
            rows = [e.load(source, i * self.columns + at, f"int8x{size}") for i in range(8)]
            for first, count in column_steps(width, (8, 4) if width >= 8 else (4,)):
                lanes = [lane for i in range(first, first + count) for lane in (i, i + size)]
                pairs = [e.shuffle(rows[i : i + 2], lanes, f"int8x{2 * count}") for i in range(0, 8, 2)]
                elements = [e.reinterpret(pair, f"int16x{count}") for pair in pairs]
                e.store_interleaved(elements, target, (at + first) * 8)

    def _indices(self) -> np.ndarray:
        origin = np.argsort(shuffle_destination(self.channels, self.rows))
        return np.concatenate([origin[at : at + 16] for at, _ in column_steps(self.channels, (16,))]).astype(np.int8)

    def _permute(self, e: Emitter, source: Pointer, target: Pointer, header: int) -> None:
        table = [e.load(source, i, "int8x16") for i in range(0, self.channels, 16)]
        for number, (at, _) in enumerate(column_steps(self.channels, (16,))):
            index = e.load(e.weights, header + 16 * number, "int8x16")
            e.store(target, at, e.op(f"tbl{len(table)}", "int8x16", *table, index), "int8x16")

    def _deinterleave(self, e: Emitter, source: Pointer, target: Pointer, header: int) -> None:
        """LLVM makes LDn of a load of n registers whose lanes are picked n apart."""
        size = 2 if self.columns == 8 else 1
        for at, width in column_steps(self.rows, (16, 8) if self.rows >= 16 else (8,)):
            if self.columns == 8:
                parts = [self._picked(e, e.cast(e.at(source, i * 8), "int16"), 4, 8) for i in range(at, at + width, 8)]
                every = [[e.reinterpret(value, "int8x16") for value in part] for part in zip(*parts, strict=True)]
            else:
                every = [[value] for value in self._picked(e, e.at(source, at * self.columns), self.columns, width)]
            for number, values in enumerate(every):
                for odd in range(size):
                    lanes = [size * i + odd for i in range(width)]
                    value = e.shuffle(values, lanes, f"int8x{width}") if size > 1 else values[0]
                    e.store(target, (size * number + odd) * self.rows + at, value, f"int8x{width}")

    def _picked(self, e: Emitter, source: Pointer, count: int, lanes: int) -> list[Value]:
        """`count` registers of `lanes` elements: element i of register j is number i * count + j from `source`."""
        whole = e.load(source, 0, f"{source.dtype}x{count * lanes}")
        return [
            e.shuffle([whole], [i * count + j for i in range(lanes)], f"{source.dtype}x{lanes}") for j in range(count)
        ]

    def _scatter(self, e: Emitter, source: Pointer, target: Pointer, header: int) -> None:
        with e.loop(self.columns) as j, e.loop(self.rows) as i:
            value = e.load(source, i * self.columns + j, "int8")
            e.store(target, j * self.rows + i, value, "int8")
