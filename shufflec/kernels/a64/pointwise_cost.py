"""Instructions of a 1x1 convolution by tiling: which tilings are legal, and which is the default.

The figures follow the code that the micro-kernels emit; they are counts, not cycles. A tiling is
(("form", f), ("pixels", p), ("blocks", b)): the micro-kernel, pixels at once, blocks of four outputs at once.
"""

from __future__ import annotations

from shufflec.kernels.kernel import Workload

LANES, RESIDENT, SCRATCH, DOT = range(4)
REGISTERS = 32
MAX_SUMS = 24  # int32x4 accumulators that leave room for operands
MAX_PIXELS = 8
MAX_BLOCKS = 8
ROUND, GROUP, TILE, FAR_PIXEL = 8, 12, 14, 6  # loop and address arithmetic

Tiling = tuple[tuple[str, int], ...]


def tilings(workload: Workload) -> list[Tiling]:
    """Every legal tiling, the cheapest first."""
    depth = workload["in_channels"] // workload["groups"]
    outputs = workload["out_channels"] // workload["groups"]
    pixels = workload["height"] * workload["width"]
    forms = (DOT,) if workload.isa == "dotprod" else (LANES, RESIDENT, SCRATCH)
    found = []
    for form in forms:
        for tile in range(1, min(MAX_PIXELS, pixels) + 1):
            for blocks in range(1, max(1, min(MAX_BLOCKS, outputs // 4)) + 1):
                if registers(form, tile, blocks, depth) <= REGISTERS:
                    found.append((cost(workload, form, tile, blocks), form, tile, blocks))
    return [(("form", form), ("pixels", tile), ("blocks", blocks)) for _, form, tile, blocks in sorted(found)]


def registers(form: int, tile: int, blocks: int, depth: int) -> int:
    """Vector registers that are live at once."""
    quads = -(-depth // 4)
    if form == LANES:
        sums, operands = 4 * blocks * tile, min(tile, 4 * blocks) + 2 + 1
    elif form == RESIDENT:
        sums, operands = tile, tile * quads + 2 * tile + 3
    elif form == SCRATCH:
        sums, operands = blocks * tile, tile + 2 + 1
    else:
        sums, operands = blocks * tile, tile + 2
    return sums + operands if sums <= MAX_SUMS else REGISTERS + 1


def cost(workload: Workload, form: int, tile: int, blocks: int) -> float:
    """Instructions of the whole layer."""
    groups, channels = workload["groups"], workload["out_channels"]
    depth, outputs = workload["in_channels"] // groups, channels // groups
    pixels = workload["height"] * workload["width"]
    quads, rows = -(-depth // 4), -(-depth // 16)
    rounds = -(-outputs // (4 * blocks)) if outputs >= 4 else 1
    begin = 0.0
    if form == LANES:
        full, half = depth // 16 + (depth % 16 > 8), 0 < depth % 16 <= 8
        loads = tile + 2 * blocks
        inner = full * (12 * blocks * tile + loads) + half * (8 * blocks * tile + loads) + 3 * blocks * tile
    elif form == RESIDENT:
        begin = 4 + tile * (quads + rows)
        inner = blocks * (3 * tile * quads + (quads + 1) // 2)
    elif form == SCRATCH:
        begin = 4 + tile * (2 * quads + rows)
        inner = quads * (3 * tile * blocks + (tile + 1) // 2 + (blocks + 1) // 2)
    else:
        inner = quads * (tile * blocks + (blocks + 1) // 2) + rows * tile + tile * blocks
    inner += epilogue_cost(tile, blocks, bool(workload["residual_multiplier"])) + ROUND
    for extra in ("accumulator_bias", "pre_shift"):
        if dict(workload.params).get(extra):
            inner += blocks * (tile + 0.5)
    a_tile = TILE + groups * (GROUP + begin + rounds * inner)
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
