"""Intervals and tests over seeds, against figures from a table of Student's t and worked by hand."""

from __future__ import annotations

import math

import pytest

from shufflec.reports.ablation_statistics import holm, mean_of, paired_tests


def test_interval_of_five_values():
    found = mean_of([1.0, 2.0, 3.0, 4.0, 5.0])
    # t of 4 degrees of freedom, 97.5 %: 2.7764; standard error: sqrt(2.5 / 5).
    half = 2.7764 * math.sqrt(0.5)
    assert found.value == 3.0
    assert found.interval == pytest.approx((3 - half, 3 + half), abs=1e-4)
    assert found.half_width == pytest.approx(half, abs=1e-4)


def test_one_value_has_no_interval():
    found = mean_of([2.0])
    assert (found.value, found.interval, found.half_width) == (2.0, None, None)


def test_paired_test_by_hand():
    """Mean 1, standard deviation 1, n 3: t = sqrt(3), and with 2 degrees of freedom p = 1 - t / sqrt(2 + t^2)."""
    (test,) = paired_tests([[0.0, 1.0, 2.0]])
    assert test.p == pytest.approx(1 - math.sqrt(3 / 5))
    assert test.adjusted == test.p
    assert not test.significant
    (clear,) = paired_tests([[0.9, 1.0, 1.1]])
    assert clear.significant


def test_the_sign_does_not_matter_to_p():
    plus, minus = paired_tests([[0.1, 1.0, 2.0]]), paired_tests([[-0.1, -1.0, -2.0]])
    assert plus[0].p == pytest.approx(minus[0].p)


@pytest.mark.parametrize("values", [[1.0], [1.0, 1.0, 1.0], [0.0, 0.0]])
def test_no_spread_proves_nothing(values):
    (test,) = paired_tests([values])
    assert test.p is None and test.adjusted is None and not test.significant


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.02, None, 0.03]) == pytest.approx([0.04, None, 0.04])
    assert holm([]) == []


def test_more_comparisons_need_more():
    """A p of 0.03 stands alone, and does not stand among four."""
    values = [0.1, 1.0, 1.2, 2.1, 0.7]
    (alone,) = paired_tests([values])
    among = paired_tests([values] + [[-1.0, 1.0, 0.5, -0.5, 0.1]] * 3)[0]
    assert 0.0125 < alone.p == among.p < 0.05
    assert alone.significant and not among.significant
