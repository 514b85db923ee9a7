"""A board's ceilings: how fast it can multiply at best, and move bytes between its memories, by its time model.

They come from the same figures as the estimated time (targets/*.toml, timing/cores/data), so that no estimate is above
a ceiling. The two nanosecond figures were fitted to whole networks and trade off against each other: the bandwidths are
the model's, not the memory chips'.
"""

from __future__ import annotations

from dataclasses import dataclass

from shufflec.targets.target import Target, TimeModel
from shufflec.timing.cores.core import core_names, load_core


@dataclass(frozen=True)
class Ceiling:
    """per_second: multiply-accumulates or bytes. source: where the figure comes from, in words."""

    per_second: float
    source: str

    def nanoseconds(self, amount: float) -> float:
        """The least time that `amount` takes."""
        return 1e9 * amount / self.per_second


@dataclass(frozen=True)
class Ceilings:
    """compute: int8 multiply-accumulates. l2: bytes between L1D and the next level. dram: bytes between the last level
    and DRAM. l2 and dram are None where the time model charges such lines nothing.

    line_bytes: of a cache line. cache_bytes: all data caches that one core reaches. loads_counted, stores_counted:
    whether L1D misses of loads and of stores move l2's bytes: not where the time model charges them nothing, as on
    cores whose prefetcher hides them. writes_counted: whether the core waits for the lines that it writes to DRAM;
    where not, dram limits no layer for longer than it waited for lines from there.
    """

    compute: Ceiling
    l2: Ceiling | None
    dram: Ceiling | None
    line_bytes: int
    cache_bytes: int
    loads_counted: bool
    stores_counted: bool
    writes_counted: bool = True


def board_ceilings(target: Target, threads: int) -> Ceilings | None:
    """Of `threads` cores (at most the target's); None for a board without a time model or a core without a model."""
    time = target.time
    if time is None or target.core not in core_names():
        return None
    cores = min(threads, target.cores)
    core = load_core(target.core)
    line = target.caches["l1d"].line_bytes
    lines = f"{line}-byte lines"
    loads_ns = time.scale * core.refill_cycles * 1e9 / target.clock_hz
    times = f"{cores} x " if cores > 1 else ""
    # Cores side by side refill each its own L1, and wait for their own misses only.
    ways = []
    if loads_ns > 0:
        cycles = f"{core.refill_cycles:g} cycles, core model"
        words = f"{times}{lines} at {loads_ns:.3g} ns a load that misses L1D ({cycles})"
        ways.append(Ceiling(cores * 1e9 * line / loads_ns, words))
    if time.store_miss_ns > 0:
        words = f"{times}{lines} at {time.store_miss_ns:g} ns a store that misses L1D (fitted)"
        free = "" if loads_ns > 0 else "; load misses cost nothing in the model, so only stores count"
        ways.append(Ceiling(cores * 1e9 * line / time.store_miss_ns, words + free))
    peak = cores * target.peak_macs_per_cycle * target.clock_hz
    words = f"{times}{target.peak_macs_per_cycle} MACs a cycle at {target.clock_hz / 1e9:g} GHz"
    source = f"{words}: {target.sources['peak']}" if "peak" in target.sources else words
    return Ceilings(
        compute=Ceiling(float(peak), source),
        l2=max(ways, key=lambda way: way.per_second, default=None),
        dram=_dram(time, line, cores),
        line_bytes=line,
        cache_bytes=sum(cache.size_bytes for cache in target.caches.values()),
        loads_counted=loads_ns > 0,
        stores_counted=time.store_miss_ns > 0,
        writes_counted=core.write_lines >= 1,
    )


def _dram(time: TimeModel, line: int, cores: int) -> Ceiling | None:
    """The faster of one core alone, as in a loop that is not shared out, and of all cores side by side."""
    if time.dram_line_ns <= 0:
        return None
    alone, side_by_side = time.dram_line_ns, max(time.dram_line_ns / cores, time.shared_line_ns)
    words = f"{line}-byte lines at {alone:g} ns each (fitted)"
    if cores == 1:
        return Ceiling(1e9 * line / alone, words)
    if side_by_side < alone:
        return Ceiling(1e9 * line / side_by_side, f"{line}-byte lines of {cores} cores at {side_by_side:g} ns (fitted)")
    return Ceiling(1e9 * line / alone, f"{words}; {cores} cores side by side: {side_by_side:g} ns")
