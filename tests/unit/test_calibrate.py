"""Calibrating a made-up board: its parameters are found, and times that cannot be are refused."""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import astuple, replace
from types import SimpleNamespace

import numpy as np
import pytest

from shufflec.errors import DeviceError, OptionError
from shufflec.profiling import calibrate_measure
from shufflec.profiling.calibrate import calibrate, parameters_of, starting_target
from shufflec.profiling.calibrate_measure import Timings
from shufflec.profiling.calibrate_progress import kept_timings
from shufflec.profiling.calibrate_set import Network, Workload
from shufflec.targets.target import load_target
from shufflec.timing.board_time import TimeParameters
from shufflec.timing.estimate import Estimate

RASP4 = load_target("rasp4")
TRUE = TimeParameters(1.05, 35.0, 8.0)
# Cycles, L1 store misses and DRAM lines of the runs, as of networks and layers on the Pi 4.
COUNTS = [
    (1.2e5, 300, 200), (1.5e7, 90_000, 40_000), (8e5, 11_000, 60_000), (2.5e6, 20_000, 1_000),
    (3e5, 9_000, 35_000), (4e5, 14_000, 0), (2e5, 10_000, 10), (9e5, 2_000, 300),
]  # fmt: skip


def networks() -> list[Network]:
    """Four, each with a whole and a layer."""
    made = []
    for i in range(4):
        name = f"net{i}"
        workloads = (Workload(f"{name}, whole", name, None), Workload(f"{name}, conv", name, 0))
        bundle = SimpleNamespace(number=i, graph=lambda: None, layers=(), preprocessing=SimpleNamespace())
        made.append(Network(name, bundle, workloads))
    return made


class FakeSession:
    """A board with these parameters. change: what it makes of the milliseconds of a run by its name."""

    def __init__(self, kind, parameters, overlap=0.0, change=lambda name, ms: ms):
        self.kind, self.address = kind, "pi:9090"
        self.parameters, self.overlap, self.change = parameters, overlap, change
        self.estimate = None
        self.timed: list[str] = []

    def last_region(self):
        return SimpleNamespace(estimate=self.estimate)

    def parts(self, counts) -> Estimate:
        """What the longer side hides of the shorter, by `overlap`."""
        cycles, stores, lines = counts
        core = self.parameters.scale * cycles / RASP4.clock_hz * 1e9
        memory = [self.parameters.store_miss_ns * stores, self.parameters.dram_line_ns * lines]
        shown = 1 - self.overlap
        if core >= sum(memory):
            return Estimate(core, 0.0, shown * memory[0], shown * memory[1], 0, stores, lines)
        return Estimate(shown * core, 0.0, *memory, 0, stores, lines)


class FakeNetwork:
    """Stands for RemoteNetwork."""

    def __init__(self, bundle, session):
        self.number, self.session = bundle.number, session

    def set_input(self, x):
        pass

    def time_nothing(self, min_ms):
        self.session.estimate = Estimate(0.0, 0.0, 0.0, 0.0, 0, 0, 0)
        return 0.0

    def time_whole(self, x, min_ms):
        return self._time("whole", 2 * self.number)

    def time_layer(self, index, min_ms):
        return self._time("conv", 2 * self.number + 1)

    def _time(self, what, number):
        name = f"net{self.number}, {what}"
        self.session.estimate = estimate = self.session.parts(COUNTS[number])
        self.session.timed.append(name)
        total = estimate.compute_ns + estimate.store_miss_ns + estimate.dram_ns
        return self.session.change(name, 1e-6 * total)


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    monkeypatch.setattr(calibrate_measure, "RemoteNetwork", FakeNetwork)
    monkeypatch.setattr(calibrate_measure, "seeded_inputs", lambda preprocessing, count: [np.zeros(1)])
    monkeypatch.setattr(calibrate_measure, "verify", lambda *arguments: None)


def run(board, timings=None, target=RASP4, overlap=0.0):
    @contextmanager
    def open_board():
        yield board

    @contextmanager
    def open_virtual(virtual):
        yield FakeSession("simulated", parameters_of(virtual.time), overlap)

    return calibrate(target, networks(), open_board, open_virtual, timings or Timings())


def test_the_boards_parameters_are_found():
    found = run(FakeSession("measured", TRUE))
    assert astuple(found.parameters) == pytest.approx(astuple(TRUE), rel=0.01)
    assert found.before == parameters_of(RASP4.time)
    assert (found.target.time.uncertainty_percent, found.target.time.pair_percent) == (5, 5)
    assert found.target.time.fitted_clock_hz == RASP4.clock_hz
    assert found.kind == "measured" and found.address == "pi:9090"


def test_a_board_of_another_clock_shows_in_its_scale():
    found = run(FakeSession("measured", replace(parameters_of(RASP4.time), scale=0.91 * 1.8 / 1.5)))
    assert found.other_clock == pytest.approx(1.5e9, rel=0.01)
    assert run(FakeSession("measured", parameters_of(RASP4.time))).other_clock is None


@pytest.mark.parametrize("seed", range(4))
def test_noise_moves_them_little_and_widens_the_ranges(seed):
    source = random.Random(seed)
    factors = {
        name: 1 + 0.03 * source.uniform(-1, 1) for name in (f"net{i}, {w}" for i in range(4) for w in ("whole", "conv"))
    }
    found = run(FakeSession("measured", TRUE, change=lambda name, ms: ms * factors[name]))
    assert found.parameters.scale == pytest.approx(TRUE.scale, rel=0.05)
    assert found.parameters.store_miss_ns == pytest.approx(TRUE.store_miss_ns, rel=0.15)
    assert found.parameters.dram_line_ns == pytest.approx(TRUE.dram_line_ns, rel=0.25)
    worst = max(abs(error) for error in found.kept_back.values())
    assert found.target.time.uncertainty_percent >= min(5, 100 * worst)


def test_where_memory_hides_behind_the_core_the_parts_are_taken_again():
    rasp5 = replace(load_target("rasp5"), clock_hz=RASP4.clock_hz)
    true = TimeParameters(0.9, 12.0, 20.0)
    found = run(FakeSession("measured", true, overlap=0.8), target=rasp5, overlap=0.8)
    board = FakeSession("measured", true, overlap=0.8)
    for reading, counts in zip(found.readings, COUNTS, strict=True):
        parts = board.parts(counts)
        assert reading.estimate_ms(found.parameters) == pytest.approx(
            1e-6 * (parts.compute_ns + parts.store_miss_ns + parts.dram_ns), rel=0.03
        )


@pytest.mark.parametrize("milliseconds", [0.0, -1.0, float("nan"), float("inf")])
def test_times_that_cannot_be_are_refused(milliseconds):
    timings = Timings()
    change = lambda name, ms: milliseconds if name == "net2, whole" else ms  # noqa: E731
    with pytest.raises(DeviceError, match=r"pi:9090: net2, whole took .* ms, which cannot be"):
        run(FakeSession("measured", TRUE, change=change), timings)
    assert list(timings.milliseconds) == ["net0, whole", "net0, conv", "net1, whole", "net1, conv"]


def test_repeats_that_do_not_agree_are_refused():
    source = random.Random(1)
    with pytest.raises(DeviceError, match=r"net0, whole took .* in 5 repeats, which do not agree"):
        run(FakeSession("measured", TRUE, change=lambda name, ms: ms * 10 ** source.uniform(-1, 1)))


def test_one_repeat_that_was_disturbed_does_not_matter():
    calls = {"count": 0}

    def change(name, ms):
        calls["count"] += 1
        return 50 * ms if calls["count"] % 5 == 0 else ms

    assert astuple(run(FakeSession("measured", TRUE, change=change)).parameters) == pytest.approx(
        astuple(TRUE), rel=0.01
    )


def test_repeats_that_agree_after_a_while_are_taken():
    calls = []

    def change(name, ms):
        calls.append(name)
        return ms * len(calls) if len(calls) <= 5 else ms

    assert astuple(run(FakeSession("measured", TRUE, change=change)).parameters) == pytest.approx(
        astuple(TRUE), rel=0.01
    )
    assert calls.count("net0, whole") == 10


@pytest.mark.parametrize("factor", [100, 0.01])
def test_a_time_far_from_all_others_is_refused_and_taken_again(factor):
    timings = Timings()
    change = lambda name, ms: factor * ms if name == "net1, conv" else ms  # noqa: E731
    with pytest.raises(DeviceError, match=r"net1, conv took .* ms where the other runs let expect"):
        run(FakeSession("measured", TRUE, change=change), timings)
    board = FakeSession("measured", TRUE)
    assert astuple(run(board, timings).parameters) == pytest.approx(astuple(TRUE), rel=0.01)
    assert set(board.timed) == {"net1, conv"}


def test_a_board_that_dies_is_one_error_and_the_next_run_goes_on(tmp_path):
    path = tmp_path / "timings.json"

    def die(name, ms):
        if name == "net2, conv":
            raise DeviceError("pi:9090: could not measure: the connection was lost")
        return ms

    with pytest.raises(DeviceError, match="the connection was lost"):
        run(FakeSession("measured", TRUE, change=die), kept_timings(path, networks()))
    kept = kept_timings(path, networks())
    assert len(kept.milliseconds) == 5
    board = FakeSession("measured", TRUE)
    assert astuple(run(board, kept).parameters) == pytest.approx(astuple(TRUE), rel=0.01)
    assert set(board.timed) == {"net2, conv", "net3, whole", "net3, conv"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"net0, whole": NaN}',
        '{"net0, whole": -1.0}',
        '{"other": 1.0}',
        '{"net0, whole": "1"}',
        "[" * 9999,
    ],
)
def test_a_damaged_file_of_timings_holds_nothing(tmp_path, text):
    path = tmp_path / "timings.json"
    path.write_text(text)
    assert kept_timings(path, networks()).milliseconds == {}


def test_a_board_file_without_time_starts_from_a_shipped_board_with_its_core():
    bare = replace(RASP4, name="mine", time=None)
    start = starting_target(bare)
    assert parameters_of(start.time) == parameters_of(RASP4.time)
    assert start.time.uncertainty_percent == 35
    assert astuple(run(FakeSession("measured", TRUE), target=start).parameters) == pytest.approx(
        astuple(TRUE), rel=0.01
    )


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (replace(RASP4, core="cortex-a55"), "its core cortex-a55 has no model"),
        (load_target("host"), "has no model"),
        (replace(RASP4, caches={}), "has no caches.l1d"),
    ],
)
def test_what_no_time_can_be_estimated_for_is_refused(target, words):
    with pytest.raises(OptionError, match=words):
        starting_target(target)
