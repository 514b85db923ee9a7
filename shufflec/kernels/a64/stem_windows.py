"""Windows of the first convolution, two pixels at a time, and how their taps are taken by four.

What a row of the window has of whole fours stays as it is (two of the 3 * 3 of an RGB window); what is left of all rows
together makes the other quads (one, of three taps).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import tirx

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.kernel import Workload

QUAD = 4
ROW = 16  # bytes of a register
PIXELS = (0, 1)
MAX_ROWS = 4  # TBL takes up to four registers
MAX_QUADS = 8  # whose weights are held in registers
NOTHING = 255  # an index that TBL gives zero for


@dataclass(frozen=True)
class PixelPairs:
    """The input of the convolution and its columns, taken in pairs.

    rows, row_taps: of a window; the taps of a row lie side by side. step, line: bytes from a pixel of the convolution
    to the next, and from a row to the next; in_row: from an input row to the next. width: columns of the convolution.
    count: of pairs; the first one is columns left - 1 and left.
    """

    rows: int
    row_taps: int
    step: int
    line: int
    in_row: int
    width: int
    count: int
    left: int

    @staticmethod
    def of(workload: Workload, count: int, left: int) -> PixelPairs:
        (rows, columns), (stride_y, stride_x) = workload["kernel"], workload["stride"]
        depth = workload["in_channels"]
        in_row = workload["in_width"] * depth
        width = workload["mid_width"]
        return PixelPairs(rows, columns * depth, stride_x * depth, stride_y * in_row, in_row, width, count, left)

    @property
    def fit(self) -> bool:
        """Whether rows of the window fit a register each, and the weights of its quads the registers there are."""
        return self.rows <= MAX_ROWS and self.row_taps <= ROW and self.quads <= MAX_QUADS

    @property
    def whole(self) -> int:
        """Quads of a row of the window alone."""
        return self.row_taps // QUAD

    @property
    def rest(self) -> list[int]:
        """The taps that are left, each as a byte of the rows' registers laid end to end."""
        return [ROW * i + k for i in range(self.rows) for k in range(QUAD * self.whole, self.row_taps)]

    @property
    def rest_quads(self) -> int:
        return -(-len(self.rest) // QUAD)

    @property
    def quads(self) -> int:
        return self.rows * self.whole + self.rest_quads

    @property
    def inside(self) -> bool:
        """Whether every pair has two columns."""
        return self.left == 1 and 2 * self.count <= self.width

    @property
    def together(self) -> bool:
        """Whether one register of each row has the windows of both pixels."""
        return self.inside and self.step + self.row_taps <= ROW

    def shift(self, pixel: int) -> int:
        """The byte of the rows' registers that a pixel's window begins at, where they are together."""
        return pixel * self.step if self.together else 0

    def rest_table(self, pixel: int) -> np.ndarray:
        """Where TBL finds the rest of a pixel's window: int64 (rest_quads * QUAD,), filled up with NOTHING."""
        places = [place + self.shift(pixel) for place in self.rest]
        return np.array(places + [NOTHING] * (-len(places) % QUAD))

    def by_quads(self, weight: np.ndarray) -> np.ndarray:
        """int8 (..., taps) to int8 (..., quads, QUAD), zero where a quad has no tap."""
        places = [ROW * i + k for i in range(self.rows) for k in range(QUAD * self.whole)] + self.rest
        taps = [place // ROW * self.row_taps + place % ROW for place in places]
        missing = [weight.shape[-1]] * (-len(taps) % QUAD)
        padded = np.concatenate([weight, np.zeros((*weight.shape[:-1], 1), np.int8)], axis=-1)
        return padded[..., taps + missing].reshape(*weight.shape[:-1], self.quads, QUAD)

    def pixels(self, e: Emitter, source: Value, pair: Value) -> list[Pointer]:
        """Pointers to the windows of a pair; of a column outside, to the nearest inside."""
        column = pair * 2 + (self.left - 1)
        if self.inside:
            first = e.at(e.arena, source + column * self.step)
            return [first, e.at(first, self.step)]
        columns = [e.bind(tirx.min(tirx.max(column + p, 0), self.width - 1)) for p in PIXELS]
        return [e.at(e.arena, source + at * self.step) for at in columns]

    def load_rows(self, e: Emitter, pixel: Pointer) -> list[Value]:
        """The rows of a window, a register each."""
        return [e.load(e.at(pixel, i * self.in_row), 0, "int8x16") for i in range(self.rows)]
