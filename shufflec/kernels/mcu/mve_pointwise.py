"""1x1 convolutions with MVE: four output channels at a time, their sums by VMLADAVA over the input channels.

The channels of a few pixels stay in vector registers while the weights of every output channel pass by. Lanes behind
the last channel are cleared in the activations, so that the weights need no padding in flash: what follows them meets
zero. Four sums become a vector for bias, VRMULH, residual and clamp; only a shuffled write goes byte by byte.

Register budget: at most 6 of the 8 vectors hold activations, one weights, one the results.
"""

from __future__ import annotations

import numpy as np
from tvm import tirx

from shufflec.kernels.a64.emitter import Pointer, Value
from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.mcu import mve
from shufflec.kernels.mcu.emitter import MEmitter, MRule, const, residual_factor, table
from shufflec.kernels.mcu.windows import plane

NAME = "mve-pointwise-1"
HELD = 6  # vectors of activations in registers
MAX_VECTORS = 40
_MASK = 8  # where the mask lies in `requant`, in int16


def accepts(workload: Workload) -> bool:
    """1x1, stride 1; shuffled only as the groups are."""
    if workload.kind != "conv2d" or "kernel" in dict(workload.params):
        return False
    depth = workload["in_channels"] // workload["groups"]
    return workload["shuffle_rows"] in (1, workload["groups"]) and mve.vectors_of(depth) <= MAX_VECTORS


def build(workload: Workload) -> Kernel:
    """The kernel of a 1x1 workload. A tile is a row, or the whole plane where its rows follow each other."""
    p = dict(workload.params)
    height, width = plane(p)
    builder = _Pointwise(workload, p)
    e = builder.e
    with e.tiles() as y:
        first = [e.bind(base + y * (p[row] * p[pitch])) for base, row, pitch in builder.bases()]
        count = builder.pixels_at_once
        whole = width // count
        if whole:
            with e.loop(whole) as x:
                steps = zip(first, builder.pitches, strict=True)
                builder.pixels([e.bind(at + x * (count * pitch)) for at, pitch in steps], count)
        if width % count:
            with e.loop(width % count) as x:
                steps = zip(first, builder.pitches, strict=True)
                builder.pixels([e.bind(at + (x + whole * count) * pitch) for at, pitch in steps], 1)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        weight = constants["weight"].astype(np.int8).reshape(-1)
        mask = np.zeros(mve.LANES, np.int8)
        mask[: (builder.depth - 1) % mve.LANES + 1] = -1
        head = np.zeros(_MASK, np.int16)
        head[: p["residual"]] = residual_factor(constants)
        pairs = table(constants)
        return Packed(
            np.concatenate([weight, np.zeros(mve.LANES, np.int8)]),
            np.concatenate([head, mask.view("<i2")]),
            np.concatenate([pairs[:, 0], pairs[:, 1]]),
        )

    return Kernel(workload, (), NAME, e.function(), height, 0, pack)


class _Pointwise:
    def __init__(self, workload: Workload, p: dict):
        self.e, self.p, self.rule = MEmitter(), p, MRule.of(workload, dsp=True)
        self.groups, self.channels = p["groups"], p["out_channels"]
        self.depth, self.per_group = p["in_channels"] // self.groups, self.channels // self.groups
        self.vectors = mve.vectors_of(self.depth)
        self.pitches = [p["in_pitch"], p["out_pitch"]] + ([p["residual_pitch"]] if p["residual"] else [])
        self.pixels_at_once = max(1, min(4, HELD // self.vectors))
        e = self.e
        self.mask = None
        if self.depth % mve.LANES:
            self.mask = e.reinterpret(e.load(e.requant, _MASK, "int16x8"), "int8x16")
        self.factor = e.half(e.requant, 0) if p["residual"] else None

    def bases(self) -> list[tuple[Value, str, str]]:
        """Input, output and residual: their offset, and the names of row and pitch."""
        e, residual = self.e, [(self.e.in1, "residual_row", "residual_pitch")] if self.p["residual"] else []
        return [(e.in0, "in_row", "in_pitch"), (e.out, "out_row", "out_pitch"), *residual]

    def pixels(self, at: list[Value], count: int) -> None:
        """All output channels of some pixels; at: byte offsets of the first one's input, output, residual."""
        e = self.e
        places = [
            [e.at(e.arena, e.bind(first + i * pitch)) for i in range(count)]
            for first, pitch in zip(at, self.pitches, strict=True)
        ]
        with e.loop(self.groups) as group:
            sources = [e.at(source, e.bind(group * self.depth)) for source in places[0]]
            held = [[self._activations(s, v) for v in range(self.vectors)] for s in sources]
            if self.vectors > HELD:
                held = []
            base = e.bind(group * self.per_group)
            with e.loop(self.per_group // 4) as n:
                self._block(e.bind(4 * n), base, group, 4, sources, held, places)
            if self.per_group % 4:
                self._block(const(self.per_group // 4 * 4), base, group, self.per_group % 4, sources, held, places)

    def _activations(self, source: Pointer, vector: int) -> Value:
        """16 channels of a pixel, those behind the last one cleared."""
        e = self.e
        value = e.load(source, mve.LANES * vector, "int8x16")
        if self.mask is not None and vector == self.vectors - 1:
            value = e.bind(tirx.bitwise_and(value, self.mask), "int8x16")
        return value

    def _block(
        self, n: Value, base: Value, group: Value, outs: int, sources: list[Pointer], held: list, places: list
    ) -> None:
        """Channels n..n+outs-1 of a group."""
        e, count = self.e, len(sources)
        channel = e.bind(base + n)
        weights = e.at(e.weights, e.bind(channel * self.depth))
        sums = [[const(0)] * outs for _ in range(count)]
        for v in range(self.vectors):
            values = [held[i][v] if held else self._activations(sources[i], v) for i in range(count)]
            for o in range(outs):
                w = e.load(weights, o * self.depth + v * mve.LANES, "int8x16")
                for i in range(count):
                    sums[i][o] = mve.dot(e, values[i], w, sums[i][o])
        if outs == 4 and self.p["shuffle_rows"] == 1:
            self._finish_vector(channel, sums, places)
        else:
            self._finish_bytes(channel, n, group, outs, sums, places)

    def _finish_vector(self, channel: Value, sums: list[list[Value]], places: list) -> None:
        e = self.e
        biases = e.load(e.accumulators, channel, "int32x4")
        multipliers = e.load(e.accumulators, e.bind(channel + self.channels), "int32x4")
        for i, four in enumerate(sums):
            total = e.add(mve.four_words(e, four), biases, "int32x4")
            residual = mve.four_bytes(e, places[2][i], channel) if self.p["residual"] else None
            result = mve.finish(e, self.rule, total, multipliers, residual, self.factor)
            mve.store_four(e, places[1][i], channel, result)

    def _finish_bytes(
        self, channel: Value, n: Value, group: Value, outs: int, sums: list[list[Value]], places: list
    ) -> None:
        e, shuffled = self.e, self.p["shuffle_rows"] > 1
        step = self.groups if shuffled else 1
        place = e.bind(n * self.groups + group) if shuffled else channel
        for o in range(outs):
            bias = e.load(e.accumulators, e.bind(channel + o), "int32")
            multiplier = e.load(e.accumulators, e.bind(channel + (o + self.channels)), "int32")
            for i, values in enumerate(sums):
                residual = e.byte(places[2][i], e.bind(channel + o)) if self.p["residual"] else None
                total = e.bind(values[o] + bias)
                result = self.rule.finish(e, total, multiplier, residual, self.factor)
                e.put_byte(places[1][i], e.bind(place + o * step), result)
