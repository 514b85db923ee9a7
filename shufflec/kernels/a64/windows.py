"""Windows over an NHWC input (borders.py): tiles of output rows, strips of channels, steps of output columns.

a row of border pixels to scratch, if the input is not padded
for tile (lines of output rows)                              <- threads
  for strip of 16 (or 8) channels                            constants of the strip stay in registers
    for line of the tile
      for step of `columns` outputs
        straight-line code over the step; a tap is loaded once for all windows that see it
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from shufflec.kernels.a64.borders import Input, Plane
from shufflec.kernels.a64.emitter import Emitter, Value
from shufflec.kernels.a64.geometry import tile_count, tile_start
from shufflec.kernels.a64.scheduling import SCHEDULE, models
from shufflec.kernels.kernel import Workload

MIN_TILES = 4  # output rows are joined in a tile as long as this many tiles remain, for threads
LANES = 16
MOST_COLUMNS, RESCHEDULED = 6, 3  # tilings with the usual scheduling model, and with each of the others
TILE_BYTES = 16 << 10  # of input: each strip of channels reads all lines of a tile again, from the first cache

Tiling = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Windows:
    """Geometry of a windowed operator. strip: channels at once, 16, or 8 for fewer than 16 channels."""

    plane: Plane
    height: int
    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    out_pitch: int
    out_row: int
    columns: int

    @staticmethod
    def of(workload: Workload, columns: int) -> Windows:
        return Windows(
            Plane.of(workload),
            workload["height"],
            workload["width"],
            tuple(workload["kernel"]),
            tuple(workload["stride"]),
            workload["out_pitch"],
            workload["out_row"],
            min(columns, workload["width"]),
        )

    @property
    def channels(self) -> int:
        return self.plane.channels

    @property
    def scratch_bytes(self) -> int:
        return self.plane.border_bytes(self.step_columns)

    @property
    def step_columns(self) -> int:
        """Input columns that a step sees."""
        return (self.columns - 1) * self.stride[1] + self.kernel[1]

    @property
    def strip(self) -> int:
        return LANES if self.channels >= LANES else LANES // 2

    @property
    def strips(self) -> int:
        return tile_count(self.channels, self.strip)

    @property
    def lines(self) -> int:
        """Output rows of a tile: the most that leave MIN_TILES tiles, divide the height and stay in the cache."""
        most = TILE_BYTES // (self.stride[0] * self.plane.width * self.channels)
        fitting = [n for n in range(1, most + 1) if self.height % n == 0 and self.height // n >= MIN_TILES]
        return max(fitting, default=1)

    @property
    def tiles(self) -> int:
        return self.height // self.lines

    def strip_channels(self) -> np.ndarray:
        """The channels of each strip, int64 (strips, strip); the last strip is moved back to end with the channels."""
        starts = np.minimum(np.arange(self.strips) * self.strip, self.channels - self.strip)
        return starts[:, None] + np.arange(self.strip)

    @contextmanager
    def each_strip(self, e: Emitter) -> Iterator[tuple[Value, Value, Value]]:
        """The loops over tiles and strips: (tile, strip number, first channel)."""
        self.plane.write_border(e, self.step_columns)
        with e.tiles() as tile, e.loop(self.strips) as strip:
            yield tile, strip, tile_start(e, strip, self.strip, self.channels)

    def each_step(self, e: Emitter, tile: Value, channel: Value, body: Callable) -> None:
        """Calls body(taps, output, row, column): taps(i, j) loads input row i, column j of the step's input."""
        last = self.height - 1, self.width - self.columns
        dtype = f"int8x{self.strip}"
        with e.loop(self.lines) as line:
            row = e.bind(tile * self.lines + line)
            with e.loop(tile_count(self.width, self.columns)) as step:
                column = tile_start(e, step, self.columns, self.width)
                source = Input(e, self.plane, row, column, channel, self.kernel[0], last)
                output = e.at(e.arena, e.out + (row * self.out_row + column) * self.out_pitch + channel)
                body(lambda i, j, source=source: source(i, j, dtype), output, row, column)


def halves(e: Emitter, value: Value, strip: int) -> list[Value]:
    """A strip's register as int8x8 parts."""
    return [value] if strip == 8 else [e.low(value, "int8x8"), e.high(value, "int8x8")]


def best_columns(width: int, most: int) -> list[int]:
    """Numbers of output columns at once: the one that wastes least first, larger ones preferred."""
    sizes = range(1, min(most, width) + 1)
    return sorted(sizes, key=lambda n: (tile_count(width, n) * (n + 1.5), -n))


def column_tilings(workload: Workload, most: int) -> list[Tiling]:
    """Output columns at once, at most `most`, and the scheduling model: the few that are worth measuring."""
    columns, schedules = best_columns(workload["width"], most), models(workload)
    tilings = [(("columns", n), (SCHEDULE, schedules[0])) for n in columns[:MOST_COLUMNS]]
    return tilings + [(("columns", n), (SCHEDULE, model)) for model in schedules[1:] for n in columns[:RESCHEDULED]]
