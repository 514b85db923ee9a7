"""Ceilings, bounds and floors on numbers that can be reasoned by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from shufflec.profiling import ceilings as ceilings_module
from shufflec.profiling.ceilings import Ceiling, Ceilings, board_ceilings
from shufflec.profiling.profile import Figure, Profile
from shufflec.profiling.roofline import fetched_bytes, layer_roofline, roofline
from shufflec.targets.target import TimeModel, load_target
from shufflec.timing.cores.core import load_core
from shufflec.timing.estimate import Estimate

RASP4 = load_target("rasp4")
# A MAC takes 1 ns, a byte from L2 0.5 ns, a byte from DRAM 2 ns; lines of 64 bytes.
BOARD = Ceilings(Ceiling(1e9, "a"), Ceiling(2e9, "b"), Ceiling(0.5e9, "c"), 64, 1000, True, True)


def board(monkeypatch, refill_cycles: float, **time: float):
    """Raspberry Pi 4 at 1 GHz with other figures."""
    core = replace(load_core("cortex-a72"), refill_cycles=refill_cycles)
    monkeypatch.setattr(ceilings_module, "load_core", lambda name: core)
    model = TimeModel(**({"scale": 1.0, "store_miss_ns": 16.0, "dram_line_ns": 4.0, "uncertainty_percent": 10} | time))
    return replace(RASP4, clock_hz=1_000_000_000, time=model)


def test_the_ceilings_come_from_the_targets_figures(monkeypatch):
    found = board_ceilings(board(monkeypatch, 8, scale=0.5), 1)
    assert found.compute.per_second == 8e9  # 8 a cycle
    assert found.l2.per_second == 64e9 / 4  # 8 cycles x 0.5 a line
    assert found.dram.per_second == 64e9 / 4
    assert "8 MACs a cycle at 1 GHz: one 128-bit SMULL" in found.compute.source
    assert "64-byte lines at 4 ns a load that misses L1D (8 cycles, core model)" in found.l2.source
    assert "at 4 ns each (fitted)" in found.dram.source
    assert found.cache_bytes == 32768 + 1048576
    assert (found.loads_counted, found.stores_counted) == (True, True)


def test_where_load_misses_are_free_stores_make_the_ceiling(monkeypatch):
    found = board_ceilings(board(monkeypatch, 0), 1)
    assert found.l2.per_second == 64e9 / 16
    assert "load misses cost nothing in the model, so only stores count" in found.l2.source
    assert (found.loads_counted, found.stores_counted) == (False, True)
    nothing = board_ceilings(board(monkeypatch, 0, store_miss_ns=0.0, dram_line_ns=0.0), 1)
    assert (nothing.l2, nothing.dram) == (None, None)


def test_lines_that_the_core_does_not_wait_for_are_no_ceiling():
    # 1000 lines take the memory 128 us, but the core waited 20 us for those that it read.
    estimate = Estimate(5_000.0, 0.0, 0.0, 20_000.0, 0, 0, 1000)
    waiting, posting = BOARD, replace(BOARD, writes_counted=False)
    assert layer_roofline(waiting, 1, 0, 0.2, estimate).bound_share == pytest.approx(0.64)
    found = layer_roofline(posting, 1, 0, 0.025, estimate)
    assert (found.bound, found.bound_share) == ("DRAM", pytest.approx(0.8))


def test_the_l2_ceiling_is_that_of_the_cheaper_miss(monkeypatch):
    assert board_ceilings(board(monkeypatch, 8, store_miss_ns=2.0), 1).l2.per_second == 64e9 / 2


def test_threads_multiply_and_refill_side_by_side(monkeypatch):
    one, four, more = (board_ceilings(board(monkeypatch, 8), threads) for threads in (1, 4, 99))
    assert four.compute.per_second == 4 * one.compute.per_second
    assert four.l2.per_second == 4 * one.l2.per_second
    assert four.dram.per_second == 4 * one.dram.per_second
    assert more == four  # the board has four cores
    stores = [board_ceilings(board(monkeypatch, 0), threads).l2.per_second for threads in (1, 4)]
    assert stores == [64e9 / 16, 4 * 64e9 / 16]


@pytest.mark.parametrize(
    ("shared", "nanoseconds", "words"),
    [
        (2.0, 2.0, "lines of 4 cores at 2 ns (fitted)"),
        (20.0, 4.0, "at 4 ns each (fitted); 4 cores side by side: 20 ns"),
    ],
)
def test_cores_share_the_memory_and_one_alone_may_be_the_faster(monkeypatch, shared, nanoseconds, words):
    target = board(monkeypatch, 8, shared_line_ns=shared)
    assert board_ceilings(target, 1).dram.per_second == 64e9 / 4
    four = board_ceilings(target, 4).dram
    assert four.per_second == 64e9 / nanoseconds
    assert four.source.endswith(words)


def test_no_time_model_or_no_core_model_means_no_ceilings():
    assert board_ceilings(load_target("aarch64"), 1) is None
    assert board_ceilings(replace(RASP4, core="cortex-a55"), 1) is None


def estimate(loads=0, stores=0, lines=0) -> Estimate:
    return Estimate(0, 0, 0, 0, loads, stores, lines)


@pytest.mark.parametrize(
    ("macs", "parts", "bound", "share"),
    [
        (1000, estimate(), "compute", 1000 / 4000),
        (1000, estimate(loads=20, stores=20), "L2", 40 * 64 * 0.5 / 4000),
        (1000, estimate(20, 10, 9), "DRAM", 9 * 64 * 2 / 4000),
        (1000, estimate(20, 10, 7), "compute", 1000 / 4000),
        (0, estimate(loads=1), "L2", 32 / 4000),
        (0, estimate(), None, None),
    ],
)
def test_the_nearest_ceiling_bounds_a_layer(macs, parts, bound, share):
    roof = layer_roofline(BOARD, macs, 0, 0.004, parts)
    assert roof.bound == bound
    assert roof.bound_share == (None if share is None else pytest.approx(share, rel=1e-5))
    assert roof.floor_ms == macs * 1e-6


def test_intensity_is_macs_a_byte_moved():
    roof = layer_roofline(BOARD, 6400, 0, 1.0, estimate(30, 20, 4))
    assert (roof.l2_intensity, roof.dram_intensity) == (2.0, 25.0)
    free_loads = replace(BOARD, loads_counted=False)
    assert layer_roofline(free_loads, 6400, 0, 1.0, estimate(30, 20, 0)).l2_intensity == 5.0
    assert layer_roofline(BOARD, 6400, 0, 1.0, estimate()).l2_intensity is None
    nothing = layer_roofline(replace(BOARD, l2=None, dram=None), 6400, 0, 1.0, estimate(1, 1, 1))
    assert (nothing.bound, nothing.l2_intensity, nothing.dram_intensity) == ("compute", None, None)


def test_the_floor_is_the_larger_of_multiplies_and_fetched_bytes():
    assert layer_roofline(BOARD, 1000, 400, 1.0, None).floor_ms == 1000e-6
    assert layer_roofline(BOARD, 1000, 600, 1.0, None).floor_ms == 1200e-6
    assert layer_roofline(replace(BOARD, dram=None), 1000, 600, 1.0, None).floor_ms == 1000e-6


def test_a_measured_time_has_a_floor_and_no_bound():
    roof = layer_roofline(BOARD, 1000, 0, 1.0, None)
    assert (roof.bound, roof.bound_share, roof.l2_intensity, roof.dram_intensity) == (None, None, None, None)


def bundle(weights=(0, 500), image=(1, 3, 2, 2), arena=100, code=50, macs=(0, 2000)):
    layers = tuple(SimpleNamespace(macs=m, weight_bytes=w) for m, w in zip(macs, weights, strict=True))
    contents = SimpleNamespace(
        layers=layers,
        input_shape=image,
        weight_bytes=sum(weights),
        memory=SimpleNamespace(arena_bytes=arena),
        code_bytes=code,
    )
    return SimpleNamespace(target=RASP4, layers=layers, manifest=SimpleNamespace(contents=contents))


def test_what_is_read_once_must_be_fetched_where_the_caches_are_too_small():
    # 500 of weights, 48 of input, 100 of activations, 50 of code
    assert fetched_bytes(bundle(), 698) == [0, 0]
    assert fetched_bytes(bundle(), 697) == [48, 500]


def test_floors_add_up_over_the_layers():
    layers = (Figure(1.0, None), Figure(2.0, None))
    profile = Profile("measured", "pi:1", 1, 1, 1, Figure(3.0, None), layers)
    big = bundle(weights=(0, 2_000_000), macs=(0, 1000))
    roof = roofline(big, profile)
    line_ns = RASP4.time.dram_line_ns
    assert roof.dram_bytes == 2_000_048
    assert roof.dram_ms == pytest.approx(2_000_048 / 64 * line_ns * 1e-6, abs=1e-9)
    assert [one.floor_ms for one in roof.layers] == pytest.approx(
        [48 / 64 * line_ns * 1e-6, 2_000_000 / 64 * line_ns * 1e-6], abs=1e-9
    )
    assert roof.floor_ms == pytest.approx(roof.dram_ms, abs=2e-9)  # far more than a thousand multiplies
    small = roofline(bundle(), profile)
    assert (small.dram_bytes, small.dram_ms) == (0, 0.0)
    assert small.floor_ms == small.compute_ms == pytest.approx(2000 / (8 * 1.8e9) * 1e3, abs=1e-9)
