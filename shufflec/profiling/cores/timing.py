"""Milliseconds from block cycles and cache misses, and the fit of a board's three parameters to measured times.

    milliseconds = scale x (block cycles + refill x L1 load misses) / clock
                   + store_miss_ns x L1 store misses + dram_line_ns x DRAM lines

`refill` belongs to the core (data/<core>.toml), the three parameters to the board. A DRAM line is a fill of the last
cache or a dirty line that leaves it. The two memory terms trade off against each other: they are fitted, not physical.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from shufflec.errors import OptionError
from shufflec.profiling.cores.core import Core

_PARAMETERS = 3
_ROUNDS = 40
_CLOSE = 0.02  # relative errors below this weigh alike: the published times are no better


@dataclass(frozen=True)
class Counts:
    """What a run did: cycles of its blocks by `block_cycles`, cache misses and DRAM lines."""

    block_cycles: float
    l1_load_misses: int
    l1_store_misses: int
    dram_lines: int


@dataclass(frozen=True)
class TimeParameters:
    """scale: of the core's cycles, 1 for a perfect model. Nanoseconds a miss and a line."""

    scale: float
    store_miss_ns: float
    dram_line_ns: float


@dataclass(frozen=True)
class Sample:
    """A run with its measured time. family: runs alike, left out together."""

    name: str
    family: str
    milliseconds: float
    counts: Counts


@dataclass(frozen=True)
class ErrorSummary:
    """Relative errors without their sign; 0.05 is 5 %."""

    median: float
    ninetieth: float
    worst: float
    count: int


def estimate_ms(core: Core, clock_hz: float, counts: Counts, parameters: TimeParameters) -> float:
    """Milliseconds of a run on one thread."""
    values = (parameters.scale, parameters.store_miss_ns, parameters.dram_line_ns)
    return float(np.dot(_terms(core, clock_hz, counts), values))


def fit(core: Core, clock_hz: float, samples: list[Sample]) -> TimeParameters:
    """The non-negative parameters with about the smallest sum of relative errors (least squares, reweighted).

    Raises OptionError for fewer samples than parameters or a time that is not positive.
    """
    if len(samples) < _PARAMETERS:
        raise OptionError("samples", len(samples), f"at least {_PARAMETERS} measured runs fit {_PARAMETERS} parameters")
    if wrong := next((sample for sample in samples if not sample.milliseconds > 0), None):
        raise OptionError("samples", wrong.name, "a measured time is more than 0 ms")
    rows = np.array([_terms(core, clock_hz, sample.counts) / sample.milliseconds for sample in samples])
    weights = np.ones(len(samples))
    values = np.zeros(_PARAMETERS)
    for _ in range(_ROUNDS):
        values = _non_negative(rows * weights[:, None], weights)
        weights = 1 / np.sqrt(np.maximum(np.abs(rows @ values - 1), _CLOSE))
    return TimeParameters(*(float(value) for value in values))


def leave_family_out(core: Core, clock_hz: float, samples: list[Sample]) -> dict[str, float]:
    """Relative error of each sample, estimated with parameters that never saw its family. Raises as `fit`."""
    errors = {}
    for family in dict.fromkeys(sample.family for sample in samples):
        parameters = fit(core, clock_hz, [sample for sample in samples if sample.family != family])
        for sample in samples:
            if sample.family == family:
                errors[sample.name] = estimate_ms(core, clock_hz, sample.counts, parameters) / sample.milliseconds - 1
    return errors


def summarize(errors: dict[str, float]) -> ErrorSummary:
    """Median, 90th percentile (the smallest that 90 % do not exceed) and worst. Raises OptionError for no errors."""
    if not errors:
        raise OptionError("errors", 0, "at least one error to summarize")
    sizes = sorted(abs(error) for error in errors.values())
    ninetieth = sizes[math.ceil(0.9 * len(sizes)) - 1]
    return ErrorSummary(float(np.median(sizes)), ninetieth, sizes[-1], len(sizes))


def _terms(core: Core, clock_hz: float, counts: Counts) -> np.ndarray:
    """[3] milliseconds (ms, ms/ns, ms/ns) that the three parameters multiply."""
    cycles = counts.block_cycles + core.refill_cycles * counts.l1_load_misses
    return np.array([cycles / clock_hz * 1e3, counts.l1_store_misses * 1e-6, counts.dram_lines * 1e-6])


def _non_negative(rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Non-negative least squares, by trying every set of parameters that are not 0 (there are 7)."""
    best, least = np.zeros(_PARAMETERS), float(np.sum(target**2))
    for size in range(1, _PARAMETERS + 1):
        for chosen in itertools.combinations(range(_PARAMETERS), size):
            values = np.zeros(_PARAMETERS)
            values[list(chosen)] = np.linalg.lstsq(rows[:, chosen], target, rcond=None)[0]
            residual = float(np.sum((rows @ values - target) ** 2))
            if np.all(values >= 0) and residual < least:
                best, least = values, residual
    return best
