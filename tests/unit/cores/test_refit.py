"""The refit of a board to runs whose true parameters are known."""

from __future__ import annotations

import random
from dataclasses import astuple, replace

import pytest

from shufflec.errors import OptionError
from shufflec.timing.board_time import TimeParameters
from shufflec.timing.refit import Reading, kept_back_errors, ninetieth, ratio_errors, refit

START = TimeParameters(0.91, 22.2, 3.6)
TRUE = TimeParameters(1.09, 40.0, 9.0)
# Shares of core, store misses and DRAM lines in the time of whole networks and single layers, as the Pi 4 has them.
SHARES = [
    (0.80, 0.17, 0.03), (0.47, 0.27, 0.26), (0.89, 0.08, 0.03), (0.32, 0.48, 0.20), (0.83, 0.17, 0.0),
    (0.50, 0.50, 0.0), (0.27, 0.73, 0.0), (0.94, 0.06, 0.0), (0.58, 0.42, 0.0), (0.98, 0.02, 0.0),
]  # fmt: skip


def readings(true: TimeParameters = TRUE, noise: float = 0.0, seed: int = 3) -> list[Reading]:
    """Two runs of each kind, in four groups; noise: relative."""
    source = random.Random(seed)
    runs = []
    for i, shares in enumerate(SHARES * 2):
        size = source.uniform(0.05, 30)
        parts = [size * share / value for share, value in zip(shares, astuple(START), strict=True)]
        reading = Reading(f"run{i}", f"network{i % 4}", 1.0, *parts)
        measured = reading.estimate_ms(true) * (1 + noise * source.uniform(-1, 1))
        runs.append(replace(reading, milliseconds=measured))
    return runs


def test_a_run_by_hand():
    reading = Reading("x", "g", 2.0, core_ms=1.0, store_ms=0.01, dram_ms=0.02)
    assert reading.estimate_ms(TimeParameters(1.5, 20.0, 10.0)) == pytest.approx(1.9)
    assert reading.error(TimeParameters(1.5, 20.0, 10.0)) == pytest.approx(-0.05)


def test_true_parameters_are_found():
    found = refit(readings(), START)
    assert astuple(found.parameters) == pytest.approx(astuple(TRUE), rel=0.01)
    assert found.undetermined == ()


@pytest.mark.parametrize("seed", range(8))
def test_noise_moves_them_little(seed):
    found = refit(readings(noise=0.03, seed=seed), START).parameters
    assert found.scale == pytest.approx(TRUE.scale, rel=0.02)
    assert found.store_miss_ns == pytest.approx(TRUE.store_miss_ns, rel=0.06)
    assert found.dram_line_ns == pytest.approx(TRUE.dram_line_ns, rel=0.25)


def test_one_run_that_was_disturbed_does_not_decide():
    runs = readings()
    runs[3] = replace(runs[3], milliseconds=3 * runs[3].milliseconds)
    assert astuple(refit(runs, START).parameters) == pytest.approx(astuple(TRUE), rel=0.03)


def test_what_no_run_depends_on_stays_as_it_was():
    runs = [replace(run, dram_ms=0.0) for run in readings()]
    runs = [replace(run, milliseconds=run.estimate_ms(TRUE)) for run in runs]
    found = refit(runs, START)
    assert found.undetermined == ("dram_line_ns",)
    assert found.parameters.dram_line_ns == pytest.approx(START.dram_line_ns)
    assert found.parameters.store_miss_ns == pytest.approx(TRUE.store_miss_ns, rel=0.01)


def test_runs_of_one_kind_keep_the_mixture():
    """They say how long it all takes, not what of it is memory: scale and memory grow together."""
    parts = {"core_ms": 10.0, "store_ms": 0.1, "dram_ms": 0.5}
    run = Reading("x", "g", 1.0, **parts)
    runs = [replace(run, name=str(i), milliseconds=1.5 * run.estimate_ms(START)) for i in range(6)]
    found = refit(runs, START)
    assert runs[0].error(found.parameters) == pytest.approx(0, abs=0.02)
    assert found.undetermined


def test_parameters_stay_positive():
    runs = [replace(run, milliseconds=0.8 * run.core_ms) for run in readings()]
    assert min(astuple(refit(runs, START).parameters)) > 0


def test_a_parameter_that_starts_at_zero_can_rise():
    found = refit(readings(), replace(START, dram_line_ns=0.0))
    assert found.parameters.dram_line_ns > 0


def test_a_single_run_scales_what_was_known():
    run = readings()[0]
    found = refit([run], START).parameters
    assert abs(run.error(found)) < abs(run.error(START)) / 5


def test_errors_of_networks_never_seen_are_about_the_noise():
    errors = kept_back_errors(readings(noise=0.03), START)
    assert len(errors) == 20
    assert 0.005 < ninetieth(list(errors.values())) < 0.06
    assert ninetieth(list(kept_back_errors(readings(), START).values())) < 0.01


def test_a_network_that_the_model_misses_is_seen():
    runs = [replace(run, milliseconds=run.milliseconds * (1.4 if run.group == "network2" else 1)) for run in readings()]
    errors = kept_back_errors(runs, START)
    assert all(errors[run.name] == pytest.approx(1 / 1.4 - 1, abs=0.02) for run in runs if run.group == "network2")


def test_what_only_one_network_knows_is_not_told_to_its_own_estimate():
    def parts(run: Reading) -> Reading:
        without = run if run.group == "network1" else replace(run, dram_ms=0.0)
        return replace(without, milliseconds=without.estimate_ms(TRUE))

    runs = [parts(run) for run in readings()]
    stream = next(run for run in runs if run.name == "run1")  # a quarter of it is DRAM lines
    assert abs(stream.error(refit(runs, START).parameters)) < 0.01
    assert kept_back_errors(runs, START)["run1"] < -0.1


def test_ninetieth_and_ratios_by_hand():
    assert ninetieth([i / 100 * (-1) ** i for i in range(1, 11)]) == pytest.approx(0.09)
    assert sorted(ratio_errors([0.0, 0.25])) == pytest.approx([-0.2, 0.25])


@pytest.mark.parametrize("milliseconds", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_times_are_refused(milliseconds):
    runs = readings()
    with pytest.raises(OptionError, match="run0"):
        refit([replace(runs[0], milliseconds=milliseconds), *runs[1:]], START)
    with pytest.raises(OptionError):
        refit([], START)
