"""The rounding rule against exact arithmetic, for layers far outside of what a trained network has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shufflec.ir.graph import Op
from shufflec.ir.numerics import (
    MAX_PRE_SHIFT,
    RequantRangeError,
    choose_average,
    choose_requant,
    choose_sum,
)  # fmt: skip
from shufflec.ir.reference import avg_pool2d, conv2d, weighted_sum


@st.composite
def layers(draw):
    """A 1x1 layer: weights, scales, offsets, inputs, as NumPy arrays."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels, depth = draw(st.integers(1, 12)), draw(st.sampled_from([1, 3, 9, 40, 400]))
    weight = rng.integers(-127, 128, (channels, depth))
    weight[rng.random(weight.shape) < draw(st.sampled_from([0.0, 0.5, 0.99]))] = 0
    if draw(st.booleans()):
        weight[rng.integers(channels)] = 0  # a dead channel
    spread = draw(st.sampled_from([0.0, 1.0, 4.0]))
    center = draw(st.floats(-5.0, 0.5))
    real = 10.0 ** (center + rng.uniform(-spread, spread, channels) / 2)
    zero_in, zero_out = draw(st.integers(-128, 127)), draw(st.integers(-128, 127))
    bias = rng.standard_normal(channels) * draw(st.sampled_from([0.0, 30.0, 3000.0]))
    residual = draw(st.sampled_from([0.0, 0.3, 1.0, 3.0]))
    zero_residual = draw(st.integers(-128, 127))
    x = rng.integers(-128, 128, (40, depth))
    if draw(st.booleans()):
        x = np.clip(rng.normal(zero_in, 9, x.shape), -128, 127).astype(np.int64)
    return weight, real, zero_in, zero_out, bias, residual, zero_residual, x, rng.integers(-128, 128, (40, channels))


def requantized(layer):
    """(ours, exact real-valued result before rounding, parameters) or None when the rule refuses."""
    weight, real, zero_in, zero_out, bias, residual, zero_residual, x, r = layer
    positive, negative = np.maximum(weight, 0).sum(1), np.minimum(weight, 0).sum(1)
    offset = bias + zero_out - residual * zero_residual
    found = choose_requant(
        real,
        offset,
        -zero_in * weight.sum(1),
        127 * negative - 128 * positive,
        127 * positive - 128 * negative,
        residual,
    )
    attrs = {"groups": 1, "stride": (1, 1), "pad": (0, 0, 0, 0), "shift": found.shift, "fraction": found.fraction}
    attrs |= {"clamp_min": -128, "clamp_max": 127, "residual_multiplier": found.residual_multiplier}
    constants = {"weight": weight[:, None, None, :].astype(np.int8), "pad_value": np.zeros(x.shape[1], np.int8)}
    op = Op("conv2d", "layer", (), "y", attrs, constants | found.constants())
    ours = conv2d(op, x[:, None].astype(np.int8), r[:, None].astype(np.int8) if residual else None)[:, 0]
    exact = real * ((x - zero_in) @ weight.T) + bias + zero_out + residual * (r - zero_residual)
    return ours.astype(np.int64), exact, found


@settings(max_examples=60, deadline=None)
@given(layers())
def test_requantization_stays_within_its_bound(layer):
    try:
        ours, exact, found = requantized(layer)
    except RequantRangeError:
        assume(False)
    # Half a step, 2 (3 with a residual) halves of a digit, and the rounding of t: a real accumulator's half step.
    digits = (3 if layer[5] else 2) * 2.0**-found.fraction
    assert np.abs(ours - np.clip(exact, -128, 127)).max() <= 0.5 + digits + 1e-6
    assert np.abs(ours - np.clip(np.rint(exact), -128, 127)).max() <= 1 + (digits > 0.5)


@settings(max_examples=60, deadline=None)
@given(layers())
def test_ordinary_scales_are_never_refused_and_leave_enough_digits(layer):
    assume(layer[1].max() <= 0.25 and layer[5] <= 1.0 and np.abs(layer[4]).max() < 200)
    _, _, found = requantized(layer)
    assert found.fraction >= 4
    assert 1 <= found.shift <= 16
    if found.pre_shift is not None:
        assert found.pre_shift.min() >= 0 and found.pre_shift.max() <= MAX_PRE_SHIFT


def test_a_layer_of_equal_scales_needs_no_pre_shift():
    real, peak = np.full(8, 0.004), np.full(8, 2**17)
    found = choose_requant(real, np.zeros(8), np.zeros(8, np.int64), -peak, peak)
    assert found.pre_shift is None and found.fraction >= 5


def test_one_large_scale_does_not_cost_the_others_their_digits():
    real, peak = np.array([0.003, 0.004, 0.6]), np.full(3, 2**17)
    found = choose_requant(real, np.zeros(3), np.zeros(3, np.int64), -peak, peak)
    assert found.pre_shift is not None and found.fraction >= 6
    assert found.multiplier.min() >= 2**14


@pytest.mark.parametrize("real", [[np.nan], [np.inf], [-0.1], [0.0], [1e12]])
def test_degenerate_scales_are_refused(real):
    peak = np.array([2**17])
    with pytest.raises(RequantRangeError):
        choose_requant(np.array(real), np.zeros(1), np.zeros(1, np.int64), -peak, peak)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.001, 4.0), min_size=1, max_size=2),
    st.integers(-128, 127),
    st.integers(-128, 127),
    st.integers(0, 99),
)
def test_sums_stay_within_their_bound(ratios, zero_in, zero_out, seed):
    offset = zero_out - sum(ratios) * zero_in
    multipliers, bias, fraction = choose_sum(tuple(ratios), offset)
    values = np.random.default_rng(seed).integers(-128, 128, (len(ratios), 5, 5, 3))
    attrs = {"multipliers": multipliers, "bias": bias, "fraction": fraction, "clamp_min": -128, "clamp_max": 127}
    ours = weighted_sum(Op("add", "s", (), "y", attrs), *values.astype(np.int8)).astype(np.int64)
    exact = sum(ratio * value for ratio, value in zip(ratios, values, strict=True)) + offset
    # Each term has a multiplier rounded to 2^-7 of a digit and a product rounded to a digit, and the bias a digit.
    bound = 0.5 + (len(ratios) * 1.0 + 0.5) * 2.0**-fraction
    assert np.abs(ours - np.clip(exact, -128, 127)).max() <= bound + 1e-6


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.05, 4.0),
    st.integers(-128, 127),
    st.integers(-128, 127),
    st.sampled_from([(2, 2), (3, 3), (4, 4)]),
    st.integers(0, 99),
)
def test_averages_stay_within_their_bound(ratio, zero_in, zero_out, kernel, seed):
    x = np.random.default_rng(seed).integers(-128, 128, (9, 9, 4))
    side = (9 - kernel[0]) // 2 + 1
    taps = kernel[0] * kernel[1]
    counts = np.full((side, side), taps)
    multiplier, fraction = choose_average(ratio, counts, zero_in, taps)
    attrs = {
        "kernel": kernel, "stride": (2, 2), "pad": (0, 0, 0, 0), "zero_point": zero_in, "out_zero_point": zero_out,
        "fraction": fraction, "clamp_min": -128, "clamp_max": 127,
    }  # fmt: skip
    ours = avg_pool2d(Op("avg_pool2d", "p", (), "y", attrs, {"multiplier": multiplier}), x.astype(np.int8)).astype(
        np.int64
    )
    sums = sum(
        x[i : i + 2 * side - 1 : 2, j : j + 2 * side - 1 : 2] - zero_in
        for i in range(kernel[0])
        for j in range(kernel[1])
    )
    exact = ratio * sums / taps + zero_out
    relative = 0.5 / multiplier.min()
    bound = 0.5 + 0.5 * 2.0**-fraction + relative * np.abs(exact - zero_out).clip(0, 256).max()
    assert np.abs(ours - np.clip(exact, -128, 127)).max() <= bound + 1e-6


def test_average_over_more_than_sixteen_positions_is_refused():
    with pytest.raises(RequantRangeError, match="at most 16"):
        choose_average(1.0, np.full((1, 1), 25), 0, 25)


def test_the_rule_on_one_accumulator_worked_by_hand():
    # acc = 1000: t = (1000 + 2) >> 2 = 250; u = 250 * 20000 / 2^15 = 152.6 -> 153; + 7 = 160; (160 + 8) >> 4 = 10.
    constants = {
        "weight": np.full((1, 1, 1, 10), 100, np.int8), "pad_value": np.zeros(10, np.int8),
        "multiplier": np.array([20000], np.int16), "bias": np.array([7], np.int16),
        "accumulator_bias": np.array([0], np.int32),
    }  # fmt: skip
    attrs = {
        "groups": 1,
        "stride": (1, 1),
        "pad": (0, 0, 0, 0),
        "shift": 2,
        "fraction": 4,
        "clamp_min": -128,
        "clamp_max": 127,
    }
    x = np.ones((1, 1, 10), np.int8)
    assert conv2d(Op("conv2d", "c", (), "y", attrs, constants), x).item() == 10
    # A pre_shift of 3: acc = 8000; t = 2000; u = 1220.7 -> 1221; + 7 = 1228; (1228 + 8) >> 4 = 77.
    constants["pre_shift"] = np.array([3], np.int8)
    assert conv2d(Op("conv2d", "c", (), "y", attrs, constants), x).item() == 77
