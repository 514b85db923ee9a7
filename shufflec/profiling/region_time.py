"""The time of a region from the blocks that ran in it: core model, cache misses, and the board's three parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum

from shufflec.errors import UnsupportedModelError
from shufflec.profiling.clock_protocol import BlockRun, Estimate
from shufflec.profiling.cores.model import BlockEstimate
from shufflec.targets.target import TimeModel

# Above this share of a region's cycles, instructions that the core model does not know would decide the estimate.
MAX_UNKNOWN = 0.02
# A region of a few hundred instructions is the timing itself; one system instruction in it is no reason to refuse.
_NEGLIGIBLE_CYCLES = 2000.0
# Published timings with four threads fit the busiest thread's cycles, plus half as much again for the memory.
_MEMORY_SLOWDOWN, _AT_THREADS = 0.5, 4
_DIGITS = 3  # of a nanosecond: keeps the last bits of a sum out of the report


@dataclass(frozen=True)
class Board:
    """What time depends on. refill_cycles: of an L1 load miss, from the core model. clock_hz: of the core."""

    clock_hz: float
    refill_cycles: float
    time: TimeModel


def region_time(board: Board, runs: Sequence[BlockRun], block_cycles: Callable[[list[bytes]], list[BlockEstimate]]) -> Estimate:
    """The estimate for a region, the same whatever the order of `runs`. block_cycles: of each block, on this core.

    Several threads run side by side: the busiest one's cycles count, and they slow each other's memory down.
    Raises UnsupportedModelError when unknown instructions take more than MAX_UNKNOWN of the cycles.
    """
    estimates = block_cycles([run.code for run in runs])
    pairs = list(zip(runs, estimates, strict=True))
    threads = max((len(run.executions) for run in runs), default=1)
    by_thread = [fsum(run.executions[t] * one.cycles for run, one in pairs) for t in range(threads)]
    busiest, total = max(by_thread), fsum(by_thread)
    _refuse_unknown(pairs, total)
    load_misses = sum(run.l1_load_misses for run in runs)
    store_misses = sum(run.l1_store_misses for run in runs)
    dram_lines = sum(run.dram_lines for run in runs)
    side_by_side = total / busiest if busiest else 1.0
    memory = 1 + _MEMORY_SLOWDOWN * (side_by_side - 1) / (_AT_THREADS - 1)
    cycle_ns = board.time.scale * 1e9 / board.clock_hz
    return Estimate(
        round(cycle_ns * busiest, _DIGITS),
        round(cycle_ns * board.refill_cycles * load_misses / side_by_side, _DIGITS),
        round(board.time.store_miss_ns * store_misses * memory, _DIGITS),
        round(board.time.dram_line_ns * dram_lines * memory, _DIGITS),
        load_misses,
        store_misses,
        dram_lines,
    )


def _refuse_unknown(pairs: list[tuple[BlockRun, BlockEstimate]], total: float) -> None:
    unknown = fsum(sum(run.executions) * one.cycles * one.unknown / one.instructions for run, one in pairs)
    if unknown > max(MAX_UNKNOWN * total, _NEGLIGIBLE_CYCLES):
        raise UnsupportedModelError(
            f"no time: instructions that the core model does not know take {100 * unknown / total:.1f} % of the cycles, "
            f"more than {100 * MAX_UNKNOWN:g} %"
        )
