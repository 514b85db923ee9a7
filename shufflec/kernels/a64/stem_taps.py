"""Accumulators of the first convolution: two pixels and eight channels at once, the weights in registers.

- NEON: each quad of taps is expanded to [k0 k1 four times | k2 k3 four times] in scratch, once for all channels, a
  segment of a row at a time; SMULL, SMLAL2, SADALP as in pointwise_pairs.py. A table lookup in one register costs a
  Cortex-A72 4 operations, in three registers 15; so TRN1 and ZIP2 bring the rest of three rows together first.
- SDOT by element: a row of the window is a register whose 32-bit lanes are its quads; only the rest is gathered.

Registers for the seven quads of 3x3x3: 14 weights, 4 accumulators, the column before and the bias of two blocks each;
NEON 4 products and 4 activations, SDOT 8 rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tvm import tirx

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.stem_windows import PIXELS, QUAD, ROW, PixelPairs
from shufflec.kernels.a64.widening import Sums

STRIP = 8  # channels at once: two blocks of four
BLOCKS = (0, 1)
SEGMENT = 32  # pairs of pixels whose expanded taps lie in scratch at once

Accumulators = dict[tuple[int, int], Value]  # int32x4 by pixel and block


@dataclass(frozen=True)
class Held:
    """What a strip needs. weights: int8x16 by quad and block; bias: int32x4 by block; starts: int32, in memory."""

    weights: dict[tuple[int, int], Value]
    bias: list[Value] | None = None
    starts: Pointer | None = None


class Taps(ABC):
    """at_once: pairs of pixels that a step takes. header: what the packed weights begin with."""

    def __init__(self, pairs: PixelPairs, at_once: int):
        self.pairs, self.at_once = pairs, at_once
        self.header = np.zeros(0, np.int8)
        self.scratch_bytes = 0

    @abstractmethod
    def segments(self, e: Emitter, line: Value) -> Iterator[tuple[Value, Value]]:
        """For each part of a row of the convolution: (its first pair, its steps), ready to be summed."""

    @abstractmethod
    def hold(self, e: Emitter, strip: Value) -> Held:
        """Loads what a strip needs all along a segment."""

    @abstractmethod
    def sums(self, e: Emitter, held: Held, step: Value, pair: Value) -> Iterator[Accumulators]:
        """The accumulators of each pair of a step. step: of the segment; pair: the step's first."""

    @abstractmethod
    def pack(self, weight: np.ndarray) -> np.ndarray:
        """int8 (strips, STRIP, taps) to int8 in the order of `hold`."""

    @abstractmethod
    def pack_bias(self, bias: np.ndarray) -> np.ndarray:
        """int32 (strips, STRIP) likewise."""

    def _weights(self, e: Emitter, strip: Value) -> dict[tuple[int, int], Value]:
        keys = [(quad, block) for quad in range(self.pairs.quads) for block in BLOCKS]
        at = e.at(e.weights, strip * (len(keys) * ROW) + len(self.header))
        return dict(zip(keys, e.load_pairs(at, 0, ROW, len(keys), "int8x16"), strict=True))


def _table(places: np.ndarray) -> np.ndarray:
    """Indices of a TBL: int8 (ROW,)."""
    return places.astype(np.uint8).view(np.int8)


class PairsTaps(Taps):
    """NEON. biased: whether there is a bias to add; full_range: see widening.py."""

    def __init__(self, pairs: PixelPairs, at_once: int, biased: bool, full_range: bool):
        super().__init__(pairs, at_once)
        self.biased, self.full_range = biased, full_range
        #: Whether the rest is byte 8 of three rows, which TRN1 and ZIP2 bring together: of window byte k at 2 * k - 16.
        self.woven = pairs.rest == [8, ROW + 8, 2 * ROW + 8] and pairs.shift(1) % 2 == 0
        tables = [table.tobytes() for pixel in PIXELS for table in self._tables(pixel)]
        distinct = sorted(set(tables), key=tables.index)
        self.tables = [distinct.index(table) for table in tables]
        self.table_count = len(distinct)
        self.header = np.frombuffer(b"".join(distinct), np.int8)
        segments = -(-pairs.count // SEGMENT)
        self.span = -(-pairs.count // (segments * at_once)) * at_once
        self.scratch_bytes = self.span * len(PIXELS) * pairs.quads * ROW

    def _tables(self, pixel: int) -> list[np.ndarray]:
        """What expands each quad of one row, then each of the rest."""
        pairs, lanes = self.pairs, np.arange(ROW)
        expand = lanes % 2 + 2 * (lanes >= ROW // 2)
        whole = [pairs.shift(pixel) + QUAD * quad + expand for quad in range(pairs.whole)]
        if self.woven:
            return [_table(table) for table in (*whole, 2 * pairs.shift(pixel) + expand)]
        rest = pairs.rest_table(pixel)
        return [_table(table) for table in (*whole, *(rest[QUAD * quad + expand] for quad in range(pairs.rest_quads)))]

    def segments(self, e: Emitter, line: Value) -> Iterator[tuple[Value, Value]]:
        count, span = self.pairs.count, self.span
        source = e.bind(e.in0 + line * self.pairs.line)
        tables = list(e.load_pairs(e.weights, 0, ROW, self.table_count, "int8x16"))
        with e.loop(-(-count // span)) as segment:
            first = e.bind(segment * span)
            length = span if count % span == 0 else e.bind(tirx.min(count - first, span))
            with e.loop(length) as number:
                pixels = self.pairs.pixels(e, source, first + number)
                self._expand(e, pixels, [tables[i] for i in self.tables], self._expanded(e, number))
            steps = length // self.at_once if isinstance(length, int) else tirx.truncdiv(length, self.at_once)
            yield first, steps

    def _expanded(self, e: Emitter, number: Value) -> Pointer:
        return e.at(e.arena, e.bind(e.scratch + number * (len(PIXELS) * self.pairs.quads * ROW)))

    def _expand(self, e: Emitter, pixels: list[Pointer], tables: list[Value], target: Pointer) -> None:
        """The quads of a pair to scratch: quad by quad, both pixels side by side."""
        pairs = self.pairs
        windows = [pairs.load_rows(e, pixel) for pixel in (pixels[:1] if pairs.together else pixels)]
        rests = [self._rest(e, rows) for rows in windows]
        each, expanded = len(tables) // len(PIXELS), []
        for pixel in PIXELS:
            own, number = tables[pixel * each : (pixel + 1) * each], pixel % len(windows)
            values = [e.op("tbl1", "int8x16", row, table) for row in windows[number] for table in own[: pairs.whole]]
            rest = rests[number]
            values += [e.op(f"tbl{len(rest)}", "int8x16", *rest, table) for table in own[pairs.whole :]]
            expanded.append(values)
        for quad, both in enumerate(zip(*expanded, strict=True)):
            for pixel, value in enumerate(both):
                e.store(target, (quad * len(PIXELS) + pixel) * ROW, value, "int8x16")

    def _rest(self, e: Emitter, rows: list[Value]) -> list[Value]:
        """The registers that the rest is looked up in."""
        if not self.woven:
            return rows
        transposed = [i // 2 * 2 + ROW * (i % 2) for i in range(ROW)]  # TRN1
        zipped = [4, 12, 5, 13, 6, 14, 7, 15]  # ZIP2
        upper = e.reinterpret(e.shuffle(rows[:2], transposed, "int8x16"), "int16x8")
        woven = e.shuffle([upper, e.reinterpret(rows[2], "int16x8")], zipped, "int16x8")
        return [e.reinterpret(woven, "int8x16")]

    def hold(self, e: Emitter, strip: Value) -> Held:
        bias = None
        if self.biased:
            bias = list(e.load_pairs(e.at(e.accumulators, strip * STRIP), 0, 4, len(BLOCKS), "int32x4"))
        return Held(self._weights(e, strip), bias)

    def sums(self, e: Emitter, held: Held, step: Value, pair: Value) -> Iterator[Accumulators]:
        quads = self.pairs.quads
        count = self.at_once * quads
        loaded = e.load_pairs(self._expanded(e, step * self.at_once), 0, ROW, count * len(PIXELS), "int8x16")
        ahead = [next(loaded) for _ in PIXELS]
        for first in range(0, count, quads):
            sums = Sums(e, self.full_range)
            for quad in range(quads):
                # The next quad is on its way while this one is multiplied.
                here, ahead = ahead, [next(loaded) for _ in PIXELS if first + quad + 1 < count]
                for pixel, activation in enumerate(here):
                    for block in BLOCKS:
                        sums.multiply((pixel, block), activation, held.weights[quad, block])
                sums.settle()
            yield sums.values

    def pack(self, weight: np.ndarray) -> np.ndarray:
        quads = self.pairs.quads
        split = self.pairs.by_quads(weight).reshape(len(weight), len(BLOCKS), 4, quads, 2, 2)
        return np.ascontiguousarray(split.transpose(0, 3, 1, 4, 2, 5))

    def pack_bias(self, bias: np.ndarray) -> np.ndarray:
        return bias.reshape(-1) if self.biased else np.zeros(0, np.int32)


class DotTaps(Taps):
    """SDOT. Accumulators start from the bias, which lies in memory once for every pixel: LLVM would copy registers."""

    def __init__(self, pairs: PixelPairs, at_once: int):
        super().__init__(pairs, at_once)
        self.rests_together = pairs.together and 2 * pairs.rest_quads <= QUAD
        places = [pairs.rest_table(pixel) for pixel in PIXELS if pixel == 0 or self.rests_together]
        table = np.concatenate(places)[:ROW]
        if pairs.rest_quads:
            self.header = _table(np.pad(table, (0, ROW - len(table)), constant_values=255))

    def segments(self, e: Emitter, line: Value) -> Iterator[tuple[Value, Value]]:
        self.source = e.bind(e.in0 + line * self.pairs.line)
        yield tirx.const(0, "int32"), self.pairs.count // self.at_once

    def hold(self, e: Emitter, strip: Value) -> Held:
        return Held(self._weights(e, strip), starts=e.at(e.accumulators, strip * (STRIP * len(PIXELS))))

    def sums(self, e: Emitter, held: Held, step: Value, pair: Value) -> Iterator[Accumulators]:
        for number in range(self.at_once):
            yield self._pair(e, held, pair + number)

    def _pair(self, e: Emitter, held: Held, pair: Value) -> Accumulators:
        keys = [(pixel, block) for pixel in PIXELS for block in BLOCKS]
        sums = dict(zip(keys, e.load_pairs(held.starts, 0, 4, len(keys), "int32x4"), strict=True))
        windows = [self.pairs.load_rows(e, pixel) for pixel in self.pairs.pixels(e, self.source, pair)]
        quads = [[(row, lane) for row in rows for lane in range(self.pairs.whole)] for rows in windows]
        if self.pairs.rest_quads:
            quads = [own + rest for own, rest in zip(quads, self._rests(e, windows), strict=True)]
        for quad, both in enumerate(zip(*quads, strict=True)):
            for pixel, (register, lane) in enumerate(both):
                words = e.reinterpret(register, "int32x4")
                element = e.reinterpret(e.shuffle([words], [lane] * 4, "int32x4"), "int8x16")
                for block in BLOCKS:
                    weight = held.weights[quad, block]
                    sums[pixel, block] = e.op("sdot", "int32x4", sums[pixel, block], weight, element)
            e.settle(list(sums.values()))
        return sums

    def _rests(self, e: Emitter, windows: list[list[Value]]) -> list[list[tuple[Value, int]]]:
        """(register, lane) of the quads of the rest, for each pixel."""
        table, count = e.load(e.weights, 0, "int8x16"), self.pairs.rest_quads
        looked_up = windows[:1] if self.rests_together else windows
        found = [e.op(f"tbl{len(rows)}", "int8x16", *rows, table) for rows in looked_up]
        if self.rests_together:
            return [[(found[0], count * pixel + lane) for lane in range(count)] for pixel in PIXELS]
        return [[(register, lane) for lane in range(count)] for register in found]

    def pack(self, weight: np.ndarray) -> np.ndarray:
        quads = self.pairs.by_quads(weight)
        return np.ascontiguousarray(quads.reshape(len(weight), len(BLOCKS), 4, -1, QUAD).transpose(0, 3, 1, 2, 4))

    def pack_bias(self, bias: np.ndarray) -> np.ndarray:
        return np.repeat(bias[:, None], len(PIXELS), axis=1).reshape(-1)
