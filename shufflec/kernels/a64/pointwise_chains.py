"""1x1 convolution with four products in an int16 lane wherever the weights allow it (NEON).

The form `in scratch` of pointwise_pairs.py: expanded quads of channels, four outputs along the lanes. A round of
outputs takes its quads in an order of its own: first pairs of quads that share lanes (SMULL, SMLAL2, SMLAL, SMLAL2, one
SADALP), then the others alone. Which quads those are, and how many, is data: packed from the weights (chains.py), read
by the kernel, so the code serves any weights but -128.

Weights of a round: uint16 pairs, uint16 singles, a uint16 offset in scratch for each quad in the order they are taken;
then [4n x k01 | 4n x k23] of each block, for both quads of a pair in turn.

Register budget: tile * blocks accumulators; either two activations a pixel and two weights, or (for fewer than four
pixels) two weights a block and two activations; a product for each of the former: 30 for 4 x 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from shufflec.kernels.a64.chains import match
from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.pointwise import Shape
from shufflec.kernels.a64.pointwise_pairs import LATENCY, QUAD, ROW, PairsMicroKernel
from shufflec.kernels.a64.registers import Registers
from shufflec.kernels.a64.widening import Sums

COUNTS = 2
OFFSET_BYTES = 2

Places = list[tuple[Pointer, int]]


def held_of_chains(tile: int, blocks: int) -> int:
    """Pixels, or blocks if there are fewer than four pixels, whose operands stay in registers for a step."""
    return tile if tile >= min(LATENCY, blocks) else blocks


class ChainsMicroKernel(PairsMicroKernel):
    """Weights of -128 are not allowed."""

    def __init__(self, shape: Shape):
        super().__init__(shape, resident=False)
        self.keys = [(p, j) for p in range(shape.tile) for j in range(shape.blocks)]

    @staticmethod
    def likely_share(depth: int, blocks: int) -> float:
        """About the share of quads that find a partner, fitted to random and trained networks."""
        too_large = min(0.055, 5.4 / depth)  # of an output's lanes, for two quads taken at random
        return 1 - math.exp(-0.08 * depth * (1 - too_large) ** (8 * blocks))

    @property
    def table_bytes(self) -> int:
        """Counts and offsets of a round."""
        return OFFSET_BYTES * (COUNTS + self.quads)

    def accumulate(self, e: Emitter, inputs: list[Pointer], weights: Pointer, start: list | None, push) -> None:
        table = e.cast(weights, "uint16")
        pairs, singles = (e.widen(e.load(table, i, "uint16"), "int32") for i in range(COUNTS))
        order = e.at(table, COUNTS)
        data = e.at(weights, self.table_bytes)
        sums = Registers(e, self.keys, {key: e.splat(0, "int32x4") for key in self.keys})
        self._loop_over(e, pairs, 2, order, data, sums)
        done = e.bind(pairs * 2)
        order, data = e.at(order, done), e.at(data, done * (self.shape.blocks * ROW))
        self._loop_over(e, singles, 1, order, data, sums)
        totals = sums.read()
        for block in range(self.shape.blocks):
            push(block, self._biased(e, [totals[p, block] for p in range(self.shape.tile)], start, block))

    def _loop_over(
        self, e: Emitter, count: Value, chained: int, order: Pointer, data: Pointer, sums: Registers
    ) -> None:
        """`count` steps of `chained` quads that share lanes.

        Loads run ahead of their use, for in-order cores: the offsets by a step, the weights by a block.
        """
        shape = self.shape
        offsets = Registers(e, range(chained), self._load_offsets(e, order, chained), "int32")
        with e.loop(count) as step:
            there = e.at(data, step * (chained * shape.blocks * ROW))
            quads = [e.at(self.scratch, offset) for offset in offsets.read().values()]
            following = self._load_offsets(e, e.at(order, (step + 1) * chained), chained)
            e.settle(list(following.values()))
            offsets.write(following)
            part = Sums(e, False, sums.read())
            pixels = [[(quad, p * ROW) for quad in quads] for p in range(shape.tile)]
            blocks = [[(there, (j * chained + i) * ROW) for i in range(chained)] for j in range(shape.blocks)]
            if held_of_chains(shape.tile, shape.blocks) == shape.tile:
                self._multiply(e, part, pixels, blocks, lambda p, j: (p, j))
            else:
                self._multiply(e, part, blocks, pixels, lambda j, p: (p, j))
            sums.write(part.values)

    @staticmethod
    def _multiply(e: Emitter, sums: Sums, held: list[Places], taken: list[Places], key: Callable) -> None:
        """All of `held` times all of `taken`, one of the latter a step and loaded a step ahead.

        Each is the places of registers that share lanes; key(held, taken): the sum of two, by number.
        """
        values = [[e.load(*place, "int8x16") for place in places] for places in held]
        ahead = [e.load(*place, "int8x16") for place in taken[0]]
        for number in range(len(taken)):
            others = ahead
            ahead = [e.load(*place, "int8x16") for place in taken[number + 1]] if number + 1 < len(taken) else []
            for i in range(len(others)):
                for j, value in enumerate(values):
                    sums.multiply(key(j, number), value[i], others[i])
            sums.settle()

    @staticmethod
    def _load_offsets(e: Emitter, order: Pointer, count: int) -> dict[int, Value]:
        return {i: e.widen(e.load(order, i, "uint16"), "int32") for i in range(count)}

    def pack(self, weight: np.ndarray) -> np.ndarray:
        lead, width = weight.shape[:-2], self.shape.width
        padded = np.zeros((*weight.shape[:-1], self.quads * QUAD), np.int8)
        padded[..., : weight.shape[-1]] = weight
        rounds = padded.reshape(-1, width, self.quads, 2, 2)
        return np.stack([self._pack_round(one) for one in rounds]).reshape(*lead, -1)

    def _pack_round(self, weight: np.ndarray) -> np.ndarray:
        """int8 (outputs, quads, halves, 2) to the bytes of a round."""
        width, blocks = self.shape.width, self.shape.blocks
        # An int16 lane is an output and a place in the pair; the two halves of a quad meet in it.
        steps = match(weight.transpose(1, 0, 3, 2).reshape(self.quads, 2 * width, 2))
        order = [quad for step in steps for quad in step]
        pairs = sum(len(step) == 2 for step in steps)
        table = np.array([pairs, len(steps) - pairs, *self._offsets(order)], "<u2")
        quads = weight.reshape(blocks, 4, self.quads, 2, 2).transpose(2, 0, 3, 1, 4).reshape(self.quads, blocks, ROW)
        data = [np.stack([quads[quad] for quad in step], axis=1).reshape(-1) for step in steps]
        return np.concatenate([table.view(np.int8), *data])

    def _offsets(self, order: Sequence[int]) -> list[int]:
        return [quad * self.shape.tile * ROW for quad in order]
