"""Comparisons of made-up profiles: what is matched, what is a difference, and how far it can be trusted."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from compare_example import LAYERS, RASP4, changed, estimated_side, measured_side

from shufflec.errors import OptionError
from shufflec.profiling.compare import compare
from shufflec.targets.target import load_target, with_clock

PAIR, LAYER = RASP4.time.pair_percent / 100, RASP4.time.layer_pair_percent / 100


def only(comparison):
    (change,) = comparison.changes
    return change


def row(comparison, name):
    (found,) = [row for row in comparison.rows if row.name == name]
    return found


def test_networks_that_differ_everywhere_have_the_boards_range_for_pairs():
    other = changed(stem=100, conv1=250, dw=100, fc=50)
    comparison = compare([estimated_side("A"), estimated_side("B", other)])
    change = only(comparison)
    assert change.ratio == pytest.approx(0.5)
    assert (change.low, change.high) == pytest.approx((0.5 / (1 + PAIR), 0.5 * (1 + PAIR)))
    assert change.verdict == "faster"
    assert change.instruction_ratio == pytest.approx(0.5)
    assert "100 % of the time in layers that differ" in comparison.basis[0]


def test_what_is_the_same_code_in_both_does_not_count():
    comparison = compare([estimated_side("A"), estimated_side("B", changed(dw=150))])
    change = only(comparison)
    assert change.ratio == pytest.approx(0.95)
    # 200 of 1000 us in the one layer that differs: a single layer's error on a fifth of the time.
    width = min(PAIR * math.sqrt(0.2), LAYER * 0.2)
    assert change.high == pytest.approx(0.95 * (1 + width))
    assert width < PAIR / 2
    assert change.verdict == "faster"
    assert row(comparison, "conv1").changes[0].verdict == "same code"
    assert row(comparison, "dw").changes[0].high == pytest.approx(0.75 * (1 + LAYER))


def test_the_same_code_whose_caches_differ_is_not_another_speed_of_code():
    slower = estimated_side("B")
    figures = list(slower.profile.layers)
    figures[1] = replace(figures[1], milliseconds=0.51)
    side = replace(slower, rounds=(replace(slower.profile, layers=tuple(figures)),))
    change = row(compare([estimated_side("A"), side]), "conv1").changes[0]
    assert change.verdict == "same code"
    assert change.ratio == pytest.approx(1.02)
    assert 1 < change.low < change.ratio < change.high < 1.03


@pytest.mark.parametrize("field", ["tilings", "kernels", "macs", "output_shape", "weight_bytes"])
def test_code_that_differs_in_anything_is_other_code(field):
    other = estimated_side("B")
    value = {"macs": 7, "weight_bytes": 7, "output_shape": (1, 1, 1)}.get(field, ("other",))
    layers = (replace(other.layers[0], **{field: value}), *other.layers[1:])
    comparison = compare([estimated_side("A"), replace(other, layers=layers)])
    assert row(comparison, "stem").changes[0].verdict == "unsure"
    assert "20 % of the time in layers that differ" in comparison.basis[0]


def test_a_difference_smaller_than_its_range_is_none():
    other = changed(stem=194, conv1=484, dw=194, fc=97)
    assert only(compare([estimated_side("A"), estimated_side("B", other)])).verdict == "unsure"
    assert only(compare([estimated_side("B", other), estimated_side("A")])).verdict == "unsure"


def test_different_boards_err_independently():
    rasp5 = load_target("rasp5")
    comparison = compare([estimated_side("A"), estimated_side("B", target=rasp5)])
    change = only(comparison)
    width = math.hypot(RASP4.time.uncertainty_percent, rasp5.time.uncertainty_percent) / 100
    assert change.high == pytest.approx(1 + width)
    assert comparison.basis == ("different boards: their errors are independent",)
    layer = math.hypot(RASP4.time.layer_pair_percent, rasp5.time.layer_pair_percent) / 100 / math.sqrt(2)
    assert row(comparison, "dw").changes[0].high == pytest.approx(1 + layer)


def test_the_same_board_at_another_clock_is_another_board():
    slower = with_clock(RASP4, "1.5GHz")
    comparison = compare([estimated_side("A"), estimated_side("B", target=slower)])
    assert "different boards" in comparison.basis[0]


def test_a_target_file_with_another_name_and_the_same_figures_is_the_same_board():
    named = replace(RASP4, name="mine", title="Mine")
    comparison = compare([estimated_side("A"), estimated_side("B", changed(dw=100), target=named)])
    assert "the same board" in comparison.basis[0]


def test_without_a_time_model_only_instructions_are_compared():
    comparison = compare([estimated_side("A"), estimated_side("B", changed(dw=100), target=load_target("aarch64"))])
    change = only(comparison)
    assert (change.ratio, change.low, change.high, change.verdict) == (None, None, None, "no time")
    assert change.instruction_ratio == pytest.approx(0.9)
    assert row(comparison, "dw").changes[0].instruction_ratio == pytest.approx(0.5)
    assert "instructions only" in comparison.basis[0]


def test_several_threads_are_wider():
    one, four = (
        only(compare([estimated_side("A", threads=n), estimated_side("B", changed(dw=100), threads=n)])) for n in (1, 4)
    )
    assert four.high > one.high


def test_measured_times_vary_as_the_rounds_did():
    a, b = measured_side("A", (1.0, 1.1, 0.9)), measured_side("B", (0.8, 0.88, 0.75))
    comparison = compare([a, b])
    change = only(comparison)
    # Ratios of the rounds: 0.8, 0.8, 0.8333; what drifts in both cancels.
    assert change.ratio == pytest.approx(0.8)
    assert change.high == pytest.approx(0.8 * (0.75 / 0.9 / 0.8))
    assert change.verdict == "faster"
    assert change.instruction_ratio is None
    assert comparison.basis == ("measured, 3 rounds in turn",)


def test_steady_measurements_still_have_a_range():
    change = only(compare([measured_side("A", (1.0, 1.0, 1.0)), measured_side("B", (0.995, 0.995, 0.995))]))
    assert change.verdict == "unsure"


def test_an_estimate_beside_a_measurement():
    comparison = compare([estimated_side("A"), measured_side("B", (1.0, 1.0, 1.0))])
    assert comparison.basis == ("different boards: their errors are independent",)
    assert only(comparison).high == pytest.approx(1 + math.hypot(0.10, 0.01))


def test_layers_that_only_one_has_stand_where_they_belong():
    extra = (*LAYERS[:2], ("shuffle", "channel_shuffle", "", 50), *LAYERS[2:])
    comparison = compare([estimated_side("A"), estimated_side("B", extra)])
    assert [one.name for one in comparison.rows] == ["stem", "conv1", "shuffle", "dw", "fc"]
    assert row(comparison, "shuffle").indices == (None, 2)
    assert row(comparison, "shuffle").changes == (None,)
    assert only(comparison).verdict in ("slower", "unsure")
    back = compare([estimated_side("B", extra), estimated_side("A")])
    assert row(back, "shuffle").indices == (2, None)


def test_layers_of_one_name_are_told_apart_by_kind_and_order():
    twice = (("x", "conv2d", "", 100), ("x", "conv2d", "", 300), ("x", "dense", "", 50))
    comparison = compare([estimated_side("A", twice), estimated_side("B", twice)])
    assert [(one.kind, one.indices) for one in comparison.rows] == [
        ("conv2d", (0, 0)),
        ("conv2d", (1, 1)),
        ("dense", (2, 2)),
    ]


def test_different_networks_are_compared_as_a_whole_and_it_is_said():
    other = tuple((f"other.{name}", kind, tiling, us) for name, kind, tiling, us in LAYERS)
    side = replace(estimated_side("B", other), input_size=(64, 48))
    comparison = compare([estimated_side("A"), side])
    assert all(None in one.indices for one in comparison.rows)
    assert only(comparison).ratio == pytest.approx(1)
    assert comparison.notes == (
        "A and B take inputs of different sizes, 32x32 and 64x48",
        "A and B have no layer in common: different networks, compared as a whole only",
    )


def test_equal_bundles_are_said_to_hold_the_same_code():
    comparison = compare([estimated_side("A", sha="x"), estimated_side("B", sha="x")])
    assert only(comparison).verdict == "same code"
    assert comparison.notes == ("A and B hold the same code",)


def test_three_sides_are_each_compared_with_the_first():
    comparison = compare([estimated_side("A"), estimated_side("B", changed(dw=100)), estimated_side("C")])
    assert [change.ratio for change in comparison.changes] == pytest.approx([0.9, 1.0])
    assert len(comparison.rows[0].changes) == 2


def test_other_instruction_sets_are_said_to_be():
    comparison = compare([estimated_side("A"), estimated_side("B", target=load_target("cortex-m4"))])
    assert comparison.notes == ("A and B count instructions of different instruction sets, A64 and Thumb",)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_two_to_eight_sides(count):
    with pytest.raises(OptionError, match="expected 2 to 8 bundles"):
        compare([estimated_side("A")] * count)
