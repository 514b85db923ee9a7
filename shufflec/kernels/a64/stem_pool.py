"""The first convolution and the 3x3 max pool of stride 2 behind it, row by row: the convolution is never whole.

Requantization is monotone as long as multipliers are not negative, so the maximum may come first: of accumulators
along a row, then of their int16 values (SQRSHRN) down the rows. Only what the pool keeps is scaled. A ring in scratch
has three rows of such maxima, each as wide as the pool.

    for tile (rows of the pool)                                  <- threads
      for row of the convolution that is new to the ring         all that the pool's row sees, if it is the call's first
        for strip of eight channels                              weights of the strip stay in registers (stem_taps.py)
          for pair of columns                                    two new columns for each column of the pool
            accumulators -> maximum with the column before -> bias, SQRSHRN -> ring
      maximum of three rows of the ring -> SQRDMULH, SQADD, SQRSHRN -> output

A window that hangs over an edge sees its nearest row or column again, which changes no maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import tirx

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.geometry import tile_count, tile_start
from shufflec.kernels.a64.registers import Registers
from shufflec.kernels.a64.requantize import Rule, pack_pairs
from shufflec.kernels.a64.scheduling import MODELS, SCHEDULE, models
from shufflec.kernels.a64.stem_taps import BLOCKS, STRIP, DotTaps, PairsTaps, Taps
from shufflec.kernels.a64.stem_windows import PixelPairs
from shufflec.kernels.kernel import Kernel, Packed, Workload

NAME = "a64-stem-pool-1"
ROWS = 3  # of the ring, and of the pool's window
LEAST = -(2**31)
MOST_TILES = 8  # so many threads have a ring each
COLUMNS = 8  # of the pool at once, where it takes its maximum down the rows

Tiling = tuple[tuple[str, int], ...]


def accepts(workload: Workload) -> bool:
    """A window of few taps over an input with its border, at least eight channels, and a 3x3 pool of stride 2."""
    if workload.kind != "stem_pool" or "pad" in dict(workload.params):
        return False
    pooled = (workload["pool_kernel"], workload["pool_stride"]) == ((3, 3), (2, 2)) and max(workload["pool_pad"]) <= 1
    return pooled and workload["out_channels"] >= STRIP and PixelPairs.of(workload, 1, 1).fit


def tilings(workload: Workload) -> list[Tiling]:
    """Pairs of columns at once, and the scheduling model; what came out best on the boards first."""
    dot = workload.isa == "dotprod"
    sizes, schedules = ((2, 4, 1), (2, 1, 0)) if dot else ((4, 2, 1), models(workload))
    pairs = _Geometry.of(workload).pairs
    return [(("pairs", n), (SCHEDULE, model)) for n in sizes if pairs % n == 0 for model in schedules]


@dataclass(frozen=True)
class _Geometry:
    """height, width: of the pool's output; middle: of the convolution. top, left: of the pool's padding.

    pairs: of columns that a row of the convolution is cut into. The pool's column x sees the last column of pair
    x - first and all of pair x + 1 - first, which is the one that its maximum is kept under.
    """

    height: int
    width: int
    middle: tuple[int, int]
    channels: int
    top: int
    left: int

    @staticmethod
    def of(workload: Workload) -> _Geometry:
        top, left = workload["pool_pad"][:2]
        middle = workload["mid_height"], workload["mid_width"]
        return _Geometry(workload["height"], workload["width"], middle, workload["out_channels"], top, left)

    @property
    def first(self) -> int:
        """The pair under which the maximum of the pool's column 0 is kept."""
        return 1 - self.left

    @property
    def pairs(self) -> int:
        return self.width + self.first

    @property
    def tile_rows(self) -> int:
        """Rows of the pool in a tile; the last one may have fewer."""
        return tile_count(self.height, MOST_TILES)

    @property
    def tiles(self) -> int:
        return tile_count(self.height, self.tile_rows)

    @property
    def strips(self) -> int:
        return tile_count(self.channels, STRIP)

    @property
    def ring_row(self) -> int:
        """int16 values of a row of the ring."""
        return -(-self.pairs * self.channels // 8) * 8

    def strip_channels(self) -> np.ndarray:
        """The channels of each strip, int64 (strips, STRIP); the last strip is moved back to end with the channels."""
        starts = np.minimum(np.arange(self.strips) * STRIP, self.channels - STRIP)
        return starts[:, None] + np.arange(STRIP)


class _StemPool:
    """Emits the kernel. ring: int16, in scratch behind what the taps take."""

    def __init__(self, workload: Workload, taps: Taps):
        self.workload, self.taps = workload, taps
        self.sizes, self.rule = _Geometry.of(workload), Rule.of(workload)
        self.e = Emitter()
        e = self.e
        self.ring = e.cast(e.at(e.arena, e.bind(e.scratch + taps.scratch_bytes)), "int16")
        self.carry_at = taps.scratch_bytes + ROWS * self.sizes.ring_row * 2
        self.scratch_bytes = self.carry_at + self.sizes.strips * STRIP * 4

    def emit(self) -> None:
        e, sizes = self.e, self.sizes
        begin = e.bind(e.begin * sizes.tile_rows)
        count = tirx.min(e.end * sizes.tile_rows, sizes.height) - begin
        with e.loop(e.bind(count), begin) as row:
            top = e.bind(row * 2 - sizes.top)
            known = tirx.Select(tirx.EQ(row, begin), tirx.const(0, "int32"), tirx.const(1, "int32"))
            first = e.bind(tirx.max(top + known, 0))
            last = e.bind(tirx.min(top + ROWS - 1, sizes.middle[0] - 1))
            with e.loop(e.bind(last + 1 - first), first) as line:
                self._convolve(line)
            self._pool(row, top)

    def _slot(self, line: Value) -> Pointer:
        """The row of the ring that a row of the convolution belongs in."""
        number = tirx.truncmod(tirx.Cast("uint32", line), tirx.const(ROWS, "uint32"))
        return self.e.at(self.ring, self.e.bind(tirx.Cast("int32", number) * self.sizes.ring_row))

    def _convolve(self, line: Value) -> None:
        e, sizes, taps = self.e, self.sizes, self.taps
        carries = e.cast(e.at(e.arena, e.bind(e.scratch + self.carry_at)), "int32")
        for at in range(0, sizes.strips * STRIP, 4):
            e.store(carries, at, e.splat(LEAST, "int32x4"), "int32x4")
        target = self._slot(line)
        for first, count in taps.segments(e, line):
            with e.loop(sizes.strips) as strip:
                channel = tile_start(e, strip, STRIP, sizes.channels)
                held = taps.hold(e, strip)
                carry_at = e.at(carries, strip * STRIP)
                before = {block: e.load(carry_at, 4 * block, "int32x4") for block in BLOCKS}
                carry = Registers(e, BLOCKS, before)
                with e.loop(count) as step:
                    pair = e.bind(first + step * taps.at_once)
                    output = e.at(target, pair * sizes.channels + channel)
                    last = carry.read()
                    for number, sums in enumerate(taps.sums(e, held, step, pair)):
                        value = self._along_the_row(sums, last, held.bias, strip)
                        e.store(output, number * sizes.channels, value, "int16x8")
                        last = {block: sums[1, block] for block in BLOCKS}
                    carry.write(last)
                for block, value in carry.read().items():
                    e.store(carry_at, 4 * block, value, "int32x4")

    def _along_the_row(self, sums: dict, before: dict, bias: list[Value] | None, strip: Value) -> Value:
        """The maximum of three columns, as int16 in front of the multiplication."""
        e, found = self.e, []
        for block in BLOCKS:
            value = e.op("smax", "int32x4", sums[0, block], sums[1, block])
            value = e.op("smax", "int32x4", value, before[block])
            found.append(e.add(value, bias[block], "int32x4") if bias else value)
        shifts = None
        if self.rule.pre_shift:
            loaded = e.load_pairs(self._requant(strip), 2 * STRIP, STRIP, 2, "int16x8")
            shifts = tuple(e.reinterpret(value, "int32x4") for value in loaded)
        value = self.rule.narrow(e, *found, shifts)
        e.settle([value])
        return value

    def _requant(self, strip: Value) -> Pointer:
        return self.e.at(self.e.requant, strip * self.rule.pair_stride)

    def _pool(self, line: Value, top: Value) -> None:
        e, sizes, rule, pitch = self.e, self.sizes, self.rule, self.workload["out_pitch"]
        lines = [self._slot(e.bind(tirx.min(tirx.max(top + i, 0), sizes.middle[0] - 1))) for i in range(ROWS)]
        row = e.bind(e.out + line * (self.workload["out_row"] * pitch))
        columns = min(COLUMNS, sizes.width)
        with e.loop(sizes.strips) as strip:
            channel = tile_start(e, strip, STRIP, sizes.channels)
            requant = self._requant(strip)
            multiplier, bias = e.load(requant, 0, "int16x8"), e.load(requant, STRIP, "int16x8")
            with e.loop(tile_count(sizes.width, columns)) as step:
                column = tile_start(e, step, columns, sizes.width)
                place = e.bind((column + sizes.first) * sizes.channels + channel)
                above = [e.at(line, place) for line in lines]
                output = e.at(e.arena, row + column * pitch + channel)
                for q in range(columns):
                    values = [e.load(line, q * sizes.channels, "int16x8") for line in above]
                    value = e.op("smax", "int16x8", e.op("smax", "int16x8", values[0], values[1]), values[2])
                    value = rule.finish(e, rule.scale(e, value, multiplier, bias), None)
                    e.store(output, q * pitch, value, "int8x8")


def build(workload: Workload, tiling: Tiling) -> Kernel:
    """The kernel of a workload with one of `tilings`."""
    chosen, sizes = dict(tiling), _Geometry.of(workload)
    pairs = PixelPairs.of(workload, sizes.pairs, sizes.left)
    if workload.isa == "dotprod":
        taps: Taps = DotTaps(pairs, chosen["pairs"])
    else:
        taps = PairsTaps(pairs, chosen["pairs"], workload["accumulator_bias"], workload["full_range_weights"])
    kernel = _StemPool(workload, taps)
    kernel.emit()
    channels = sizes.strip_channels()

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        weight = constants["weight"].reshape(sizes.channels, -1)[channels]
        return Packed(
            np.concatenate([taps.header, taps.pack(weight).reshape(-1)]),
            pack_pairs(channels, constants),
            taps.pack_bias(constants["accumulator_bias"][channels].astype(np.int32)),
        )

    mcpu = MODELS[chosen[SCHEDULE]]
    return Kernel(workload, tiling, NAME, kernel.e.function(), sizes.tiles, kernel.scratch_bytes, pack, mcpu)
