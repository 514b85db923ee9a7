"""The time of a region from the blocks that ran in it: core model, cache misses, and the board's three parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum

from shufflec.errors import UnsupportedModelError
from shufflec.targets.target import TimeModel
from shufflec.timing.clock_protocol import BlockRun
from shufflec.timing.cores.model import BlockEstimate
from shufflec.timing.estimate import Estimate
from shufflec.timing.waits import share_out

# Above this share of a region's cycles, instructions that the core model does not know would decide the estimate.
MAX_UNKNOWN = 0.02
# A region of a few hundred instructions is the timing itself; one system instruction in it is no reason to refuse.
_NEGLIGIBLE_CYCLES = 2000.0
# Published timings with four threads fit the busiest thread's cycles, plus half as much again for the memory.
_MEMORY_SLOWDOWN, _AT_THREADS = 0.5, 4
_DIGITS = 3  # of a nanosecond: keeps the last bits of a sum out of the report


@dataclass(frozen=True)
class Board:
    """What time depends on. clock_hz, time: the target's. refill_cycles, overlap: of the core model (timing/cores):
    cycles of an L1 load miss; share of the shorter of core and memory time that the longer one hides, in each block."""

    clock_hz: float
    time: TimeModel
    refill_cycles: float
    overlap: float


def region_time(
    board: Board, runs: Sequence[BlockRun], block_cycles: Callable[[list[bytes]], list[BlockEstimate]]
) -> Estimate:
    """The estimate for a region, the same whatever the order of `runs`. block_cycles: of each block, on this core.

    With one thread it is timing/board_time.py's. Several threads run side by side: the busiest one's cycles count,
    and they slow each other's memory down.
    Raises UnsupportedModelError when unknown instructions take more than MAX_UNKNOWN of the cycles.
    """
    pairs = list(zip(runs, block_cycles([run.code for run in runs]), strict=True))
    threads = max((len(run.executions) for run in runs), default=1)
    by_thread = [fsum(run.executions[t] * one.cycles for run, one in pairs) for t in range(threads)]
    total = fsum(by_thread)
    _refuse_unknown(pairs, total)
    busiest = max(range(threads), key=by_thread.__getitem__)
    side_by_side = total / by_thread[busiest] if total else 1.0
    parts = [_block_time(board, run, run.executions[busiest] * one.cycles, side_by_side) for run, one in pairs]
    times = [round(fsum(part), _DIGITS) for part in zip(*parts, strict=True)] or [0.0] * 4
    return Estimate(
        *times,
        sum(run.l1_load_misses for run in runs),
        sum(run.l1_store_misses for run in runs),
        sum(run.dram_lines for run in runs),
        share_out([(part[0], one.waits) for part, (_, one) in zip(parts, pairs, strict=True)]),
    )


def _block_time(board: Board, run: BlockRun, cycles: float, side_by_side: float) -> tuple[float, float, float, float]:
    """Nanoseconds of a block's executions: compute, load misses, store misses, DRAM. side_by_side: threads at work."""
    memory = 1 + _MEMORY_SLOWDOWN * (side_by_side - 1) / (_AT_THREADS - 1)
    cycle_ns = board.time.scale * 1e9 / board.clock_hz
    compute = cycle_ns * cycles
    load = cycle_ns * board.refill_cycles * run.l1_load_misses / side_by_side
    store = board.time.store_miss_ns * run.l1_store_misses * memory
    dram = board.time.dram_line_ns * run.dram_lines * memory
    shown = 1 - board.overlap
    if compute + load >= store + dram:
        return compute, load, shown * store, shown * dram
    return shown * compute, shown * load, store, dram


def _refuse_unknown(pairs: list[tuple[BlockRun, BlockEstimate]], total: float) -> None:
    unknown = fsum(sum(run.executions) * one.cycles * one.unknown / one.instructions for run, one in pairs)
    if unknown > max(MAX_UNKNOWN * total, _NEGLIGIBLE_CYCLES):
        share = f"{100 * unknown / total:.1f} % of the cycles, more than {100 * MAX_UNKNOWN:g} %"
        raise UnsupportedModelError(f"no time: instructions that the core model does not know take {share}")
