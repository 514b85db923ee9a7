"""Four products in one int16 lane: which channels can share lanes, for the weights that there are.

A lane of SMULL + SMLAL2 + SMLAL + SMLAL2 holds w0 x0 + w1 x1 + w2 x2 + w3 x3 for any int8 x as long as it stays inside
int16: with P and N the sums of the positive weights and of the negative ones' magnitudes,

    127 P + 128 N <= 32767   and   128 P + 127 N <= 32768

which holds whenever the magnitudes sum to 255 or less. Weights are at most 127 and mostly far less, so most pairs of
units (registers of two products a lane) can be chained, but not any two: `match` finds partners.
"""

from __future__ import annotations

import numpy as np

INT16_MAX = 32767


def fits_lane(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Whether lanes with these sums of weights (int64, any shape) hold their products for any int8 activations."""
    highest = 127 * positive + 128 * negative
    lowest = 128 * positive + 127 * negative
    return (highest <= INT16_MAX) & (lowest <= INT16_MAX + 1)


def match(weights: np.ndarray) -> list[tuple[int, ...]]:
    """Pairs of units whose lanes can be shared, then the units left alone; each by number, deterministic.

    weights: int8 (units, lanes, products), the weights that meet in each int16 lane.
    """
    wide = weights.astype(np.int64)
    positive, negative = np.maximum(wide, 0).sum(axis=2), np.maximum(-wide, 0).sum(axis=2)
    together = fits_lane(positive[:, None] + positive, negative[:, None] + negative).all(axis=2)
    np.fill_diagonal(together, False)
    partner = _fewest_choices_first(together)
    _augment(together, partner)
    pairs = [(a, int(b)) for a, b in enumerate(partner) if b > a]
    return [*pairs, *((a,) for a, b in enumerate(partner) if b < 0)]


def _fewest_choices_first(together: np.ndarray) -> np.ndarray:
    """Greedy matching: the unit with the fewest possible partners takes that of them with the fewest."""
    partner = np.full(len(together), -1)
    free = together.copy()
    while free.any():
        choices = free.sum(axis=1)
        first = int(np.argmin(np.where(choices > 0, choices, len(free) + 1)))
        second = int(np.argmin(np.where(free[first], choices, len(free) + 1)))
        partner[first], partner[second] = second, first
        for unit in (first, second):
            free[unit, :] = free[:, unit] = False
    return partner


def _augment(together: np.ndarray, partner: np.ndarray) -> None:
    """Frees a pair (b, c) for two lonely units (a, d) that go with one of it each: a-b, c-d."""
    for a in range(len(partner)):
        for b in np.flatnonzero(together[a] & (partner >= 0)) if partner[a] < 0 else ():
            c = partner[b]
            lonely = np.flatnonzero(together[c] & (partner < 0))
            lonely = lonely[lonely != a]
            if len(lonely):
                d = lonely[0]
                partner[a], partner[b], partner[c], partner[d] = b, a, d, c
                break
