"""Tilings of a 1x1 convolution: which are legal, which are worth measuring, and which is the default.

A tiling is (("form", f), ("pixels", p), ("blocks", b)): the micro-kernel, pixels at once, blocks of four outputs at
once. With dot products they are ranked by instructions (`cost`), without by estimated cycles (pointwise_cycles.py).
"""

from __future__ import annotations

from collections.abc import Callable

from shufflec.kernels.a64 import pointwise_cycles
from shufflec.kernels.a64.pointwise_chains import held_of_chains
from shufflec.kernels.a64.pointwise_cycles import Cycles, Layer
from shufflec.kernels.kernel import Workload

LANES, RESIDENT, SCRATCH, DOT, CHAINS = range(5)
REGISTERS = 32
MAX_SUMS = 24  # int32x4 accumulators that leave room for operands
MAX_PIXELS = 8
MAX_BLOCKS = 8
MOST = 8  # tilings worth measuring
#: What writing over the residual may cost. It saves the store misses of another buffer, dear but on a Cortex-A76.
MAX_LOSS = {"neon": 1.04, "dotprod": 1.005}
ROUND, GROUP, TILE, FAR_PIXEL = 8, 12, 14, 6  # loop and address arithmetic

Tiling = tuple[tuple[str, int], ...]

_CYCLES = {
    LANES: pointwise_cycles.lanes,
    RESIDENT: pointwise_cycles.resident,
    SCRATCH: pointwise_cycles.scratch,
    CHAINS: pointwise_cycles.chains,
}


def tilings(workload: Workload) -> list[Tiling]:
    """Up to MOST tilings, the default first: the best of both cores together, then those of each in turn."""
    if workload.isa == "dotprod":
        return sorted(legal(workload), key=lambda tiling: (cost(workload, *_numbers(tiling)), tiling))[:MOST]
    ranked = [_ranked(workload, judge) for judge in (_both, *_CORES.values())]
    return list(dict.fromkeys(tiling for group in zip(*ranked, strict=True) for tiling in group))[:MOST]


def default(workload: Workload, core: str) -> Tiling:
    """The one of `tilings` that a core gets without a record; "" or a core that is not known: the first."""
    if workload.isa == "dotprod" or core not in _CORES:
        return tilings(workload)[0]
    return _ranked(workload, _CORES[core])[0]


def _both(cycles: Cycles) -> float:
    return cycles.relative


_CORES: dict[str, Callable[[Cycles], float]] = {
    "cortex-a53": lambda cycles: cycles.a53,
    "cortex-a72": lambda cycles: cycles.out_of_order,
}


def _ranked(workload: Workload, judge: Callable[[Cycles], float]) -> list[Tiling]:
    layer = Layer.of(workload)
    return sorted(legal(workload), key=lambda tiling: (judge(_cycles(layer, *_numbers(tiling))), tiling))


def overwrites(workload: Workload) -> bool:
    """Whether tilings that compute nothing twice, as `in_place` needs them, are about as good as the best."""
    params = dict(workload.params)
    del params["in_place"]
    best = tilings(Workload.of(workload.kind, workload.isa, **params))[0]
    fit = tilings(workload)
    return bool(fit) and _judged(workload, fit[0]) <= MAX_LOSS[workload.isa] * _judged(workload, best)


def _judged(workload: Workload, tiling: Tiling) -> float:
    numbers = _numbers(tiling)
    return cost(workload, *numbers) if workload.isa == "dotprod" else _cycles(Layer.of(workload), *numbers).relative


def legal(workload: Workload) -> list[Tiling]:
    """Every tiling whose values fit the registers and that does what the workload asks for."""
    depth = workload["in_channels"] // workload["groups"]
    outputs = workload["out_channels"] // workload["groups"]
    pixels = workload["height"] * workload["width"]
    overwriting = bool(dict(workload.params).get("in_place"))
    forms = (DOT,) if workload.isa == "dotprod" else (LANES, RESIDENT, SCRATCH, CHAINS)
    if dict(workload.params).get("full_range_weights"):
        forms = tuple(form for form in forms if form != CHAINS)
    return [
        (("form", form), ("pixels", tile), ("blocks", blocks))
        for form in forms
        for tile in range(1, min(MAX_PIXELS, pixels) + 1)
        for blocks in range(1, max(1, min(MAX_BLOCKS, outputs // 4)) + 1)
        if registers(form, tile, blocks, depth) <= REGISTERS
        and not (overwriting and (pixels % tile or outputs % (4 * blocks)))
    ]


def _numbers(tiling: Tiling) -> tuple[int, int, int]:
    form, tile, blocks = (value for _, value in tiling)
    return form, tile, blocks


def _cycles(layer: Layer, form: int, tile: int, blocks: int) -> Cycles:
    return pointwise_cycles.total(layer, _CYCLES[form](layer, tile, blocks), tile, blocks)


def registers(form: int, tile: int, blocks: int, depth: int) -> int:
    """Vector registers that are live at once."""
    quads = -(-depth // 4)
    if form == LANES:
        sums, operands = 4 * blocks * tile, min(tile, 4 * blocks) + 2 + 1
    elif form == RESIDENT:
        sums, operands = tile, tile * quads + 2 * tile + 3
    elif form == SCRATCH:
        sums, operands = blocks * tile, tile + 2 + 1
    elif form == CHAINS:
        sums, operands = blocks * tile, 3 * held_of_chains(tile, blocks) + 2
    else:
        sums, operands = blocks * tile, tile + 2
    return sums + operands if sums <= MAX_SUMS else REGISTERS + 1


def cost(workload: Workload, form: int, tile: int, blocks: int) -> float:
    """Instructions of the whole layer with dot products."""
    del form
    groups, channels = workload["groups"], workload["out_channels"]
    depth, outputs = workload["in_channels"] // groups, channels // groups
    pixels = workload["height"] * workload["width"]
    quads, rows = -(-depth // 4), -(-depth // 16)
    rounds = -(-outputs // (4 * blocks)) if outputs >= 4 else 1
    inner = quads * (tile * blocks + (blocks + 1) // 2) + rows * tile + tile * blocks
    inner += epilogue_cost(tile, blocks, bool(workload["residual_multiplier"])) + ROUND
    for extra in ("accumulator_bias", "pre_shift"):
        if dict(workload.params).get(extra):
            inner += blocks * (tile + 0.5)
    a_tile = TILE + groups * (GROUP + rounds * inner)
    if workload["out_row"] != workload["width"]:
        a_tile += tile * FAR_PIXEL + groups * rounds * tile
    if workload["shuffle_rows"] > 1 or outputs < 4:
        a_tile += tile * (10 + channels / 8)
    return -(-pixels // tile) * a_tile


def epilogue_cost(tile: int, blocks: int, residual: bool) -> float:
    """Requantization and stores of tile x blocks accumulators."""
    pairs, odd = blocks // 2, blocks % 2
    total = pairs + odd + pairs * tile * (5 + 3 * residual) + (pairs + 1) // 2 * tile * (1 + residual)
    if odd:
        couples = (tile + 1) // 2
        total += couples * (5 + 4 * residual) + tile * 1.5 + tile * residual
    return total
