"""1x1 convolution with the dot-product instructions: SDOT by element, four outputs along the lanes.

Weights are packed [4 outputs x 4 channels]; SDOT takes the four channels of a pixel as one 32-bit lane of its row.
Register budget: tile * blocks accumulators (24 at most), tile rows of 16 channels, two weights.

Each accumulator is loaded: the bias, or zeros that the packed weights begin with. A move of a register, or MOVI, would
take a SIMD pipe, which SDOT needs (dot_epilogue.py).
"""

from __future__ import annotations

import numpy as np

from shufflec.kernels.a64.dot_epilogue import DotEpilogue, pack_planes
from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.pointwise import WINDOW_STEP, MicroKernel, Shape
from shufflec.kernels.a64.registers import Registers

QUAD = 4
ROW = 16
UNROLLED = 20  # rows of 16 channels in straight-line code
LOOP_STEP = 4


class DotMicroKernel(MicroKernel):
    """Computes all blocks of a tile at once, over the channels."""

    epilogue = DotEpilogue
    pack_requant = staticmethod(pack_planes)

    def __init__(self, shape: Shape):
        super().__init__(shape)
        self.quads = -(-shape.depth // QUAD)
        self.header = np.concatenate([WINDOW_STEP, np.zeros(shape.tile * shape.blocks * ROW, np.int8)])

    def load_start(self, e: Emitter, biases: Pointer) -> dict[tuple[int, int], Value]:
        """The bias of every accumulator. LLVM must not know that all pixels' are the same: it would copy registers."""
        zero = e.load(e.cast(e.weights, "int32"), 1, "int32")
        start = {}
        for p in range(self.shape.tile):
            biases = e.at(biases, zero) if p else biases
            for j, value in enumerate(e.load_pairs(biases, 0, 4, self.shape.blocks, "int32x4")):
                start[p, j] = value
        return start

    def accumulate(self, e: Emitter, inputs: list[Pointer], weights: Pointer, start: dict | None, push) -> None:
        shape = self.shape
        keys = [(p, j) for p in range(shape.tile) for j in range(shape.blocks)]
        sums = start
        if sums is None:
            zeros = e.load_pairs(e.weights, len(WINDOW_STEP), ROW, len(keys), "int8x16")
            sums = {key: e.reinterpret(value, "int32x4") for key, value in zip(keys, zeros, strict=True)}
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
