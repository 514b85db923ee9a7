"""How far to trust an estimated time, and the ratio of two."""

import math
from dataclasses import replace

import pytest

from shufflec.profiling.uncertainty import memory_share, time_percent, wider_because
from shufflec.targets.target import load_target, target_names, with_clock
from shufflec.targets.time_model import TimeModel
from shufflec.timing.estimate import Estimate

CLOCK = 1_800_000_000
MODEL = TimeModel(1.0, 20.0, 4.0, 10.0, 11.0, 25.0, CLOCK)


def test_one_thread_at_the_fitted_clock_has_the_boards_own_range():
    assert MODEL.time_percent(CLOCK, 1, 0.3) == 10
    assert MODEL.ratio_percents(CLOCK, 1, 0.3) == (11, 25)


def test_several_threads_are_wider_and_their_errors_independent():
    assert MODEL.time_percent(CLOCK, 4, 0.3) == 25
    pair, layer = MODEL.ratio_percents(CLOCK, 4, 0.3)
    assert pair == layer == pytest.approx(25 * math.sqrt(2))


def test_another_clock_widens_by_what_memory_might_follow():
    # Memory of 40 % that kept its cycles instead of its nanoseconds would take 40 % x (1.8 / 1.5 - 1) = 8 % more.
    assert MODEL.time_percent(1_500_000_000, 1, 0.4) == math.ceil(math.hypot(10, 8))
    assert MODEL.ratio_percents(1_500_000_000, 1, 0.4)[0] == pytest.approx(math.hypot(11, 8))
    assert MODEL.time_percent(1_500_000_000, 1, 0.0) == 10


def test_more_memory_than_any_fitted_network_is_hardly_known():
    assert MODEL.time_percent(CLOCK, 1, 0.54) == 10
    assert MODEL.time_percent(CLOCK, 1, 0.56) == 80
    assert MODEL.time_percent(CLOCK, 4, 0.56) == 25  # their bandwidth is known
    assert MODEL.ratio_percents(CLOCK, 1, 0.56)[0] == pytest.approx(80 * math.sqrt(2))


def test_without_figures_of_pairs_errors_are_independent():
    pair, layer = TimeModel(1.0, 20.0, 4.0, 10.0).ratio_percents(CLOCK, 1, 0.3)
    assert pair == layer == pytest.approx(10 * math.sqrt(2))


def test_another_board_errs_more_and_alike_for_all_networks():
    other = MODEL.of_another_board(10**9)
    assert other.time_percent(10**9, 1, 0.3) == 35
    assert other.ratio_percents(10**9, 1, 0.3) == (13, 25)
    wide = TimeModel(1.0, 20.0, 4.0, 40.0, 20.0, 50.0, CLOCK).of_another_board(10**9)
    assert (wide.uncertainty_percent, wide.pair_percent, wide.layer_pair_percent) == (40, 20, 50)


def test_every_calibrated_board_says_how_far_ratios_can_be_trusted():
    for target in (load_target(name) for name in target_names()):
        if target.time:
            assert target.time.fitted_clock_hz == target.clock_hz, target.name
            assert target.time.uncertainty_percent <= target.time.pair_percent * math.sqrt(2), target.name
            assert target.time.pair_percent < target.time.layer_pair_percent, target.name


def test_the_clock_option_keeps_the_board():
    slower = with_clock(load_target("rasp4"), "1.5GHz")
    assert slower.time.fitted_clock_hz == CLOCK
    assert slower.time.time_percent(slower.clock_hz, 1, 0.4) == 13


def test_what_is_wider_says_why():
    assert MODEL.wider_because(CLOCK, 1, 0.3) == ()
    (clock,) = MODEL.wider_because(1_500_000_000, 1, 0.3)
    (threads,) = MODEL.wider_because(CLOCK, 4, 0.3)
    (memory,) = MODEL.wider_because(CLOCK, 1, 0.6)
    assert "fitted at 1.8 GHz" in clock and "several threads" in threads and "60 % of the time is memory" in memory


def test_another_boards_figures_say_so():
    rasp4 = load_target("rasp4")
    estimate = Estimate(8.0, 0.0, 1.0, 1.0, 0, 0, 0)
    assert wider_because(rasp4, estimate, 1) == ()
    copied = replace(
        rasp4, time=rasp4.time.of_another_board(10**9), clock_hz=10**9, sources={"range": "not fitted here"}
    )
    assert wider_because(copied, estimate, 1) == ("not fitted here",)
    assert time_percent(copied, estimate, 1) == 35
    assert time_percent(replace(rasp4, time=None), estimate, 1) is None
    assert wider_because(replace(rasp4, time=None), estimate, 1) == ()


def test_memory_share_by_hand():
    assert memory_share(Estimate(4.0, 2.0, 1.0, 3.0, 0, 0, 0)) == pytest.approx(0.4)
    assert memory_share(Estimate(0.0, 0.0, 0.0, 0.0, 0, 0, 0)) == 0
