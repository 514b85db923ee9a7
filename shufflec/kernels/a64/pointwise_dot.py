"""1x1 convolution with the dot-product instructions: SDOT by element, four outputs along the lanes.

Weights are packed [4 outputs x 4 channels]; SDOT takes the four channels of a pixel as one 32-bit lane of its row.
Register budget: tile * blocks accumulators (24 at most), tile rows of 16 channels, two weights.
"""

from __future__ import annotations

import numpy as np

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.pointwise import MicroKernel, Shape
from shufflec.kernels.a64.registers import Registers

QUAD = 4
ROW = 16
UNROLLED = 20  # rows of 16 channels in straight-line code
LOOP_STEP = 4


class DotMicroKernel(MicroKernel):
    """Computes all blocks of a tile at once, over the channels."""

    def __init__(self, shape: Shape):
        super().__init__(shape)
        self.quads = -(-shape.depth // QUAD)

    def accumulate(self, e: Emitter, inputs: list[Pointer], weights: Pointer, start: list | None, push) -> None:
        shape = self.shape
        keys = [(p, j) for p in range(shape.tile) for j in range(shape.blocks)]
        sums = {(p, j): start[j] if start else e.splat(0, "int32x4") for p, j in keys}
        rows, at = self.quads // QUAD, 0
        if rows > UNROLLED:
            registers = Registers(e, keys, sums)
            with e.loop(rows // LOOP_STEP) as step:
                here = [e.at(pointer, step * (LOOP_STEP * ROW)) for pointer in inputs]
                there = e.at(weights, step * (LOOP_STEP * ROW * shape.width))
                part = registers.read()
                for row in range(LOOP_STEP):
                    self._row(e, here, there, part, row, QUAD)
                registers.write(part)
            sums, at = registers.read(), rows // LOOP_STEP * LOOP_STEP
        for row in range(at, -(-self.quads // QUAD)):
            self._row(e, inputs, weights, sums, row, min(QUAD, self.quads - QUAD * row))
        for block in range(shape.blocks):
            push(block, [sums[p, block] for p in range(shape.tile)])

    def _row(self, e: Emitter, inputs, weights: Pointer, sums: dict, row: int, quads: int) -> None:
        """Up to 16 channels of every pixel against all blocks."""
        shape = self.shape
        loaded = [e.reinterpret(value, "int32x4") for value in self._activations(e, inputs, row)]
        for lane in range(quads):
            first = (row * QUAD + lane) * shape.blocks * ROW
            for block, weight in enumerate(e.load_pairs(weights, first, ROW, shape.blocks, "int8x16")):
                for p in range(shape.tile):
                    element = e.reinterpret(e.shuffle([loaded[p]], [lane] * 4, "int32x4"), "int8x16")
                    sums[p, block] = e.op("sdot", "int32x4", sums[p, block], weight, element)
                e.settle([sums[p, block] for p in range(shape.tile)])

    def _activations(self, e: Emitter, inputs: list[Pointer], row: int) -> list[Value]:
        """Row `row` of 16 channels of every pixel, int8x16."""
        return [e.load(pointer, row * ROW, "int8x16") for pointer in inputs]

    def pack(self, weight: np.ndarray) -> np.ndarray:
        lead = weight.shape[:-2]
        padded = np.zeros((*weight.shape[:-1], self.quads * QUAD), np.int8)
        padded[..., : weight.shape[-1]] = weight
        split = padded.reshape(*lead, self.shape.blocks, 4, self.quads, QUAD)
        block, output, quad, channel = (len(lead) + i for i in range(4))
        return split.transpose(*range(len(lead)), quad, block, output, channel).reshape(*lead, -1)
