"""What the estimated time of a region adds up from."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from shufflec.timing.waits import NAMES, Waits


@dataclass(frozen=True)
class Estimate:
    """What the time of a region adds up from, in nanoseconds, and the events that it rests on.

    compute_ns: the core model's cycles of the blocks that ran. load_miss_ns, store_miss_ns: of accesses that miss L1D.
    dram_ns: of lines (dram_lines) that are filled from DRAM or written to it. waits: compute_ns by what the core
    waited for.
    """

    compute_ns: float
    load_miss_ns: float
    store_miss_ns: float
    dram_ns: float
    l1_load_misses: int
    l1_store_misses: int
    dram_lines: int
    waits: Waits = field(default_factory=Waits)

    @property
    def total_ns(self) -> float:
        """The region's time."""
        return self.compute_ns + self.load_miss_ns + self.store_miss_ns + self.dram_ns

    def without(self, overhead: Estimate) -> Estimate:
        """Each part less that of an overhead, never below zero."""
        names = [item.name for item in fields(self) if item.name != "waits"]
        parts = {name: max(getattr(self, name) - getattr(overhead, name), 0) for name in names}
        waits = {name: max(getattr(self.waits, name) - getattr(overhead.waits, name), 0.0) for name in NAMES}
        return Estimate(**parts, waits=Waits(**waits))


def estimate_from_dict(values: dict[str, Any]) -> Estimate:
    """The estimate that a virtual board's server reports as JSON. Raises TypeError for other fields than Estimate's."""
    values = dict(values)
    waits = Waits(**values.pop("waits", None))
    return Estimate(**values, waits=waits)
