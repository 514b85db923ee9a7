"""The rule m-q31 against exact arithmetic, for layers far outside of what a trained network has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shufflec.ir.graph import Op
from shufflec.ir.numerics import RequantRangeError
from shufflec.ir.numerics_m import choose_average, choose_requant, choose_sum
from shufflec.ir.reference import avg_pool2d, conv2d, weighted_sum
from shufflec.ir.reference_m import rounded_high_word
from shufflec.ir.rules import A64, RULES, M, rule_of


def requantized(weight, real, zero_in, bias, zero_out, residual, x, r):
    """(ours, exact result before rounding, parameters)."""
    positive, negative = np.maximum(weight, 0).sum(1), np.minimum(weight, 0).sum(1)
    found = choose_requant(
        real, bias + zero_out, -zero_in * weight.sum(1), 127 * negative - 128 * positive,
        127 * positive - 128 * negative, residual,
    )  # fmt: skip
    attrs = {"groups": 1, "stride": (1, 1), "pad": (0, 0, 0, 0), "clamp_min": -128, "clamp_max": 127}
    attrs |= found.attributes() | {"residual_multiplier": found.residual_multiplier}
    constants = {"weight": weight[:, None, None, :].astype(np.int8), "pad_value": np.zeros(x.shape[1], np.int8)}
    op = Op("conv2d", "layer", (), "y", attrs, constants | found.constants())
    ours = conv2d(op, x[:, None].astype(np.int8), r[:, None].astype(np.int8) if residual else None)[:, 0]
    exact = real * ((x - zero_in) @ weight.T) + bias + zero_out + residual * r
    return ours.astype(np.int64), exact, found


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 3, 9, 40, 400]),
    st.floats(-5.0, 0.5),
    st.sampled_from([0.0, 1.0, 3.0]),
    st.sampled_from([0.0, 30.0, 3000.0]),
    st.sampled_from([0.0, 0.3, 1.0, 3.0]),
    st.booleans(),
)
def test_requantization_stays_within_its_bound(seed, depth, center, spread, bias_size, residual, dead):
    rng = np.random.default_rng(seed)
    weight = rng.integers(-127, 128, (7, depth))
    if dead:
        weight[0] = 0
    real = 10.0 ** (center + rng.uniform(-spread, spread, 7) / 2)
    zero_in, zero_out = rng.integers(-128, 128, 2)
    bias = rng.standard_normal(7) * bias_size
    x, r = rng.integers(-128, 128, (40, depth)), rng.integers(-128, 128, (40, 7))
    try:
        ours, exact, found = requantized(weight, real, zero_in, bias, zero_out, residual, x, r)
    except RequantRangeError:
        assume(False)
    digit = 2.0 ** -(found.digits + 1) + 2.0 ** (6 - found.digits - found.lift) if residual else 0.0
    peak = 255 * np.abs(weight).sum(1) * real
    # Half a step, half an accumulator step, a digit, and the multipliers' own rounding.
    moved = np.where(real < 2.0**-24, 0.26, 0.0)
    real = np.where(peak > 0, real, 0.0)
    relative = 0.5 / found.multiplier.clip(1) * np.minimum(peak + np.abs(bias) + 512, 1e4)
    bound = 0.5 + real / 2 + digit + relative + moved
    error = np.abs(ours - np.clip(exact, -128, 127)).max(axis=0)
    assert np.all(error <= bound + 1e-3), (error, bound, found)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([5, 20, 80]), st.sampled_from([0.0, 0.6, 1.2]))
def test_a_trained_layers_outputs_are_within_one_step(seed, depth, residual):
    rng = np.random.default_rng(seed)
    weight = rng.integers(-127, 128, (16, depth))
    real = rng.uniform(40, 120, 16) / (np.sqrt((weight**2).sum(1) + 1.0) * 74)
    x, r = rng.integers(-128, 128, (60, depth)), rng.integers(-128, 128, (60, 16))
    ours, exact, found = requantized(weight, real, -128, rng.uniform(-60, 60, 16), -30, residual, x, r)
    assert found.left_shift == 0
    assert np.abs(ours - np.clip(np.rint(exact), -128, 127)).max() <= 1


def test_the_high_word_rounds_ties_up():
    acc, multiplier = np.array([1, -1, 3, -3, 2**31 - 1, -(2**31)]), np.array([2**31 - 1] * 6)
    assert rounded_high_word(acc, multiplier).tolist() == [0, 0, 1, -1, 2**30 - 1, -(2**30) + 1]
    half = np.array([2**30], np.int64)
    assert rounded_high_word(half, np.array([2])).tolist() == [1]
    assert rounded_high_word(-half, np.array([2])).tolist() == [0]


def test_scales_that_no_accumulator_holds_are_refused():
    with pytest.raises(RequantRangeError):
        choose_requant(np.array([np.nan]), np.zeros(1), np.zeros(1), np.array([-9]), np.array([9]))
    with pytest.raises(RequantRangeError):
        choose_requant(np.array([900.0]), np.zeros(1), np.zeros(1), np.array([-(2**27)]), np.array([2**27]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.01, 1.9), min_size=1, max_size=2), st.floats(-300, 300), st.integers(0, 2**32 - 1))
def test_sums_are_within_one_step(ratios, offset, seed):
    values = np.random.default_rng(seed).integers(-128, 128, (len(ratios), 5, 5, 3))
    attrs = choose_sum(tuple(ratios), offset) | {"clamp_min": -128, "clamp_max": 127}
    ours = weighted_sum(Op("add", "sum", (), "y", attrs), *(value.astype(np.int8) for value in values))
    exact = sum(r * v for r, v in zip(ratios, values, strict=True)) + offset
    assert np.abs(ours - np.clip(exact, -128, 127)).max() <= 0.5 + 0.02


@settings(max_examples=60, deadline=None)
@given(st.floats(0.05, 3.0), st.integers(1, 4), st.integers(-128, 127), st.integers(0, 2**32 - 1))
def test_averages_are_within_one_step(ratio, size, zero, seed):
    x = np.random.default_rng(seed).integers(-128, 128, (6, 6, 2)).astype(np.int8)
    counts = np.full((7 - size, 7 - size), size * size)
    multiplier, attrs = choose_average(ratio, counts, zero, size * size)
    attrs |= {"kernel": (size, size), "stride": (1, 1), "pad": (0, 0, 0, 0), "zero_point": zero, "out_zero_point": 3}
    op = Op("avg_pool2d", "pool", (), "y", attrs | {"clamp_min": -128, "clamp_max": 127}, {"multiplier": multiplier})
    ours = avg_pool2d(op, x)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64), (size, size), (0, 1))
    exact = ratio * (windows - zero).sum((3, 4)) / (size * size) + 3
    assert np.abs(ours - np.clip(exact, -128, 127)).max() <= 0.5 + 0.05


def test_each_target_family_has_its_rule():
    assert rule_of("baremetal") is M
    assert rule_of("linux") is rule_of("host") is A64
    assert set(RULES) == {"a64-q15", "m-q31"}
