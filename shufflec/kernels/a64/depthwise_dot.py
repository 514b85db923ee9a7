"""3x3 depthwise convolution with SDOT: four rows of a column are one quad, for two output rows at once.

Eight channels of four input rows are zipped to two registers of [channel][row]; three columns of them and packed
weights give two int32x4 an output. Weights of a quad are (w0 w1 w2 0) for the upper output row and (0 w0 w1 w2) for the
lower one, so at stride 1 both rows share the zips; at stride 2 they share the middle row:

    stride 1   quads (0 1 2 3)              upper: taps 0 1 2 -    lower: taps - 0 1 2
    stride 2   quads (0 1 2 2), (3 4 2 2)   upper: taps 0 1 2 -    lower: taps 1 2 0 -

12 SDOT, 8 ZIP (stride 2: 14) and 10 for the rounding rule for 16 outputs, where widening multiplies take 18 on the one
multiply pipe of a Cortex-A76. Register budget: 12 weights, 6 of zipped columns, 4 sums, a multiplier and a bias; 8 for
the columns on their way.

    a row of border pixels to scratch (borders.py)
    for tile (pairs of output rows)                              <- threads
      for strip of 8 channels                                    weights stay in registers
        for pair, for step of `columns` outputs
"""

from __future__ import annotations

import numpy as np
from tvm import tirx

from shufflec.kernels.a64.borders import Input, Plane
from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.geometry import tile_count, tile_start
from shufflec.kernels.a64.requantize import Rule
from shufflec.kernels.a64.scheduling import MODELS, SCHEDULE
from shufflec.kernels.a64.windows import column_tilings
from shufflec.kernels.kernel import Kernel, Packed, Workload

NAME = "a64-depthwise-dot-2"
STRIP = 8
PAIR = 2
TAPS = 3
MAX_COLUMNS = 14
MIN_TILES = 4  # for threads
TILE_BYTES = 24 << 10  # of input: each strip reads all lines of a tile again, from the first cache

#: By stride: the input rows of each quad, and of each output row its quad and the tap that each place of it has.
QUADS = {1: ((0, 1, 2, 3),), 2: ((0, 1, 2, 2), (3, 4, 2, 2))}
ROWS = {1: ((0, (0, 1, 2, None)), (0, (None, 0, 1, 2))), 2: ((0, (0, 1, 2, None)), (1, (1, 2, 0, None)))}

Tiling = tuple[tuple[str, int], ...]


def accepts(workload: Workload) -> bool:
    """3x3 with equal strides of 1 or 2 over at least eight channels and two output rows, with dot products."""
    if workload.kind != "depthwise_conv2d" or workload.isa != "dotprod":
        return False
    fits = tuple(workload["kernel"]) == (TAPS, TAPS) and tuple(workload["stride"]) in ((1, 1), (2, 2))
    return fits and workload["channels"] >= STRIP and workload["height"] >= PAIR


def tilings(workload: Workload) -> list[Tiling]:
    """Output columns at once and the scheduling model."""
    return column_tilings(workload, MAX_COLUMNS)


def build(workload: Workload, tiling: Tiling) -> Kernel:
    """The kernel of a workload with one of `tilings`."""
    chosen = dict(tiling)
    plane = Plane.of(workload)
    channels, fill_bytes = plane.channels, plane.fill_bytes
    height, width, stride = workload["height"], workload["width"], workload["stride"][0]
    pitch, row = workload["out_pitch"], workload["out_row"]
    rule, columns = Rule.of(workload), min(chosen["columns"], workload["width"])
    strips, pairs = tile_count(channels, STRIP), tile_count(height, PAIR)
    tile_pairs = _pairs_of_a_tile(pairs, stride * plane.width * channels)
    rows, quads = ROWS[stride], QUADS[stride]
    planes = STRIP * 4 * TAPS  # bytes of the weights of one output row and strip

    last = height - PAIR, width - columns
    packed_rows = 1 if stride == 1 else PAIR
    input_rows, input_columns = 1 + max(map(max, quads)), (columns - 1) * stride + TAPS

    e = Emitter()
    plane.write_border(e, input_columns)
    with e.tiles() as tile, e.loop(strips) as strip:
        channel = tile_start(e, strip, STRIP, channels)
        packed = e.at(e.weights, strip * (packed_rows * planes) + fill_bytes)
        loaded = list(e.load_pairs(packed, 0, 16, packed_rows * planes // 16, "int8x16"))
        weights = [loaded[: planes // 16], loaded[planes // 16 :] or [_one_place_on(e, value) for value in loaded]]
        requant = e.at(e.requant, strip * rule.pair_stride)
        multiplier = e.load(requant, 0, "int16x8")
        start = e.at(e.accumulators, strip * (PAIR * STRIP))
        first_pair = tile_start(e, tile, tile_pairs, pairs)
        with e.loop(tile_pairs) as number, e.loop(tile_count(width, columns)) as step:
            line = tile_start(e, first_pair + number, PAIR, height)
            column = tile_start(e, step, columns, width)
            source = Input(e, plane, line, column, channel, input_rows, last)
            output = e.at(e.arena, e.out + (line * row + column) * pitch + channel)
            outputs = [output, e.at(output, row * pitch)]
            zipped = _ZippedColumns(e, source, quads)
            for q in range(columns):
                window = [zipped(q * stride + j) for j in range(TAPS)]
                sums = []
                for number_of_row, (quad, _) in enumerate(rows):
                    first = STRIP * number_of_row
                    halves = list(e.load_pairs(start, first, 4, 2, "int32x4"))
                    for j in range(TAPS):
                        for half in range(2):
                            operands = window[j][quad][half], weights[number_of_row][2 * j + half]
                            halves[half] = e.op("sdot", "int32x4", halves[half], *operands)
                    sums.append(halves)
                for target, halves in zip(outputs, sums, strict=True):
                    bias = e.load(requant, STRIP, "int16x8")
                    shifts = _own_shifts(e, rule, requant)
                    value = e.op("sqrdmlah", "int16x8", bias, rule.narrow(e, *halves, shifts), multiplier)
                    e.store(target, q * pitch, rule.finish(e, value, None), "int8x8")

    index = np.minimum(np.arange(strips) * STRIP, channels - STRIP)[:, None] + np.arange(STRIP)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        taps = np.concatenate([constants["weight"], np.zeros((channels, 1, TAPS), np.int8)], axis=1)[index]
        order = [[TAPS if tap is None else tap for tap in places] for _, places in rows[:packed_rows]]
        # (strips, 8, rows, 4 places, 3 columns) -> (strips, row, column, channel, place)
        weight = taps[:, :, order].transpose(0, 2, 4, 1, 3)
        parts = [constants["multiplier"][index].astype(np.int16), constants["bias"][index].astype(np.int16)]
        if rule.pre_shift:
            parts.append(constants["pre_shift"][index].astype(np.int32).view(np.int16))
        bias = constants["accumulator_bias"][index].astype(np.int32)
        return Packed(
            np.concatenate([plane.pack_fill(constants), weight.astype(np.int8).reshape(-1)]),
            np.concatenate(parts, axis=1).reshape(-1),
            np.concatenate([bias, bias], axis=1).reshape(-1),
        )

    tiles, scratch_bytes = tile_count(pairs, tile_pairs), plane.border_bytes(input_columns)
    return Kernel(workload, tiling, NAME, e.function(), tiles, scratch_bytes, pack, MODELS[chosen[SCHEDULE]])


def _pairs_of_a_tile(pairs: int, row_bytes: int) -> int:
    """Pairs of output rows of a tile: many, so that weights are loaded seldom, but enough tiles for threads."""
    most = max(1, TILE_BYTES // (PAIR * row_bytes))
    return max(1, min(most, pairs // MIN_TILES))


class _ZippedColumns:
    """Columns of the input as two registers of four channels x four rows for each quad, each zipped once."""

    def __init__(self, e: Emitter, source: Input, quads: tuple):
        self.e, self.source, self.quads = e, source, quads
        self.rows = 1 + max(map(max, quads))
        self.done: dict[int, list[list[Value]]] = {}

    def __call__(self, column: int) -> list[list[Value]]:
        if column not in self.done:
            e = self.e
            values = [self.source(i, column, "int8x8") for i in range(self.rows)]
            lanes = [lane for i in range(STRIP) for lane in (i, i + STRIP)]
            pairs: dict[tuple[int, int], Value] = {}
            for a, b, c, d in self.quads:
                for one, other in ((a, b), (c, d)):
                    if (one, other) not in pairs:
                        value = e.shuffle([values[one], values[other]], lanes, "int8x16")
                        pairs[one, other] = e.reinterpret(value, "int16x8")
            self.done[column] = [self._quad(pairs[a, b], pairs[c, d]) for a, b, c, d in self.quads]
        return self.done[column]

    def _quad(self, upper: Value, lower: Value) -> list[Value]:
        halves = []
        for first in (0, 4):
            lanes = [lane for i in range(first, first + 4) for lane in (i, i + STRIP)]
            halves.append(self.e.reinterpret(self.e.shuffle([upper, lower], lanes, "int16x8"), "int8x16"))
        return halves


def _one_place_on(e: Emitter, weights: Value) -> Value:
    """(w0 w1 w2 0) of each channel to (0 w0 w1 w2)."""
    words = e.reinterpret(weights, "int32x4")
    return e.reinterpret(
        e.bind(tirx.shift_left(words, tirx.Broadcast(tirx.const(8, "int32"), 4)), "int32x4"), "int8x16"
    )


def _own_shifts(e: Emitter, rule: Rule, requant: Pointer) -> tuple[Value, ...] | None:
    """The pre-shifts of the strip as two int32x4, behind its multipliers and biases."""
    if not rule.pre_shift:
        return None
    return tuple(e.reinterpret(value, "int32x4") for value in e.load_pairs(requant, 2 * STRIP, STRIP, 2, "int16x8"))
