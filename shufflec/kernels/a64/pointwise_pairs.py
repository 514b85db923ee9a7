"""1x1 convolution for small K (NEON): four outputs along the lanes, activations expanded once for all outputs.

TBL expands four channels k of a pixel to [k0 k1 four times | k2 k3 four times]; weights are packed the same way as
[k0 k1 of 4 outputs | k2 k3 of 4 outputs]. SMULL, SMLAL2 (two products in an int16 lane, so no weight of -128) and
SADALP then give four finished outputs with no reduction at the end.

Two ways to keep the expanded activations:
- resident: in registers over all outputs. tile * K/4 registers (20 at most), tile accumulators and products, or twice
  that: two blocks at once where tile is less than the four sums that hide a multiplication;
- in scratch: loaded again for every block. tile * blocks accumulators (24 at most), tile activations, as many
  products and one or two weights: 32 for five pixels and four blocks.
"""

from __future__ import annotations

import numpy as np

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.pointwise import WINDOW_STEP, MicroKernel, Shape
from shufflec.kernels.a64.registers import Registers
from shufflec.kernels.a64.widening import Sums

QUAD = 4
ROW = 16
UNROLLED = 24  # quads of straight-line code in the scratch form
LOOP_STEP = 4
REGISTERS = 32
LATENCY = 4  # cycles of a SMULL: independent sums that hide it


def _expansion() -> np.ndarray:
    lanes = np.arange(ROW)
    first = lanes % 2 + 2 * (lanes >= 8)
    return np.concatenate([first + QUAD * quad for quad in range(ROW // QUAD)]).astype(np.int8)


def resident_span(tile: int, quads: int) -> int:
    """Blocks of outputs that the resident form computes at once."""
    return 2 if tile < LATENCY and tile * quads + 4 * tile + 4 <= REGISTERS else 1


class PairsMicroKernel(MicroKernel):
    """resident: see above. full_range: weights of -128 occur, so products are widened one by one."""

    header = np.concatenate([WINDOW_STEP, _expansion()])

    def __init__(self, shape: Shape, resident: bool, full_range: bool = False):
        super().__init__(shape)
        self.resident, self.full_range = resident, full_range
        self.quads = -(-shape.depth // QUAD)
        self.activations: dict[tuple[int, int], Value] = {}
        self.scratch: Pointer | None = None

    def scratch_bytes(self) -> int:
        return 0 if self.resident else self.quads * self.shape.tile * ROW

    def begin_group(self, e: Emitter, inputs: list[Pointer], scratch: Pointer | None) -> None:
        used = min(self.quads, ROW // QUAD)
        index = [e.load(e.weights, len(WINDOW_STEP) + quad * ROW, "int8x16") for quad in range(used)]
        self.scratch = scratch
        rows: dict[int, Value] = {}
        for quad in range(self.quads):
            for pixel, pointer in enumerate(inputs):
                if quad % 4 == 0:
                    rows[pixel] = e.load(pointer, quad * QUAD, "int8x16")
                value = e.op("tbl1", "int8x16", rows[pixel], index[quad % 4])
                if self.resident:
                    self.activations[pixel, quad] = value
                else:
                    e.store(scratch, (quad * self.shape.tile + pixel) * ROW, value, "int8x16")

    def accumulate(self, e: Emitter, inputs: list[Pointer], weights: Pointer, start: list | None, push) -> None:
        pixels, blocks = range(self.shape.tile), self.shape.blocks
        if self.resident:
            for span in self._spans():
                sums = Sums(e, self.full_range)
                first = span[0] * self.quads * ROW
                loaded = e.load_pairs(weights, first, ROW, self.quads * len(span), "int8x16")
                for quad in range(self.quads):
                    for block in span:
                        weight = next(loaded)
                        for p in pixels:
                            sums.multiply((p, block), self.activations[p, quad], weight)
                    sums.settle()
                for block in span:
                    push(block, self._biased(e, [sums[p, block] for p in pixels], start, block))
            return
        sums, at = Sums(e, self.full_range), 0
        if self.quads > UNROLLED:
            rounds = self.quads // LOOP_STEP
            sums, at = self._loop(e, weights, rounds), rounds * LOOP_STEP
        for quad in range(at, self.quads):
            self._quad(e, self.scratch, weights, sums, quad)
        for block in range(blocks):
            push(block, self._biased(e, [sums[p, block] for p in pixels], start, block))

    def _spans(self) -> list[tuple[int, ...]]:
        """Blocks that the resident form computes together."""
        tile, blocks = self.shape.tile, self.shape.blocks
        size = resident_span(tile, self.quads)
        return [tuple(range(first, min(first + size, blocks))) for first in range(0, blocks, size)]

    def _biased(self, e: Emitter, values: list[Value], start: list | None, block: int) -> list[Value]:
        return [e.add(value, start[block], "int32x4") for value in values] if start else values

    def _loop(self, e: Emitter, weights: Pointer, rounds: int) -> Sums:
        shape = self.shape
        keys = [(p, j) for p in range(shape.tile) for j in range(shape.blocks)]
        registers = Registers(e, keys, {key: e.splat(0, "int32x4") for key in keys})
        with e.loop(rounds) as step:
            here = e.at(self.scratch, step * (LOOP_STEP * shape.tile * ROW))
            there = e.at(weights, step * (LOOP_STEP * shape.blocks * ROW))
            sums = Sums(e, self.full_range, registers.read())
            for quad in range(LOOP_STEP):
                self._quad(e, here, there, sums, quad)
            registers.write(sums.values)
        return Sums(e, self.full_range, registers.read())

    def _quad(self, e: Emitter, scratch: Pointer, weights: Pointer, sums: Sums, quad: int) -> None:
        shape = self.shape
        values = [e.load(scratch, (quad * shape.tile + p) * ROW, "int8x16") for p in range(shape.tile)]
        first = quad * shape.blocks * ROW
        for block, weight in enumerate(e.load_pairs(weights, first, ROW, shape.blocks, "int8x16")):
            for p, activation in enumerate(values):
                sums.multiply((p, block), activation, weight)
            sums.settle()

    def pack(self, weight: np.ndarray) -> np.ndarray:
        shape = self.shape
        lead = weight.shape[:-2]
        padded = np.zeros((*weight.shape[:-1], self.quads * QUAD), np.int8)
        padded[..., : weight.shape[-1]] = weight
        split = padded.reshape(*lead, shape.blocks, 4, self.quads, 2, 2)
        block, output, quad, half, pair = (len(lead) + i for i in range(5))
        if not self.resident:
            return split.transpose(*range(len(lead)), quad, block, half, output, pair).reshape(*lead, -1)
        whole = split.transpose(*range(len(lead)), quad, block, half, output, pair)
        parts = [whole[..., span[0] : span[-1] + 1, :, :, :].reshape(*lead, -1) for span in self._spans()]
        return np.concatenate(parts, axis=-1)
