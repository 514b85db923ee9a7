"""Means over seeds with Student's t intervals, paired differences, and Holm's correction for several of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """The mean of `count` values and its 95 % interval (low, high); None for one value, which tells no spread."""

    value: float
    interval: tuple[float, float] | None
    count: int

    @property
    def half_width(self) -> float | None:
        """Half of the interval: the figure behind "+-"."""
        return None if self.interval is None else (self.interval[1] - self.interval[0]) / 2


@dataclass(frozen=True)
class PairedTest:
    """A mean of paired differences, and how sure it is that it is not 0.

    p: two-sided, of the paired t test. None where the differences are fewer than two or all the same: they tell no
    spread. adjusted: p after Holm's correction for all comparisons of its table.
    """

    mean: Mean
    p: float | None
    adjusted: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the difference stands at the 5 % level after the correction."""
        return self.adjusted is not None and self.adjusted < 1 - CONFIDENCE


def mean_of(values: Sequence[float]) -> Mean:
    """Mean and interval of values that vary as a normal distribution does; at least one value."""
    from scipy.special import stdtrit  # a third of a second to import

    value, count = fmean(values), len(values)
    if count < 2:
        return Mean(value, None, count)
    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * stdev(values) / math.sqrt(count)
    return Mean(value, (value - half, value + half), count)


def paired_tests(differences: Sequence[Sequence[float]]) -> list[PairedTest]:
    """One test for each list of differences, corrected for the number of lists."""
    plain = [PairedTest(mean_of(values), _p_value(values)) for values in differences]
    adjusted = holm([test.p for test in plain])
    return [PairedTest(test.mean, test.p, p) for test, p in zip(plain, adjusted, strict=True)]


def _p_value(values: Sequence[float]) -> float | None:
    from scipy.special import stdtr

    spread = stdev(values) if len(values) > 1 else 0.0
    # Differences of a small test split are multiples of one image: equal ones differ in rounding alone.
    if spread < 1e-12:
        return None
    t = fmean(values) / (spread / math.sqrt(len(values)))
    return 2 * float(stdtr(len(values) - 1, -abs(t)))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """P values after Holm's step-down correction; None stays None and counts as no comparison.

    Of m values the smallest is multiplied by m, the next by m - 1 and so on; none becomes smaller than one before it.
    """
    order = sorted((i for i, value in enumerate(values) if value is not None), key=lambda i: values[i])
    adjusted: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, values[i] * (len(order) - rank)))
        adjusted[i] = least
    return adjusted
