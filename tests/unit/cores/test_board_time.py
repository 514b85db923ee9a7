"""Milliseconds from counts, and the fit of a board's parameters to runs whose true parameters are known."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from shufflec.errors import OptionError
from shufflec.timing.board_time import (
    Sample,
    TimeParameters,
    estimate_ms,
    fit,
    leave_family_out,
    summarize,
)
from shufflec.timing.cores.core import Core, load_core

CORE = load_core("cortex-a72")
CLOCK = 1.5e9
TRUE = TimeParameters(scale=1.05, store_miss_ns=20.0, dram_line_ns=6.0)


def samples(count: int = 18, noise: float = 0.0, core: Core = CORE) -> list[Sample]:
    """Runs of a board with the parameters TRUE, three to a family; noise: relative."""
    source = random.Random(7)
    runs = []
    for i in range(count):
        cycles = [source.uniform(1e7, 1e9) for _ in range(5)]
        counts = np.array([[one, *(one * source.uniform(0.0, 0.05) for _ in range(4)), 0] for one in cycles])
        counts[:, 5] = source.uniform(0.0, 1.0) * counts[:, 3]
        measured = estimate_ms(core, CLOCK, counts, TRUE) * (1 + noise * source.uniform(-1, 1))
        runs.append(Sample(f"net{i}", f"family{i // 3}", measured, counts))
    return runs


def test_milliseconds_by_hand():
    counts = np.array([[1.5e6, 0, 1000, 1500, 500, 0]])
    # 1.5e6 cycles at 1.5 GHz are 1 ms; 1000 x 20 ns are 0.02 ms; (1500 + 500) x 6 ns are 0.012 ms.
    assert estimate_ms(CORE, CLOCK, counts, TRUE) == pytest.approx(1.05 + 0.02 + 0.012)


def test_load_misses_cost_the_refill_of_the_core():
    counts = np.array([[0, 1_500_000, 0, 0, 0, 0]])
    assert estimate_ms(CORE, CLOCK, counts, TRUE) == pytest.approx(1.05 * CORE.refill_cycles)


def test_fit_finds_the_true_parameters():
    found = fit(CORE, CLOCK, samples())
    assert (found.scale, found.store_miss_ns, found.dram_line_ns) == pytest.approx((1.05, 20.0, 6.0), rel=1e-6)


def test_fit_finds_the_true_parameters_of_a_core_that_overlaps():
    core = replace(CORE, overlap=0.8)
    found = fit(core, CLOCK, samples(core=core))
    assert (found.scale, found.store_miss_ns, found.dram_line_ns) == pytest.approx((1.05, 20.0, 6.0), rel=1e-3)


def test_overlap_hides_a_share_of_the_shorter_time_in_each_block():
    core = replace(CORE, overlap=0.5, refill_cycles=0)
    unit = TimeParameters(1.0, 1.0, 1.0)
    # 1.5e6 cycles are 1 ms, 4e5 lines 0.4 ms: half of the 0.4 is hidden in the first block, of the 1 in the second.
    first, second = [1.5e6, 0, 0, 3e5, 1e5, 0], [1.5e6, 0, 2e6, 0, 0, 0]
    assert estimate_ms(core, CLOCK, np.array([first]), unit) == pytest.approx(1.2)
    assert estimate_ms(core, CLOCK, np.array([first, second]), unit) == pytest.approx(3.7)


def test_a_core_that_does_not_wait_for_writes_and_follows_few_streams():
    core = replace(CORE, write_lines=0.0, stream_line_ns=50.0, overlap=0.5)
    # 1 ms of cycles, 1000 fills at 6 ns and 400 of them 50 ns longer: 0.026 ms, half of it hidden; writes cost nothing.
    counts = np.array([[1.5e6 / 1.05, 0, 0, 1000, 7000, 400]])
    assert estimate_ms(core, CLOCK, counts, TRUE) == pytest.approx(1 + 0.5 * 0.026)


def test_fit_finds_the_true_parameters_of_a_core_that_follows_few_streams():
    core = replace(CORE, write_lines=0.5, stream_line_ns=50.0)
    found = fit(core, CLOCK, samples(core=core))
    assert (found.scale, found.store_miss_ns, found.dram_line_ns) == pytest.approx((1.05, 20.0, 6.0), rel=1e-6)


def test_fit_withstands_one_wrong_measurement():
    runs = samples()
    runs[4] = replace(runs[4], milliseconds=runs[4].milliseconds * 2)
    assert fit(CORE, CLOCK, runs).scale == pytest.approx(1.05, rel=0.02)


def test_parameters_are_never_negative():
    runs = [replace(run, milliseconds=run.counts[:, 0].sum() / CLOCK * 800) for run in samples()]
    found = fit(CORE, CLOCK, runs)
    assert min(found.scale, found.store_miss_ns, found.dram_line_ns) >= 0


def test_errors_of_families_never_seen_are_about_the_noise():
    errors = leave_family_out(CORE, CLOCK, samples(noise=0.05))
    assert len(errors) == 18
    summary = summarize(errors)
    assert 0 < summary.median <= summary.ninetieth <= summary.worst < 0.12


def test_a_family_that_differs_is_seen():
    runs = samples()
    runs[0] = replace(runs[0], milliseconds=runs[0].milliseconds * 1.5)
    assert leave_family_out(CORE, CLOCK, runs)["net0"] == pytest.approx(1 / 1.5 - 1, abs=0.02)


def test_summary_by_hand():
    summary = summarize({str(i): i / 100 * (-1) ** i for i in range(1, 11)})
    assert (summary.median, summary.ninetieth, summary.worst) == pytest.approx((0.055, 0.09, 0.10))
    assert summary.count == 10


def test_too_little_to_fit_is_refused():
    with pytest.raises(OptionError, match="3 parameters"):
        fit(CORE, CLOCK, samples()[:2])


@pytest.mark.parametrize("milliseconds", [0.0, -1.0, float("nan")])
def test_impossible_times_are_refused(milliseconds):
    runs = samples()
    with pytest.raises(OptionError, match="net0"):
        fit(CORE, CLOCK, [replace(runs[0], milliseconds=milliseconds), *runs[1:]])


def test_no_errors_to_summarize():
    with pytest.raises(OptionError):
        summarize({})
