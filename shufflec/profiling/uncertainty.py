"""How far an estimated time can be trusted, from the board's figures and what the time adds up from."""

from __future__ import annotations

from shufflec.targets.target import Target
from shufflec.timing.estimate import Estimate


def memory_share(estimate: Estimate) -> float:
    """Share of an estimated time that is store misses and DRAM, 0 to 1."""
    memory = estimate.store_miss_ns + estimate.dram_ns
    total = memory + estimate.compute_ns + estimate.load_miss_ns
    return memory / total if total else 0.0


def time_percent(target: Target, estimate: Estimate, threads: int) -> float | None:
    """Plus or minus, in per cent; None for a target without a time model, whose code ran on another board."""
    if target.time is None:
        return None
    return target.time.time_percent(target.clock_hz, threads, memory_share(estimate))


def wider_because(target: Target, estimate: Estimate, threads: int) -> tuple[str, ...]:
    """Why that is more than the board's own range, in words."""
    if target.time is None:
        return ()
    reasons = target.time.wider_because(target.clock_hz, threads, memory_share(estimate))
    return (*reasons, target.sources["range"]) if "range" in target.sources else reasons
