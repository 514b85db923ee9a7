"""What a core waited for: one vocabulary for all core models, and shares that add up."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest

from shufflec.targets.target import TimeModel
from shufflec.timing.clock_protocol import BlockRun
from shufflec.timing.cores.core import core_names, load_core
from shufflec.timing.cores.model import BlockEstimate, block_cycles
from shufflec.timing.estimate import Estimate, estimate_from_dict
from shufflec.timing.region_time import Board, region_time
from shufflec.timing.waits import NAMES, PORT_UNITS, Waits, by_unit, share_out

BOARD = Board(1e9, TimeModel(2.0, 30.0, 10.0, 10.0), refill_cycles=5, overlap=0.0)  # a cycle takes 2 ns
FMLA_CHAIN = b"\x20\xcc\x22\x4e" * 8  # fmla v0.4s, v1.4s, v2.4s: each needs the one before it
NOP_ROW = b"\x1f\x20\x03\xd5" * 8


@pytest.mark.parametrize("core", core_names())
def test_every_port_of_every_core_has_a_name_that_all_cores_share(core):
    assert {PORT_UNITS[port] for port in load_core(core).ports} <= set(NAMES)


@pytest.mark.parametrize("core", core_names())
def test_both_kinds_of_model_say_latency_for_a_chain_and_dispatch_for_independent_work(core):
    chain, row = (by_unit(one.waits) for one in block_cycles(core, [FMLA_CHAIN, NOP_ROW]))
    assert chain["latency"] > 0.6 * sum(chain.values())  # a port is in use while it starts one of the chain
    assert row["dispatch"] == sum(row.values()) > 0


def test_ports_of_one_unit_are_taken_together():
    assert by_unit({"F0": 2.0, "F1": 3.0, "latency": 1.0}) == dict.fromkeys(NAMES, 0.0) | {
        "simd_port": 5.0,
        "latency": 1.0,
    }
    with pytest.raises(KeyError):
        by_unit({"F9": 1.0})


def test_a_regions_waits_add_up_to_its_compute_time():
    a, b = BlockRun(b"aaaa", 100, 3, 0, 0), BlockRun(b"bbbb", 10)
    blocks = {
        a.code: BlockEstimate(10.0, 12.0, {"latency": 4.0, "F0": 5.0, "dispatch": 1.0}, 1, 0),
        b.code: BlockEstimate(8.0, 9.0, {"L": 6.0, "dispatch": 2.0}, 1, 0),
    }
    estimate = region_time(BOARD, [a, b], lambda codes: [blocks[code] for code in codes])
    assert estimate.compute_ns == 2 * (1000 + 80)
    assert estimate.waits == Waits(dispatch=2 * (100 + 20), latency=2 * 400, simd_port=2 * 500, load_port=2 * 60)
    assert sum(astuple(estimate.waits)) == estimate.compute_ns


def test_what_is_hidden_behind_the_memory_is_no_wait():
    board = replace(BOARD, overlap=0.75)
    block = BlockEstimate(10.0, 10.0, {"latency": 10.0}, 1, 0)
    estimate = region_time(board, [BlockRun(b"aaaa", 1, 0, 100, 0)], lambda codes: [block] * len(codes))
    assert estimate.compute_ns == estimate.waits.latency == 0.25 * 20


def test_a_block_without_waits_is_dispatch():
    assert share_out([(3.0, {}), (1.0, {"S": 2.0})]) == Waits(dispatch=3.0, store_port=1.0)
    assert share_out([]) == Waits()


def test_an_overhead_is_taken_off_every_wait():
    one = Estimate(5.0, 0, 0, 0, 0, 0, 0, Waits(dispatch=3.0, latency=2.0))
    call = Estimate(2.0, 0, 0, 0, 0, 0, 0, Waits(dispatch=1.0, latency=0.5, load_port=0.5))
    assert one.without(call).waits == Waits(dispatch=2.0, latency=1.5)


def test_the_servers_answer_is_read_and_that_of_another_version_refused():
    parts = {"compute_ns": 1.0, "load_miss_ns": 0, "store_miss_ns": 0, "dram_ns": 0}
    parts |= {"l1_load_misses": 1, "l1_store_misses": 2, "dram_lines": 3}
    waits = dict.fromkeys(NAMES, 0.0) | {"latency": 1.0}
    assert estimate_from_dict(parts | {"waits": waits}) == Estimate(1.0, 0, 0, 0, 1, 2, 3, Waits(latency=1.0))
    for other in (parts, parts | {"waits": {"new_port": 1.0}}, parts | {"waits": waits, "l2_misses": 1}):
        with pytest.raises(TypeError):
            estimate_from_dict(other)
