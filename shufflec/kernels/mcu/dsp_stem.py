"""The stem with the DSP instructions: 3x3 convolution of an RGB plane, stride 2, streamed row by row into its 3x3 pool.

A row of the input is widened to int16 once, with its border, so that the taps of a window row (9 values, and one that
a zero weight meets) are five words in a row: K = 27 becomes 15 SMLADs. The scratch holds three widened input rows and
three rows of the convolution. Two pixels times two channels: per four outputs 24 loads of activations (LDRD), 30 of
weights (LDRD) and 60 SMLADs. The pool takes the maximum of four channels at once (SSUB8, SEL); a window that hangs over
the edge sees its nearest row or column twice instead, which changes no maximum.
"""

from __future__ import annotations

import numpy as np
from tvm import tirx

from shufflec.kernels.a64.emitter import Pointer, Value
from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.mcu import dsp
from shufflec.kernels.mcu.emitter import MEmitter, MRule, const, table
from shufflec.kernels.mcu.windows import stream_rows

NAME = "dsp-stem-pool-1"
_LEAST = -0x7F7F7F80  # -128 in each byte


def accepts(workload: Workload) -> bool:
    """Any window over few channels whose columns start at whole words, and a 3x3 pool of stride 2."""
    if workload.kind != "stem_pool":
        return False
    p = dict(workload.params)
    kernel_h = p["kernel"][0]
    step = p["stride"][1] * p["in_channels"]
    pooled = (p["pool_kernel"], p["pool_stride"], tuple(p["pool_pad"][:2])) == ((3, 3), (2, 2), (1, 1))
    small = kernel_h * words_of_row(p) <= 16
    even = step % 2 == 0 and p["mid_width"] % 2 == 0 and p["out_channels"] % 4 == 0
    whole = p["in_width"] * p["in_channels"] % 4 == 0 and p["out_pitch"] >= p["out_channels"]
    return pooled and small and even and whole


def words_of_row(p: dict) -> int:
    """int16 pairs of one row of the window."""
    return -(-p["kernel"][1] * p["in_channels"] // 2)


class Geometry:
    """Sizes of the scratch. line: int16 values of a widened row; wide: bytes of a row of the convolution."""

    def __init__(self, p: dict):
        depth, kernel_w, stride_w = p["in_channels"], p["kernel"][1], p["stride"][1]
        reached = ((p["mid_width"] - 1) * stride_w + kernel_w) * depth
        border = p["pad"][1] * depth
        self.border = border
        self.filled = border + p["in_width"] * depth
        self.line = -(-max(reached + 1, self.filled + 1) // 4) * 4
        self.wide = p["mid_width"] * p["out_channels"]
        self.rows_at = 0
        self.ring_at = p["kernel"][0] * self.line * 2
        self.scratch_bytes = self.ring_at + 3 * self.wide


def build(workload: Workload) -> Kernel:
    """The kernel of a stem_pool workload. A tile is a row of the pool; tiles must run in order."""
    p = dict(workload.params)
    stem = _Stem(workload, p)
    e = stem.e
    stream_rows(e, p["mid_height"], stem.convolve, stem.pool)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        weight = constants["weight"].astype(np.int16)
        channels, kernel_h = weight.shape[:2]
        rows = weight.reshape(channels, kernel_h, -1)
        packed = np.zeros((channels, kernel_h, 2 * words_of_row(p)), "<i2")
        packed[:, :, : rows.shape[2]] = rows
        return Packed(packed.view(np.int8).reshape(-1), accumulators=table(constants).reshape(-1))

    return Kernel(workload, (), NAME, e.function(), p["height"], stem.sizes.scratch_bytes, pack)


class _Stem:
    def __init__(self, workload: Workload, p: dict):
        self.e, self.p, self.sizes = MEmitter(), p, Geometry(p)
        self.rule = MRule.of(workload, dsp=True)
        e = self.e
        self.lines = e.at(e.arena, e.scratch)
        self.ring = e.at(self.lines, self.sizes.ring_at)
        self.words = e.cast(e.weights, "int32")

    def convolve(self, row: Value) -> None:
        """One row of the convolution into its place in the ring; widens the input rows that are new to it."""
        e, p, line = self.e, self.p, 2 * self.sizes.line
        kernel_h, stride_h, top = p["kernel"][0], p["stride"][0], p["pad"][0]
        begin = e.bind(row * stride_h - top)
        kept = max(kernel_h - stride_h, 0)
        with e.loop(kernel_h) as i, e.when(tirx.any(tirx.EQ(row, const(0)), i >= kept)):
            source = e.bind(begin + i)
            # + top: a border row has a place in the ring as well
            self._widen(source, e.at(self.lines, e.bind(tirx.truncmod(source + top, const(kernel_h)) * line)))
        taps = []
        for i in range(kernel_h):
            place = e.bind(tirx.truncmod(begin + (i + top), const(kernel_h)) * line)
            taps.append(e.cast(e.at(self.lines, place), "int32"))
        target = e.at(self.ring, e.bind(tirx.truncmod(row, const(3)) * self.sizes.wide))
        with e.loop(p["mid_width"] // 2) as x:
            self._pixels(taps, x, target)

    def _widen(self, row: Value, to: Pointer) -> None:
        """A row of the input as int16 with its border; to: bytes."""
        e, p, sizes = self.e, self.p, self.sizes
        value = (p["pad_value"] & 0xFFFF) * 0x10001
        value -= 1 << 32 if value >= 1 << 31 else 0
        words = e.cast(to, "int32")
        inside = tirx.all(row >= 0, row < p["in_height"])
        with e.when(tirx.Not(inside)), e.loop(sizes.line // 2) as k:
            e.store(words, k, const(value), "int32")
        with e.when(inside):
            source = e.at(e.arena, e.bind(e.in0 + row * (p["in_width"] * p["in_channels"])))
            halves = e.cast(to, "int16")
            for k in range(sizes.border):
                e.store(halves, k, const(p["pad_value"], "int16"), "int16")
            inner = e.at(to, 2 * sizes.border)
            with e.loop(p["in_width"] * p["in_channels"] // 4) as k:
                low, high = dsp.split(e, e.word(source, 4 * k))
                e.put_word(inner, 8 * k, dsp.pair(e, low, high))
                upper = tirx.bitwise_and(high, const(-0x10000))
                e.put_word(
                    inner,
                    8 * k + 4,
                    tirx.bitwise_or(tirx.bitwise_and(tirx.shift_right(low, const(16)), const(0xFFFF)), upper),
                )
            for k in range(sizes.filled, sizes.line):
                e.store(halves, k, const(p["pad_value"], "int16"), "int16")

    def _pixels(self, taps: list[Pointer], x: Value, target: Pointer) -> None:
        """All channels of two pixels."""
        e, p = self.e, self.p
        step = p["stride"][1] * p["in_channels"] // 2  # words from a pixel to the next
        row_words, channels = words_of_row(p), p["out_channels"]
        at = e.bind(x * (2 * step))
        rows = [e.at(tap, at) for tap in taps]
        pixel = e.at(target, e.bind(x * (2 * channels)))
        with e.loop(channels // 2) as n:
            weights = e.at(self.words, e.bind(n * (2 * row_words * len(rows))))
            numbers = e.at(e.accumulators, e.bind(4 * n))
            sums = [e.load(numbers, 2 * (i // 2), "int32") for i in range(4)]
            for i, row in enumerate(rows):
                loaded = {k: e.load(row, k, "int32") for k in range(row_words + step)}
                for k in range(row_words):
                    for o in (0, 1):
                        w = e.load(weights, (o * len(rows) + i) * row_words + k, "int32")
                        for q in (0, 1):
                            sums[2 * o + q] = dsp.dual(e, w, loaded[k + q * step], sums[2 * o + q])
            out = e.at(pixel, e.bind(2 * n))
            for o in (0, 1):
                multiplier = e.load(numbers, 2 * o + 1, "int32")
                for q in (0, 1):
                    result = self.rule.finish(e, sums[2 * o + q], multiplier)
                    e.store(out, q * channels + o, tirx.Cast("int8", result), "int8")

    def pool(self, y: Value) -> None:
        """One row of the pool, from the ring."""
        e, p, wide = self.e, self.p, self.sizes.wide
        channels, last = p["out_channels"], p["mid_height"] - 1
        lines = []
        for i in (-1, 0, 1):
            row = e.bind(tirx.Min(tirx.Max(2 * y + i, const(0)), const(last)))
            lines.append(e.at(self.ring, e.bind(tirx.truncmod(row, const(3)) * wide)))
        output = e.at(e.arena, e.bind(e.out + y * (p["out_row"] * p["out_pitch"])))

        def column(x: Value, c: Value) -> Value:
            place = e.bind(x * channels + c)
            best = e.word(lines[0], place)
            for line in lines[1:]:
                best = dsp.greater_bytes(e, best, e.word(line, place))
            return best

        with e.loop(channels // 4) as n:
            c = e.bind(4 * n)
            carried = e.local(1, "int32")
            e.put(carried, 0, const(_LEAST))
            with e.loop(p["width"]) as x:
                middle = column(e.bind(2 * x), c)
                right = column(e.bind(tirx.Min(2 * x + 1, const(p["mid_width"] - 1))), c)
                best = dsp.greater_bytes(e, e.get(carried, 0, "int32"), dsp.greater_bytes(e, middle, right))
                e.put_word(output, x * p["out_pitch"] + c, best)
                e.put(carried, 0, right)
