"""The stem with MVE: a convolution of an RGB plane, streamed row by row into its 3x3 pool of stride 2.

The taps of a window are gathered into one piece of the scratch (a store of 16 bytes for each row of the window, the
next over the surplus of the one before), so that K = 27 is two VMLADAVA. What lies behind the last tap meets zero
weights. The scratch also holds the input rows of a window with their border, and three rows of the convolution. The
pool takes the maximum of 16 channels at once; a window that hangs over the edge sees its nearest row or column twice
instead.
"""

from __future__ import annotations

import numpy as np
from tvm import tirx

from shufflec.kernels.a64.emitter import Pointer, Value
from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.mcu import mve
from shufflec.kernels.mcu.emitter import MEmitter, MRule, const, table
from shufflec.kernels.mcu.windows import stream_rows

NAME = "mve-stem-pool-1"
PIXELS = 2
_PATCH = 64  # bytes of a gathered window, with what the last store leaves behind it


def accepts(workload: Workload) -> bool:
    """Window rows of at most 16 bytes, windows of at most 48, at least 16 channels, a 3x3 pool of stride 2."""
    if workload.kind != "stem_pool":
        return False
    p = dict(workload.params)
    row = p["kernel"][1] * p["in_channels"]
    pooled = (p["pool_kernel"], p["pool_stride"], tuple(p["pool_pad"][:2])) == ((3, 3), (2, 2), (1, 1))
    channels = p["out_channels"] % 4 == 0 and p["out_channels"] >= mve.LANES
    return pooled and channels and row <= mve.LANES and row * p["kernel"][0] <= 48 and p["mid_width"] % PIXELS == 0


def build(workload: Workload) -> Kernel:
    """The kernel of a stem_pool workload. A tile is a row of the pool; tiles must run in order."""
    p = dict(workload.params)
    stem = _Stem(workload, p)
    e = stem.e
    stream_rows(e, p["mid_height"], stem.convolve, stem.pool)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        weight = constants["weight"].reshape(p["out_channels"], -1)
        packed = np.zeros((p["out_channels"], mve.LANES * stem.vectors), np.int8)
        packed[:, : weight.shape[1]] = weight
        pairs = table(constants)
        return Packed(packed.reshape(-1), accumulators=np.concatenate([pairs[:, 0], pairs[:, 1]]))

    return Kernel(workload, (), NAME, e.function(), p["height"], stem.scratch_bytes, pack)


class _Stem:
    def __init__(self, workload: Workload, p: dict):
        self.e, self.p, self.rule = MEmitter(), p, MRule.of(workload)
        depth, (kernel_h, kernel_w) = p["in_channels"], p["kernel"]
        self.row_bytes = kernel_w * depth
        self.vectors = mve.vectors_of(kernel_h * self.row_bytes)
        reached = ((p["mid_width"] - 1) * p["stride"][1] + kernel_w) * depth
        self.border = p["pad"][1] * depth
        self.line = max(reached, self.border + p["in_width"] * depth) + mve.LANES
        self.wide = p["mid_width"] * p["out_channels"]
        patches = PIXELS * _PATCH
        self.scratch_bytes = patches + kernel_h * self.line + 3 * self.wide
        e = self.e
        self.patches = e.at(e.arena, e.scratch)
        self.lines = e.at(self.patches, patches)
        self.ring = e.at(self.lines, kernel_h * self.line)

    def convolve(self, row: Value) -> None:
        """One row of the convolution into its place in the ring; copies the input rows that are new to it."""
        e, p = self.e, self.p
        kernel_h, stride_h, top = p["kernel"][0], p["stride"][0], p["pad"][0]
        begin = e.bind(row * stride_h - top)
        kept = max(kernel_h - stride_h, 0)
        with e.loop(kernel_h) as i, e.when(tirx.any(tirx.EQ(row, const(0)), i >= kept)):
            source = e.bind(begin + i)
            place = e.bind(tirx.truncmod(source + top, const(kernel_h)) * self.line)
            self._copy(source, e.at(self.lines, place))
        taps = [
            e.at(self.lines, e.bind(tirx.truncmod(begin + (i + top), const(kernel_h)) * self.line))
            for i in range(kernel_h)
        ]
        target = e.at(self.ring, e.bind(tirx.truncmod(row, const(3)) * self.wide))
        with e.loop(p["mid_width"] // PIXELS) as x:
            self._pixels(taps, x, target)

    def _copy(self, row: Value, to: Pointer) -> None:
        """A row of the input with its border. Writes whole vectors; the line has room for the last one."""
        e, p = self.e, self.p
        inside = tirx.all(row >= 0, row < p["in_height"])
        bytes_in = p["in_width"] * p["in_channels"]
        border = mve.splat(const(p["pad_value"], "int8"), mve.LANES)
        with e.when(tirx.Not(inside)), e.loop(self.line // mve.LANES) as k:
            e.store(to, k * mve.LANES, border, "int8x16")
        with e.when(inside):
            source = e.at(e.arena, e.bind(e.in0 + row * bytes_in))
            e.store(to, 0, border, "int8x16")
            with e.loop(-(-bytes_in // mve.LANES)) as k:
                value = e.load(source, k * mve.LANES, "int8x16")
                e.store(to, e.bind(k * mve.LANES + self.border), value, "int8x16")
            with e.loop(self.line - self.border - bytes_in) as k:
                e.put_byte(to, k + (self.border + bytes_in), const(p["pad_value"]))

    def _pixels(self, taps: list[Pointer], x: Value, target: Pointer) -> None:
        """All channels of PIXELS pixels."""
        e, p = self.e, self.p
        step, channels = p["stride"][1] * p["in_channels"], p["out_channels"]
        begin = e.bind(x * (PIXELS * step))
        rows = [e.at(tap, begin) for tap in taps]
        for q in range(PIXELS):
            for i, row in enumerate(rows):
                e.store(self.patches, q * _PATCH + i * self.row_bytes, e.load(row, q * step, "int8x16"), "int8x16")
        held = [
            [e.load(self.patches, q * _PATCH + v * mve.LANES, "int8x16") for v in range(self.vectors)]
            for q in range(PIXELS)
        ]
        pixel = e.at(target, e.bind(x * (PIXELS * channels)))
        with e.loop(channels // 4) as n:
            channel = e.bind(4 * n)
            weights = e.at(e.weights, e.bind(channel * (mve.LANES * self.vectors)))
            sums = [[const(0)] * 4 for _ in range(PIXELS)]
            for v in range(self.vectors):
                for o in range(4):
                    w = e.load(weights, (o * self.vectors + v) * mve.LANES, "int8x16")
                    for q in range(PIXELS):
                        sums[q][o] = mve.dot(e, held[q][v], w, sums[q][o])
            biases = e.load(e.accumulators, channel, "int32x4")
            multipliers = e.load(e.accumulators, e.bind(channel + channels), "int32x4")
            for q, four in enumerate(sums):
                total = e.add(mve.four_words(e, four), biases, "int32x4")
                mve.store_four(e, pixel, channel + q * channels, mve.finish(e, self.rule, total, multipliers))

    def pool(self, y: Value) -> None:
        """One row of the pool, from the ring; the last vector of channels overlaps the one before it."""
        e, p = self.e, self.p
        channels, last = p["out_channels"], p["mid_height"] - 1
        lines = []
        for i in (-1, 0, 1):
            row = e.bind(tirx.Min(tirx.Max(2 * y + i, const(0)), const(last)))
            lines.append(e.at(self.ring, e.bind(tirx.truncmod(row, const(3)) * self.wide)))
        output = e.at(e.arena, e.bind(e.out + y * (p["out_row"] * p["out_pitch"])))
        firsts = sorted({*range(0, channels - mve.LANES + 1, mve.LANES), channels - mve.LANES})
        with e.loop(p["width"]) as x:
            columns = [
                e.bind(tirx.Min(tirx.Max(2 * x + j, const(0)), const(p["mid_width"] - 1)) * channels)
                for j in (-1, 0, 1)
            ]
            pixel = e.at(output, e.bind(x * p["out_pitch"]))
            for first in firsts:
                best = None
                for line in lines:
                    for column in columns:
                        value = e.load(line, e.bind(column + first), "int8x16")
                        best = value if best is None else e.bind(tirx.Max(best, value), "int8x16")
                e.store(pixel, first, best, "int8x16")
