"""1x1 convolutions with the DSP instructions: two pixels times two output channels.

Two pixels are widened once into the scratch, pair by pair and interleaved, so that LDRD fetches both pairs of a pixel;
then every output channel multiplies them: per four input channels 2 LDRD, 2 LDR, 4 SXTB16 and 8 SMLAD for 16 products.

Register budget of the inner loop: 4 sums, 4 pairs of activations, 2 words of weights, 2 pointers, 1 counter: 13 of 14.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tvm import tirx

from shufflec.kernels.a64.emitter import Pointer, Value
from shufflec.kernels.kernel import Kernel, Packed, Workload
from shufflec.kernels.mcu import dsp
from shufflec.kernels.mcu.emitter import MEmitter, MRule, const, residual_factor, table
from shufflec.kernels.mcu.windows import plane

NAME = "dsp-pointwise-2"
MAX_UNROLL = 6  # words of weights that are one straight line


def accepts(workload: Workload) -> bool:
    """1x1, stride 1; shuffled only as the groups are."""
    if workload.kind != "conv2d" or "kernel" in dict(workload.params):
        return False
    return workload["shuffle_rows"] in (1, workload["groups"])


def build(workload: Workload) -> Kernel:
    """The kernel of a 1x1 workload. A tile is a row, or the whole plane where its rows follow each other."""
    p = dict(workload.params)
    height, width = plane(p)
    builder = _Pointwise(workload, p)
    e = builder.e
    with e.tiles() as y:
        first = [e.bind(base + y * (p[row] * p[pitch])) for base, row, pitch in builder.bases()]
        if width // 2:
            with e.loop(width // 2) as x:
                builder.pixels(
                    [e.bind(at + x * (2 * pitch)) for at, pitch in zip(first, builder.pitches, strict=True)], 2
                )
        if width % 2:
            last = width - 1
            builder.pixels([e.bind(at + last * pitch) for at, pitch in zip(first, builder.pitches, strict=True)], 1)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        weight = constants["weight"].reshape(p["groups"], builder.per_group, builder.depth)
        blocks = [dsp.pack_rows(rows[n : n + 2]) for rows in weight for n in range(0, builder.per_group, 2)]
        return Packed(np.concatenate(blocks), residual_factor(constants), table(constants).reshape(-1))

    scratch = 2 * 4 * p["groups"] * dsp.pairs_of(builder.depth)
    return Kernel(workload, (), NAME, e.function(), height, scratch, pack)


class _Pointwise:
    def __init__(self, workload: Workload, p: dict):
        self.e, self.p, self.rule = MEmitter(), p, MRule.of(workload, dsp=True)
        self.groups = p["groups"]
        self.depth, self.per_group = p["in_channels"] // self.groups, p["out_channels"] // self.groups
        self.pitches = [p["in_pitch"], p["out_pitch"]] + ([p["residual_pitch"]] if p["residual"] else [])
        self.scratch = self.e.cast(self.e.at(self.e.arena, self.e.scratch), "int32")
        self.words = self.e.cast(self.e.weights, "int32")

    def bases(self) -> Iterator[tuple[Value, str, str]]:
        """Input, output and residual: their offset, and the names of row and pitch."""
        yield self.e.in0, "in_row", "in_pitch"
        yield self.e.out, "out_row", "out_pitch"
        if self.p["residual"]:
            yield self.e.in1, "residual_row", "residual_pitch"

    def pixels(self, at: list[Value], count: int) -> None:
        """All output channels of one or two pixels; at: byte offsets of the first one's input, output, residual."""
        e, pairs = self.e, dsp.pairs_of(self.depth)
        sources = [e.at(e.arena, e.bind(at[0] + i * self.pitches[0])) for i in range(count)]
        outputs = [e.at(e.arena, e.bind(at[1] + i * self.pitches[1])) for i in range(count)]
        residuals = [e.at(e.arena, e.bind(at[2] + i * self.pitches[2])) for i in range(count)] if len(at) > 2 else []
        with e.loop(self.groups) as group:
            source = [e.at(s, group * self.depth) for s in sources]
            widened = e.at(self.scratch, group * (count * pairs)) if self.groups > 1 else self.scratch
            self._widen(source, widened)
            twice = dsp.words_of(self.depth, 2)
            outer = group * (self.per_group // 2 * twice + self.per_group % 2 * dsp.words_of(self.depth, 1))
            with e.loop(self.per_group // 2) as n:
                weights = e.at(self.words, e.bind(outer + n * twice))
                channel = e.bind(group * self.per_group + 2 * n)
                self._block(weights, widened, 2, count, channel, group, e.bind(2 * n), outputs, residuals)
            if self.per_group % 2:
                n = self.per_group - 1
                weights = e.at(self.words, e.bind(outer + n // 2 * twice))
                channel = e.bind(group * self.per_group + n)
                self._block(weights, widened, 1, count, channel, group, const(n), outputs, residuals)

    def _widen(self, sources: list[Pointer], to: Pointer) -> None:
        """A group's channels of the pixels as int16 pairs: for each word (even, odd) of each pixel, then the rest."""
        e, count = self.e, len(sources)
        with e.loop(self.depth // 4) as k:
            for i, source in enumerate(sources):
                low, high = dsp.split(e, e.word(source, 4 * k))
                e.store(to, (2 * count) * k + 2 * i, low, "int32")
                e.store(to, (2 * count) * k + 2 * i + 1, high, "int32")
        at = 2 * count * (self.depth // 4)
        for first in range(self.depth // 4 * 4, self.depth, 2):
            for source in sources:
                value = e.byte(source, first)
                if first + 1 < self.depth:
                    value = dsp.pair(e, value, e.byte(source, first + 1))
                e.store(to, at, value, "int32")
                at += 1

    def _block(
        self, weights: Pointer, widened: Pointer, outs: int, count: int, channel: Value, group: Value, n: Value,
        outputs: list[Pointer], residuals: list[Pointer],
    ) -> None:  # fmt: skip
        """`outs` channels of `count` pixels. n: number of the first channel in its group."""
        e, whole = self.e, self.depth // 4
        numbers = e.at(e.accumulators, 2 * channel)
        if whole <= MAX_UNROLL:
            sums = self._start(numbers, outs, count)
            for k in range(whole):
                sums = self._word(sums, weights, widened, k, k, outs, count, whole)
        else:
            held = e.local(outs * count, "int32")
            for i, value in enumerate(self._start(numbers, outs, count)):
                e.put(held, i, value)
            step = next(u for u in (5, 4, 3, 2, 1) if whole % u == 0)
            with e.loop(whole // step) as outer:
                w, x = e.at(weights, outer * step), e.at(widened, outer * (step * 2 * count))
                sums = [e.get(held, i, "int32") for i in range(outs * count)]
                for k in range(step):
                    sums = self._word(sums, w, x, k, k, outs, count, whole)
                for i, value in enumerate(sums):
                    e.put(held, i, value)
            sums = [e.get(held, i, "int32") for i in range(outs * count)]
        for tail in range(dsp.TAIL_PAIRS[self.depth % 4]):
            xs = [e.load(widened, 2 * count * whole + tail * count + i, "int32") for i in range(count)]
            ws = dsp.split(e, e.load(weights, outs * whole + tail, "int32"))
            sums = [dsp.dual(e, ws[o], xs[i], sums[o * count + i]) for o in range(outs) for i in range(count)]
        self._finish(sums, numbers, outs, count, channel, group, n, outputs, residuals)

    def _start(self, numbers: Pointer, outs: int, count: int) -> list[Value]:
        biases = [self.e.load(numbers, 2 * o, "int32") for o in range(outs)]
        return [biases[o] for o in range(outs) for _ in range(count)]

    def _word(
        self, sums: list[Value], weights: Pointer, widened: Pointer, k: int, x_at: int, outs: int, count: int, row: int
    ) -> list[Value]:
        """Adds the products of four input channels."""
        e = self.e
        xs = [[e.load(widened, 2 * count * x_at + 2 * i + half, "int32") for half in (0, 1)] for i in range(count)]
        for o in range(outs):
            pairs = dsp.split(e, e.load(weights, o * row + k, "int32"))
            for half in (0, 1):
                for i in range(count):
                    sums[o * count + i] = dsp.dual(e, pairs[half], xs[i][half], sums[o * count + i])
        return sums

    def _finish(
        self, sums: list[Value], numbers: Pointer, outs: int, count: int, channel: Value, group: Value, n: Value,
        outputs: list[Pointer], residuals: list[Pointer],
    ) -> None:  # fmt: skip
        e = self.e
        factor = e.half(e.requant, 0) if residuals else None
        shuffled = self.p["shuffle_rows"] > 1
        step = self.groups if shuffled else 1
        place = e.bind(n * self.groups + group) if shuffled else channel
        targets = [e.at(output, place) for output in outputs]
        others = [e.at(residual, channel) for residual in residuals]
        for o in range(outs):
            multiplier = e.load(numbers, 2 * o + 1, "int32")
            for i in range(count):
                residual = e.byte(others[i], o) if residuals else None
                result = self.rule.finish(e, sums[o * count + i], multiplier, residual, factor)
                e.store(targets[i], o * step, tirx.Cast("int8", result), "int8")
