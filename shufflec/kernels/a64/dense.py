"""Fully connected layer: a matrix-vector product to int32, 16 input channels along the lanes; a tile is a block.

NEON: SMULL, SMLAL2, SADALP (see widening.py); dot product: SDOT. Three ADDP make four outputs at the end. The input
vector is read to a multiple of 16; the weights behind its end are zero.
"""

from __future__ import annotations

import numpy as np

from shufflec.kernels.a64.emitter import Emitter, Pointer
from shufflec.kernels.a64.geometry import tile_count, tile_start
from shufflec.kernels.a64.registers import Registers
from shufflec.kernels.a64.scheduling import MODELS, SCHEDULE, models
from shufflec.kernels.a64.widening import Sums
from shufflec.kernels.kernel import Kernel, Packed, Workload

NAME = "a64-dense-1"
CHUNK = 16
BLOCKS = (24, 20, 16, 12, 8, 4)  # outputs at once: that many accumulators
MAX_STEP = 4  # chunks in a round of the loop
RESCHEDULED = 2  # tilings that are also tried with other scheduling models
STEP = 4  # outputs whose products are computed side by side

Tiling = tuple[tuple[str, int], ...]


def accepts(workload: Workload) -> bool:
    """At least four outputs."""
    return workload.kind == "dense" and workload["out_channels"] >= 4


def tilings(workload: Workload) -> list[Tiling]:
    """Outputs at once, the one with the least work first, and the scheduling model."""
    outputs = workload["out_channels"]
    sizes = [n for n in BLOCKS if n <= outputs]
    sizes.sort(key=lambda n: tile_count(outputs, n) * (3.5 * n + 2))
    usual, *others = models(workload)
    tilings = [(("outputs", n), (SCHEDULE, usual)) for n in sizes]
    return tilings + [(("outputs", n), (SCHEDULE, model)) for model in others for n in sizes[:RESCHEDULED]]


def build(workload: Workload, tiling: Tiling) -> Kernel:
    """The kernel of a workload with one of `tilings`."""
    chosen = dict(tiling)
    width, outputs, depth = chosen["outputs"], workload["out_channels"], workload["in_channels"]
    chunks = tile_count(depth, CHUNK)
    step = max(n for n in range(1, MAX_STEP + 1) if chunks % n == 0)
    dot = workload.isa == "dotprod"
    full_range = bool(dict(workload.params).get("full_range_weights", False))

    e = Emitter()
    with e.tiles() as tile:
        first = tile_start(e, tile, width, outputs)
        weights = e.at(e.weights, tile * (width * chunks * CHUNK))
        source = e.at(e.arena, e.in0)
        registers = Registers(e, range(width), {n: e.splat(0, "int32x4") for n in range(width)})
        with e.loop(chunks // step) as number:
            here = e.at(source, number * (step * CHUNK))
            there = e.at(weights, number * (step * CHUNK * width))
            sums = Sums(e, full_range, registers.read())
            for chunk in range(step):
                _chunk(e, sums, here, there, chunk, width, dot)
            registers.write(sums.values)
        sums = registers.read()
        target = e.cast(e.at(e.arena, e.out + first * 4), "int32")
        biases = e.at(e.accumulators, tile * width)
        for n in range(0, width, 4):
            low, high = (e.op("addp", "int32x4", sums[n + i], sums[n + i + 1]) for i in (0, 2))
            total = e.add(e.op("addp", "int32x4", low, high), e.load(biases, n, "int32x4"), "int32x4")
            e.store(target, n, total, "int32x4")

    count = tile_count(outputs, width)
    index = np.minimum(np.arange(count) * width, outputs - width)[:, None] + np.arange(width)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        weight = np.zeros((outputs, chunks * CHUNK), np.int8)
        weight[:, :depth] = constants["weight"].reshape(outputs, depth)
        blocks = weight[index].reshape(count, width, chunks, CHUNK).transpose(0, 2, 1, 3)
        return Packed(
            np.ascontiguousarray(blocks).reshape(-1),
            accumulators=constants["accumulator_bias"][index].astype(np.int32).reshape(-1),
        )

    return Kernel(workload, tiling, NAME, e.function(), count, 0, pack, MODELS[chosen[SCHEDULE]])


def _chunk(e: Emitter, sums: Sums, source: Pointer, weights: Pointer, chunk: int, width: int, dot: bool) -> None:
    activation = e.load(source, chunk * CHUNK, "int8x16")
    for n, weight in enumerate(e.load_pairs(weights, chunk * CHUNK * width, CHUNK, width, "int8x16")):
        if dot:
            sums.values[n] = e.op("sdot", "int32x4", sums.values[n], activation, weight)
        else:
            sums.multiply(n, activation, weight)
        if n % STEP == STEP - 1:
            sums.settle()
