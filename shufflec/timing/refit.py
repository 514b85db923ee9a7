"""A board's three time parameters from runs that were timed on it, starting from another board's with the same core.

Unlike timing/board_time.py's fit, which has two dozen networks, this one has a few and may be asked about parameters
that they say little about. So it is regularised (ridge): in units of the starting figures, a parameter that moves by
its slack costs as much as a run that is wrong by _CLOSE, and what the runs do not determine stays where it was.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from shufflec.errors import OptionError
from shufflec.timing.board_time import TimeParameters

PARAMETERS = ("scale", "store_miss_ns", "dram_line_ns")
# The least that a parameter can be: they stay positive.
LEAST = (0.1, 0.05, 0.05)
# By how much each is expected to differ from the starting figure, as a share of it (but of no less than _FLOOR): cores
# of one design are alike, memories are not (Pi 3B+ and Zero 2 W: 9 % in scale, 2.6 and 1.6 times in the other two).
_SLACK, _FLOOR = (0.3, 1.5, 1.5), (0.1, 5.0, 3.0)
_CLOSE = 0.02  # relative errors below this weigh alike
_ROUNDS = 60
_LEAST_SAID = 0.5  # share of what is known of a parameter that must come from the runs to call it determined


@dataclass(frozen=True)
class Reading:
    """A timed run. group: runs that are kept back together. milliseconds: as timed. core_ms, store_ms, dram_ms: what
    the estimate gains when scale, store_miss_ns and dram_line_ns rise by 1."""

    name: str
    group: str
    milliseconds: float
    core_ms: float
    store_ms: float
    dram_ms: float

    def estimate_ms(self, parameters: TimeParameters) -> float:
        """The run's estimated time."""
        return float(np.dot(self._row(), astuple(parameters)))

    def error(self, parameters: TimeParameters) -> float:
        """(estimated - timed) / timed."""
        return self.estimate_ms(parameters) / self.milliseconds - 1

    def _row(self) -> tuple[float, float, float]:
        return self.core_ms, self.store_ms, self.dram_ms


@dataclass(frozen=True)
class Refit:
    """parameters: the new ones. undetermined: names of those that the runs say little about: they stayed near the
    starting figures."""

    parameters: TimeParameters
    undetermined: tuple[str, ...]


def refit(readings: Sequence[Reading], start: TimeParameters) -> Refit:
    """Parameters with small relative errors (least squares, reweighted so that no single run decides), near `start`.

    Raises OptionError for no readings, or a time that is not positive.
    """
    if not readings:
        raise OptionError("readings", 0, "at least one timed run fits a board")
    if wrong := next((one for one in readings if not (math.isfinite(one.milliseconds) and one.milliseconds > 0)), None):
        raise OptionError("readings", wrong.name, "a time is more than 0 ms")
    unit = np.maximum(astuple(start), _FLOOR)
    before = np.array(astuple(start)) / unit
    rows = np.array([np.array([one.core_ms, one.store_ms, one.dram_ms]) * unit / one.milliseconds for one in readings])
    ridge = np.diag([_CLOSE / slack for slack in _SLACK])
    least = np.array(LEAST) / unit
    weights = np.ones(len(readings))
    values = before
    for _ in range(_ROUNDS):
        roots = np.sqrt(weights)
        system = np.vstack([rows * roots[:, None], ridge])
        values = _bounded(system, np.concatenate([roots, ridge @ before]), least)
        weights = _CLOSE / np.maximum(np.abs(rows @ values - 1), _CLOSE)
    information = rows.T @ (rows * weights[:, None]) + ridge @ ridge
    from_start = np.diag(ridge @ ridge) * np.diag(np.linalg.inv(information))
    unknown = tuple(name for name, share in zip(PARAMETERS, from_start, strict=True) if 1 - share < _LEAST_SAID)
    return Refit(TimeParameters(*(float(value) for value in values * unit)), unknown)


def kept_back_errors(readings: Sequence[Reading], start: TimeParameters) -> dict[str, float]:
    """Error of each reading by name, estimated with parameters that never saw its group. Raises as `refit`."""
    errors = {}
    for group in dict.fromkeys(one.group for one in readings):
        parameters = refit([one for one in readings if one.group != group], start).parameters
        errors |= {one.name: one.error(parameters) for one in readings if one.group == group}
    return errors


def ninetieth(sizes: Sequence[float]) -> float:
    """The smallest of some errors that 90 % of them do not exceed in size."""
    ordered = sorted(abs(size) for size in sizes)
    return ordered[math.ceil(0.9 * len(ordered)) - 1]


def ratio_errors(errors: Sequence[float]) -> list[float]:
    """Errors of the ratios of all pairs of estimates with these errors."""
    return [(1 + a) / (1 + b) - 1 for a, b in itertools.permutations(errors, 2)]


def _bounded(system: np.ndarray, target: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Least squares with each value at least `least`, by trying every set of values that are at that bound."""
    best, smallest = least, float(np.sum((system @ least - target) ** 2))
    count = len(least)
    for size in range(1, count + 1):
        for free in map(list, itertools.combinations(range(count), size)):
            values = least.copy()
            fixed = [i for i in range(count) if i not in free]
            rest = target - system[:, fixed] @ least[fixed]
            values[free] = np.linalg.lstsq(system[:, free], rest, rcond=None)[0]
            residual = float(np.sum((system @ values - target) ** 2))
            if np.all(values >= least) and residual < smallest:
                best, smallest = values, residual
    return best
