"""The time of a region from the blocks that ran in it: core model, cache misses, and the board's three parameters."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import fsum

from shufflec.errors import UnsupportedModelError
from shufflec.targets.target import TimeModel
from shufflec.timing.clock_protocol import ALONE, BlockRun
from shufflec.timing.cores.core import Core
from shufflec.timing.cores.model import BlockEstimate
from shufflec.timing.estimate import Estimate
from shufflec.timing.waits import share_out

# Above this share of a region's cycles, instructions that the core model does not know would decide the estimate.
MAX_UNKNOWN = 0.02
# A region of a few hundred instructions is the timing itself; one system instruction in it is no reason to refuse.
_NEGLIGIBLE_CYCLES = 2000.0
_DIGITS = 3  # of a nanosecond: keeps the last bits of a sum out of the report

BlockCycles = Callable[[list[bytes]], list[BlockEstimate]]


@dataclass(frozen=True)
class Board:
    """What time depends on. clock_hz, time: the target's. refill_cycles, overlap: of the core model (timing/cores):
    cycles of an L1 load miss; share of the shorter of core and memory time that the longer one hides, in each block.
    prefetch_streams, stream_line_ns, write_lines, shared_write_lines: as in Core."""

    clock_hz: float
    time: TimeModel
    refill_cycles: float
    overlap: float
    prefetch_streams: int = 0
    stream_line_ns: float = 0.0
    write_lines: float = 1.0
    shared_write_lines: float = 1.0


def board_with(core: Core, clock_hz: float, time: TimeModel) -> Board:
    """A board with this core."""
    streams = (core.prefetch_streams, core.stream_line_ns)
    writes = (core.write_lines, core.shared_write_lines)
    return Board(clock_hz, time, core.refill_cycles, core.overlap, *streams, *writes)


@dataclass(frozen=True)
class _Part:
    """A block's share of the region's time, in nanoseconds."""

    compute: float
    load: float
    store: float
    dram: float
    waits: dict[str, float]

    @property
    def total(self) -> float:
        return fsum((self.compute, self.load, self.store, self.dram))


def region_time(board: Board, runs: Sequence[BlockRun], block_cycles: BlockCycles) -> Estimate:
    """The estimate for a region, the same whatever the order of `runs`. block_cycles: of each block, on this core.

    What ran alone is timing/board_time.py's formula. A section side by side takes longer than its slowest thread would
    alone, and longer than the memory needs for the lines of all threads; where the two are near each other, threads
    often wait for lines while the memory waits for requests, so that the time is their hypotenuse:

        sqrt((slowest thread)^2 + (shared_line_ns x DRAM lines)^2)

    where a DRAM line that is written counts as the core's `shared_write_lines`.

    Raises UnsupportedModelError when unknown instructions take more than MAX_UNKNOWN of the cycles.
    """
    runs = _joined(runs)
    estimates = block_cycles([run.code for run in runs])
    _refuse_unknown(runs, estimates)
    sections = defaultdict(lambda: defaultdict(list))
    for run, one in zip(runs, estimates, strict=True):
        sections[run.section][run.thread].append((run, one))
    parts = []
    for number, threads in sections.items():
        parts += _alone(board, threads) if number == ALONE else _side_by_side(board, threads)
    times = [
        round(fsum(getattr(part, name) for part in parts), _DIGITS) for name in ("compute", "load", "store", "dram")
    ]
    return Estimate(
        *times,
        sum(run.l1_load_misses for run in runs),
        sum(run.l1_store_misses for run in runs),
        sum(run.dram_lines for run in runs),
        share_out([(part.compute, part.waits) for part in parts]),
    )


def _joined(runs: Iterable[BlockRun]) -> list[BlockRun]:
    """One run for each block, section and thread."""
    sums = {}
    for run in runs:
        key = (run.section, run.thread, run.code)
        counts = (run.executions, run.l1_load_misses, run.l1_store_misses, run.dram_fills, run.dram_writes)
        old = sums.get(key)
        sums[key] = counts if old is None else tuple(map(sum, zip(old, counts, strict=True)))
    return [BlockRun(code, *counts, section, thread) for (section, thread, code), counts in sums.items()]


def _alone(board: Board, threads: dict[int, list[tuple[BlockRun, BlockEstimate]]]) -> list[_Part]:
    return [_block_time(board, run, one) for pairs in threads.values() for run, one in pairs]


def _side_by_side(board: Board, threads: dict[int, list[tuple[BlockRun, BlockEstimate]]]) -> list[_Part]:
    parts = {number: [_block_time(board, run, one) for run, one in pairs] for number, pairs in threads.items()}
    alone = {number: fsum(part.total for part in of_thread) for number, of_thread in parts.items()}
    slowest = max(sorted(alone), key=alone.__getitem__)
    if len(threads) == 1:
        return parts[slowest]
    together = [run for pairs in threads.values() for run, _ in pairs]
    written = board.shared_write_lines * sum(run.dram_writes for run in together)
    memory = board.time.shared_line_ns * (sum(run.dram_fills for run in together) + written)
    waiting = math.hypot(alone[slowest], memory) - alone[slowest]
    return [*parts[slowest], _Part(0.0, 0.0, 0.0, waiting, {})]


def _block_time(board: Board, run: BlockRun, one: BlockEstimate) -> _Part:
    cycle_ns = board.time.scale * 1e9 / board.clock_hz
    compute = cycle_ns * run.executions * one.cycles
    load = cycle_ns * board.refill_cycles * run.l1_load_misses
    store = board.time.store_miss_ns * run.l1_store_misses
    dram = board.time.dram_line_ns * (run.dram_fills + board.write_lines * run.dram_writes)
    if 0 < board.prefetch_streams < one.streams:
        dram += board.stream_line_ns * run.dram_fills
    shown = 1 - board.overlap
    if compute + load >= store + dram:
        return _Part(compute, load, shown * store, shown * dram, one.waits)
    return _Part(shown * compute, shown * load, store, dram, one.waits)


def _refuse_unknown(runs: Sequence[BlockRun], estimates: Sequence[BlockEstimate]) -> None:
    total = fsum(run.executions * one.cycles for run, one in zip(runs, estimates, strict=True))
    unknown = fsum(
        run.executions * one.cycles * one.unknown / one.instructions for run, one in zip(runs, estimates, strict=True)
    )
    if unknown > max(MAX_UNKNOWN * total, _NEGLIGIBLE_CYCLES):
        share = f"{100 * unknown / total:.1f} % of the cycles, more than {100 * MAX_UNKNOWN:g} %"
        raise UnsupportedModelError(f"no time: instructions that the core model does not know take {share}")
