"""What the estimated time of a region adds up from."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Estimate:
    """What the time of a region adds up from, in nanoseconds, and the events that it rests on.

    compute_ns: the core model's cycles of the blocks that ran. load_miss_ns, store_miss_ns: of accesses that miss L1D.
    dram_ns: of lines (dram_lines) that are filled from DRAM or written to it.
    """

    compute_ns: float
    load_miss_ns: float
    store_miss_ns: float
    dram_ns: float
    l1_load_misses: int
    l1_store_misses: int
    dram_lines: int

    def without(self, overhead: Estimate) -> Estimate:
        """Each part less that of an overhead, never below zero."""
        names = [field.name for field in fields(self)]
        return Estimate(**{name: max(getattr(self, name) - getattr(overhead, name), 0) for name in names})
