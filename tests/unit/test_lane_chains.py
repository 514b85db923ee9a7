"""Which channels may share an int16 lane."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from shufflec.kernels.a64.chains import fits_lane, match

EXTREMES = (-128, 127)


def fits(weights: tuple[int, ...]) -> bool:
    """By trying: the sum of products is largest and smallest at the ends of int8."""
    sums = [sum(w * x for w, x in zip(weights, xs, strict=True)) for xs in itertools.product(EXTREMES, repeat=4)]
    return min(sums) >= -(2**15) and max(sums) < 2**15


@pytest.mark.parametrize(
    "weights",
    [
        (64, 64, 64, 64),
        (-64, -64, -64, -64),
        (127, 127, 1, 1),
        (127, 127, 1, 2),
        (127, -127, 2, -1),
        (-127, -127, 1, -1),
    ],
)
def test_the_bound_is_exact(weights):
    values = np.array(weights)
    assert fits_lane(np.maximum(values, 0).sum(), np.maximum(-values, 0).sum()) == fits(weights)


def test_pairs_fit_and_every_unit_appears_once():
    rng = np.random.default_rng(0)
    weights = np.clip(np.round(rng.normal(0, 45, (40, 8, 2))), -127, 127).astype(np.int8)
    steps = match(weights)
    assert sorted(unit for step in steps for unit in step) == list(range(40))
    pairs = [step for step in steps if len(step) == 2]
    assert len(pairs) > 12
    assert steps == pairs + [step for step in steps if len(step) == 1]
    for a, b in pairs:
        for lane in np.concatenate([weights[a], weights[b]], axis=1).astype(int):
            assert fits(tuple(lane))


def test_units_that_cannot_share_are_left_alone():
    assert match(np.full((4, 8, 2), 127, np.int8)) == [(0,), (1,), (2,), (3,)]


def test_two_lonely_units_take_a_pair_apart():
    """0 and 3 are large; 1 and 2 go with anything small, so 0-1 and 2-3 beat 1-2."""
    sizes = np.array([100, 20, 20, 100], np.int8)
    weights = np.repeat(sizes, 16).reshape(4, 8, 2)
    assert sorted(tuple(sorted(step)) for step in match(weights)) in ([(0, 1), (2, 3)], [(0, 2), (1, 3)])
