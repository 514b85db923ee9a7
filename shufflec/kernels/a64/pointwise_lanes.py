"""1x1 convolution for K of about 48 and more: 16 input channels along the lanes (NEON).

For one pixel, one output and 16 channels: SMULL (lanes 0-7), SMLAL2 (lanes 8-15; two products fit an int16 lane as
long as no weight is -128), SADALP into an int32x4; at the end three ADDP make four outputs of four accumulators.

Register budget: 4 * blocks * tile accumulators (24 at most), the smaller of tile activations and 4 * blocks
weights, a product for each of those, one or two of the other: 26 for four pixels and four outputs. Beyond 32 the
compiler takes the products in turn, which an in-order core waits for.
"""

from __future__ import annotations

import numpy as np

from shufflec.kernels.a64.emitter import Emitter, Pointer
from shufflec.kernels.a64.pointwise import MicroKernel, Shape
from shufflec.kernels.a64.registers import Registers
from shufflec.kernels.a64.widening import Sums

CHUNK = 16
UNROLLED = 20  # chunks of straight-line code (320 channels); beyond that a loop keeps the code small
LOOP_STEP = 4


class LanesMicroKernel(MicroKernel):
    """full_range: weights of -128 occur, so products are widened one by one."""

    def __init__(self, shape: Shape, full_range: bool = False):
        super().__init__(shape)
        self.full_range = full_range
        rest = shape.depth % CHUNK
        self.full = shape.depth // CHUNK + (rest > 8)
        self.half = 0 < rest <= 8

    def accumulate(self, e: Emitter, inputs: list[Pointer], weights: Pointer, start: list | None, push) -> None:
        shape = self.shape
        sums, at = Sums(e, self.full_range), 0
        if self.full > UNROLLED:
            rounds = self.full // LOOP_STEP
            sums, at = self._loop(e, inputs, weights, rounds), rounds * LOOP_STEP
        for chunk in range(at, self.full):
            self._chunk(e, inputs, weights, sums, chunk * CHUNK, chunk * CHUNK * shape.width, "int8x16")
        if self.half:
            self._chunk(e, inputs, weights, sums, self.full * CHUNK, self.full * CHUNK * shape.width, "int8x8")
        for block in range(shape.blocks):
            results = []
            for pixel in range(shape.tile):
                a, b, c, d = (sums[pixel, 4 * block + n] for n in range(4))
                total = e.op("addp", "int32x4", e.op("addp", "int32x4", a, b), e.op("addp", "int32x4", c, d))
                results.append(e.add(total, start[block], "int32x4") if start else total)
            push(block, results)

    def _loop(self, e: Emitter, inputs: list[Pointer], weights: Pointer, rounds: int) -> Sums:
        keys = [(p, n) for p in range(self.shape.tile) for n in range(self.shape.width)]
        registers = Registers(e, keys, {key: e.splat(0, "int32x4") for key in keys})
        with e.loop(rounds) as step:
            here = [e.at(pointer, step * (LOOP_STEP * CHUNK)) for pointer in inputs]
            there = e.at(weights, step * (LOOP_STEP * CHUNK * self.shape.width))
            sums = Sums(e, self.full_range, registers.read())
            for chunk in range(LOOP_STEP):
                self._chunk(e, here, there, sums, chunk * CHUNK, chunk * CHUNK * self.shape.width, "int8x16")
            registers.write(sums.values)
        return Sums(e, self.full_range, registers.read())

    def _chunk(self, e: Emitter, inputs, weights: Pointer, sums: Sums, channel: int, at: int, dtype: str) -> None:
        """One register of channels for all outputs and pixels; holds the smaller set of operands."""
        shape = self.shape
        whole = dtype == "int8x16"
        size = CHUNK if whole else 8
        if shape.tile <= shape.width:
            held = [e.load(pointer, channel, dtype) for pointer in inputs]
            for n, weight in enumerate(e.load_pairs(weights, at, size, shape.width, dtype)):
                for p, activation in enumerate(held):
                    sums.multiply((p, n), activation, weight, whole)
                sums.settle()
        else:
            held = [e.load(weights, at + n * size, dtype) for n in range(shape.width)]
            for p, pointer in enumerate(inputs):
                activation = e.load(pointer, channel, dtype)
                for n, weight in enumerate(held):
                    sums.multiply((p, n), activation, weight, whole)
                sums.settle()

    def pack(self, weight: np.ndarray) -> np.ndarray:
        depth = self.full * CHUNK + 8 * self.half
        padded = np.zeros((*weight.shape[:-1], depth), np.int8)
        padded[..., : weight.shape[-1]] = weight
        flat = weight.shape[:-2]
        parts = [padded[..., i * CHUNK : (i + 1) * CHUNK].reshape(*flat, -1) for i in range(self.full)]
        if self.half:
            parts.append(padded[..., self.full * CHUNK :].reshape(*flat, -1))
        return np.concatenate(parts, axis=-1)
