"""Cycles of a NEON 1x1 convolution by tiling, on an in-order core (Cortex-A53) and on an out-of-order one (Cortex-A72).

They rank tilings: which are worth measuring, and which one a workload gets without a record. Costs of instructions are
those of timing/cores/data, the counts follow the code that the micro-kernels emit.

- A53: one 128-bit SIMD instruction a cycle, two for SADALP and for a 128-bit load; nothing issues beside either. A step
  of fewer than four sums waits for its own products.
- A72: three operations a cycle, two of them for a 128-bit SIMD instruction; one multiply a cycle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shufflec.kernels.a64.pointwise_chains import ChainsMicroKernel, held_of_chains
from shufflec.kernels.a64.pointwise_pairs import resident_span
from shufflec.kernels.kernel import Workload

LATENCY = 4  # of SMULL, and of SMLAL2 to SADALP
CALL_SCALARS = 14  # of a tile: addresses
A72_LOSS = 1.06  # the queues are not always full
CHAINS_A53, CHAINS_A72 = 0.03, 0.12  # lost at the ends of short loops, and in queues of four multiplies in a row
SCALE = 2.2  # cycles of an A53 for one of an A72, over whole networks: both count alike in a default


@dataclass(frozen=True)
class Cycles:
    """of: each core. A tiling is judged by `relative`, or by one core alone."""

    a53: float = 0.0
    a72: float = 0.0
    multiplies: float = 0.0

    def __add__(self, other: Cycles) -> Cycles:
        return Cycles(self.a53 + other.a53, self.a72 + other.a72, self.multiplies + other.multiplies)

    def __mul__(self, count: float) -> Cycles:
        return Cycles(self.a53 * count, self.a72 * count, self.multiplies * count)

    @property
    def out_of_order(self) -> float:
        return A72_LOSS * max(self.a72, self.multiplies)

    @property
    def relative(self) -> float:
        return self.a53 / SCALE + self.out_of_order


MULTIPLY = Cycles(1, 2 / 3, 1)
ACCUMULATE = Cycles(2, 2 / 3)  # SADALP
SIMD = Cycles(1, 2 / 3)
NARROW = Cycles(0.6, 0.5)  # SQRSHRN
LOAD, STORE, LOAD_8 = Cycles(2, 0.4), Cycles(1, 0.6), Cycles(1, 0.34)
TABLE = Cycles(1, 4 / 3)  # TBL
SCALAR = Cycles(0.5, 0.34)


def _step(sums: int, products: int, registers: int) -> Cycles:
    """`sums` sums that are taken in turn: products in a lane each, over so many registers of activations."""
    stalls = max(0, LATENCY - sums) * 2
    multiplies, accumulates = MULTIPLY * (sums * products), ACCUMULATE * (sums * registers)
    return multiplies + accumulates + Cycles(stalls, 0.05 * stalls)


def _spills(live: int) -> Cycles:
    """Of a step with so many values; LLVM's schedulers find room for some of those beyond 32."""
    return (LOAD + STORE) * (0.5 * max(0, live - 32))


@dataclass(frozen=True)
class Layer:
    """What a layer asks for. groups, depth, outputs: as in pointwise.Shape."""

    workload: Workload
    groups: int
    depth: int
    outputs: int
    pixels: int

    @staticmethod
    def of(workload: Workload) -> Layer:
        groups = workload["groups"]
        depth, outputs = workload["in_channels"] // groups, workload["out_channels"] // groups
        return Layer(workload, groups, depth, outputs, workload["height"] * workload["width"])

    @property
    def quads(self) -> int:
        return -(-self.depth // 4)

    @property
    def rows(self) -> int:
        return -(-self.depth // 16)

    def has(self, name: str) -> bool:
        return bool(dict(self.workload.params).get(name))


def lanes(layer: Layer, tile: int, blocks: int) -> tuple[Cycles, Cycles]:
    """(once a group, once a round) of pointwise_lanes.py."""
    width = 4 * blocks
    full, half = layer.depth // 16 + (layer.depth % 16 > 8), 0 < layer.depth % 16 <= 8
    steps, sums = (width, tile) if tile <= width else (tile, width)
    loads = LOAD * (tile + width) + _spills(width * tile + 2 * sums + 2)
    inner = (_step(sums, 2, 1) * steps + loads) * full + (_step(sums, 1, 1) * steps + loads * 0.5) * half
    return Cycles(), inner + SIMD * (3 * blocks * tile)


def resident(layer: Layer, tile: int, blocks: int) -> tuple[Cycles, Cycles]:
    """The same of pointwise_pairs.py, activations in registers."""
    begin = LOAD * (4 + tile * layer.rows) + TABLE * (tile * layer.quads)
    span = resident_span(tile, layer.quads)
    return begin, (_step(tile * span, 2, 1) * (1 / span) + LOAD) * (blocks * layer.quads)


def _expanded(layer: Layer, tile: int) -> Cycles:
    return LOAD * (4 + tile * layer.rows) + (TABLE + STORE) * (tile * layer.quads)


def scratch(layer: Layer, tile: int, blocks: int) -> tuple[Cycles, Cycles]:
    """The same of pointwise_pairs.py, activations in scratch."""
    loads = LOAD * (tile + blocks) + _spills(tile * blocks + 2 * tile + 2)
    return _expanded(layer, tile), (_step(tile, 2, 1) * blocks + loads) * layer.quads


def chains(layer: Layer, tile: int, blocks: int) -> tuple[Cycles, Cycles]:
    """The same of pointwise_chains.py, for weights such as random networks have."""
    paired = ChainsMicroKernel.likely_share(layer.depth, blocks)
    pairs, singles = layer.quads * paired / 2, layer.quads * (1 - paired)
    held = held_of_chains(tile, blocks)
    steps = tile * blocks // held
    double = _step(held, 4, 1) * steps + LOAD * (2 * (tile + blocks)) + SCALAR * 8
    single = _step(held, 2, 1) * steps + LOAD * (tile + blocks) + SCALAR * 6
    zeros = SIMD * (tile * blocks)
    inner = double * pairs + single * singles + zeros + SCALAR * 20 + Cycles(12, 4)
    lost = Cycles(CHAINS_A53 * inner.a53, CHAINS_A72 * inner.a72, CHAINS_A72 * inner.multiplies)
    return _expanded(layer, tile), inner + lost


def total(layer: Layer, parts: tuple[Cycles, Cycles], tile: int, blocks: int) -> Cycles:
    """Of the whole layer. parts: of one of the functions above."""
    begin, inner = parts
    outputs, channels = layer.outputs, layer.workload["out_channels"]
    rounds = math.ceil(outputs / (4 * blocks)) if outputs >= 4 else 1
    inner += _epilogue(layer, tile, blocks) + SCALAR * 8
    a_tile = SCALAR * CALL_SCALARS + (begin + SCALAR * 12 + inner * rounds) * layer.groups
    if layer.workload["out_row"] != layer.workload["width"]:
        a_tile += SCALAR * (tile * (6 + layer.groups * rounds))
    if layer.workload["shuffle_rows"] > 1 or outputs < 4:
        a_tile += (LOAD + STORE * 2) * (tile * channels / 16) + SCALAR * (10 * tile)
    return a_tile * math.ceil(layer.pixels / tile)


def _epilogue(layer: Layer, tile: int, blocks: int) -> Cycles:
    """Requantization and stores: by eight outputs, an odd block shared by two pixels."""
    eights = blocks // 2 * tile + blocks % 2 * ((tile + 1) // 2)
    one = NARROW * 3 + MULTIPLY + SIMD + STORE
    if layer.has("residual_multiplier"):
        one += LOAD_8 + SIMD * 2 + MULTIPLY
    if layer.has("pre_shift"):
        one += SIMD * 2
    biased = SIMD * (tile * blocks) if layer.has("accumulator_bias") else Cycles()
    odd = (STORE + SCALAR) * (blocks % 2 * tile)
    return one * eights + biased + odd + LOAD * (blocks + 1)
