"""Milliseconds from block cycles and cache misses, and the fit of a board's three parameters to measured times.

Of each block, over all its executions:

    core = scale x (block cycles + refill x L1 load misses) / clock
    memory = store_miss_ns x L1 store misses + dram_line_ns x DRAM lines + stream_line_ns x DRAM lines not prefetched
    milliseconds = core + memory - overlap x the smaller of the two

`refill`, `stream_line_ns` and `overlap` belong to the core (data/<core>.toml), the three parameters to the board. A
DRAM line is a fill of the last cache; a dirty line that leaves it counts as the core's `write_lines` of them: none
where the core does not wait for it, so that the store miss that made it dirty pays. Lines not prefetched are the fills
of blocks with more streams of loads than the core's prefetcher follows. The two fitted memory terms trade off against
each other: they are not physical.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from shufflec.errors import OptionError
from shufflec.timing.cores.core import Core

_PARAMETERS = 3
_ROUNDS = 40
_CLOSE = 0.02  # relative errors below this weigh alike: the published times are no better


@dataclass(frozen=True)
class TimeParameters:
    """scale: of the core's cycles, 1 for a perfect model. Nanoseconds a miss and a line."""

    scale: float
    store_miss_ns: float
    dram_line_ns: float


@dataclass(frozen=True)
class Sample:
    """A run with its measured time. family: runs alike, left out together. counts: see `estimate_ms`."""

    name: str
    family: str
    milliseconds: float
    counts: np.ndarray


@dataclass(frozen=True)
class ErrorSummary:
    """Relative errors without their sign; 0.05 is 5 %."""

    median: float
    ninetieth: float
    worst: float
    count: int


def estimate_ms(core: Core, clock_hz: float, counts: np.ndarray, parameters: TimeParameters) -> float:
    """Milliseconds of a run on one thread.

    counts: float [blocks, 6], of each block, all its executions together: cycles by `block_cycles`, L1 load misses,
    L1 store misses, DRAM fills, DRAM writes, and those fills again where its streams are more than the core follows.
    """
    values = _values(parameters)
    terms, fixed = _terms(core, clock_hz, counts, values)
    return float(terms @ values) + fixed


def fit(core: Core, clock_hz: float, samples: list[Sample]) -> TimeParameters:
    """The non-negative parameters with about the smallest sum of relative errors (least squares, reweighted).

    With overlap, what hides what follows from the parameters of the round before.

    Raises OptionError for fewer samples than parameters or a time that is not positive.
    """
    if len(samples) < _PARAMETERS:
        raise OptionError("samples", len(samples), f"at least {_PARAMETERS} measured runs fit {_PARAMETERS} parameters")
    if wrong := next((sample for sample in samples if not sample.milliseconds > 0), None):
        raise OptionError("samples", wrong.name, "a measured time is more than 0 ms")
    weights = np.ones(len(samples))
    values = np.array([1.0, 0.0, 0.0])
    for _ in range(_ROUNDS):
        parts = [_terms(core, clock_hz, one.counts, values) for one in samples]
        rows = np.array([terms / one.milliseconds for one, (terms, _) in zip(samples, parts, strict=True)])
        rest = np.array([1 - fixed / one.milliseconds for one, (_, fixed) in zip(samples, parts, strict=True)])
        values = _non_negative(rows * weights[:, None], weights * rest)
        weights = 1 / np.sqrt(np.maximum(np.abs(rows @ values - rest), _CLOSE))
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


def _values(parameters: TimeParameters) -> np.ndarray:
    return np.array([parameters.scale, parameters.store_miss_ns, parameters.dram_line_ns])


def _terms(core: Core, clock_hz: float, counts: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float]:
    """[3] milliseconds that the three parameters multiply, where `values` of them say which side hides the other, and
    those that no parameter does."""
    cycles = counts[:, 0] + core.refill_cycles * counts[:, 1]
    lines = counts[:, 3] + core.write_lines * counts[:, 4]
    terms = np.stack([cycles * 1e3 / clock_hz, counts[:, 2] * 1e-6, lines * 1e-6], axis=1)
    fixed = core.stream_line_ns * 1e-6 * counts[:, 5]
    core_bound = terms[:, 0] * values[0] >= terms[:, 1:] @ values[1:] + fixed
    terms[~core_bound, 0] *= 1 - core.overlap
    terms[core_bound, 1:] *= 1 - core.overlap
    fixed[core_bound] *= 1 - core.overlap
    return terms.sum(axis=0), float(fixed.sum())


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
