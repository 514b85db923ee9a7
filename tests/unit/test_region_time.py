"""A region's time from made-up blocks, and the protocol that the plugin speaks."""

from __future__ import annotations

import random
import re
import socket
import struct
import threading
from dataclasses import replace

import numpy as np
import pytest

from shufflec.devices.build import NATIVE
from shufflec.errors import OptionError, UnsupportedModelError
from shufflec.targets.target import TimeModel
from shufflec.timing import clock as clock_module
from shufflec.timing import clock_protocol as protocol
from shufflec.timing.board_time import TimeParameters, estimate_ms
from shufflec.timing.clock import Clock, serve
from shufflec.timing.clock_protocol import BlockRun, ProtocolError
from shufflec.timing.cores.core import load_core
from shufflec.timing.cores.model import BlockEstimate
from shufflec.timing.estimate import Estimate
from shufflec.timing.region_time import Board, board_with, region_time
from shufflec.timing.waits import NAMES, Waits

ONE_GHZ = 1e9  # a cycle is a nanosecond
BOARD = Board(ONE_GHZ, TimeModel(2.0, 30.0, 10.0, 10.0), refill_cycles=5, overlap=0.0)
SHARED = replace(BOARD, time=replace(BOARD.time, shared_line_ns=25.0))
A, B, C = b"aaaa", b"bbbbbbbb", b"cccccccccccc"


def cycles(unknown=0, streams=0):
    """Core models' answer: a cycle an instruction, but 10 for block A. unknown: instructions of block A. streams: of
    block B."""

    def look_up(blocks):
        sizes = [len(block) // 4 for block in blocks]
        return [
            BlockEstimate(
                *(10.0 if block == A else size, 20.0, {}, size),
                unknown=unknown if block == A else 0,
                streams=streams if block == B else 1,
            )
            for block, size in zip(blocks, sizes, strict=True)
        ]

    return look_up


def test_time_adds_up_from_cycles_and_misses():
    runs = [BlockRun(A, 100, 7, 3, 4), BlockRun(B, 1000, 0, 1, 0)]
    estimate = region_time(BOARD, runs, cycles())
    waits = Waits(dispatch=6000.0)  # the blocks say of no wait
    assert estimate == Estimate(2.0 * (1000 + 2000), 2.0 * 5 * 7, 30.0 * 4, 10.0 * 4, 7, 4, 4, waits)
    assert estimate.total_ns == 6000 + 70 + 120 + 40


@pytest.mark.parametrize("name", ["cortex-a53", "cortex-a72", "cortex-a76"])
def test_one_thread_is_the_formula_that_boards_are_fitted_with(name):
    core, time = load_core(name), BOARD.time
    runs = [BlockRun(A, 123, 11, 2, 50, 5), BlockRun(B, 3, 0, 9, 9, 4), BlockRun(C, 77, 1, 0, 0)]
    estimate = region_time(board_with(core, 1.8e9, time), runs, cycles(streams=3))
    total = estimate.compute_ns + estimate.load_miss_ns + estimate.store_miss_ns + estimate.dram_ns
    followed = core.prefetch_streams == 0
    counts = np.array([[1230, 11, 2, 50, 5, 0], [6, 0, 9, 9, 4, 0 if followed else 9], [231, 1, 0, 0, 0, 0]], float)
    parameters = TimeParameters(time.scale, time.store_miss_ns, time.dram_line_ns)
    assert total == pytest.approx(1e6 * estimate_ms(core, 1.8e9, counts, parameters), abs=0.01)


def test_overlap_hides_a_share_of_the_shorter_side_block_by_block():
    board = replace(BOARD, overlap=0.75)
    core_bound, memory_bound = BlockRun(A, 100, 10, 2, 4), BlockRun(B, 10, 1, 40, 0)
    estimate = region_time(board, [core_bound, memory_bound], cycles())
    assert estimate.compute_ns == 2000 + 0.25 * 40
    assert estimate.load_miss_ns == 100 + 0.25 * 10
    assert estimate.store_miss_ns == 0.25 * 60 + 1200
    assert estimate.dram_ns == 0.25 * 40


def test_lines_of_more_streams_than_the_prefetcher_follows_take_longer():
    board = replace(BOARD, prefetch_streams=2, stream_line_ns=40.0)
    run = BlockRun(B, 1000, 0, 0, 30, 8)  # 38 lines at 10 ns, of the 30 fills 40 ns longer
    assert region_time(board, [run], cycles(streams=3)).dram_ns == 380 + 1200
    assert region_time(board, [run], cycles(streams=2)).dram_ns == 380
    assert region_time(BOARD, [run], cycles(streams=9)).dram_ns == 380


@pytest.mark.parametrize(("write_lines", "nanoseconds"), [(0.0, 300), (1.0, 380), (2.0, 460)])
def test_a_written_line_costs_what_the_core_says(write_lines, nanoseconds):
    board = replace(SHARED, write_lines=write_lines, shared_write_lines=3.0)
    estimate = region_time(board, [BlockRun(B, 1000, 0, 0, 30, 8)], cycles())
    assert (estimate.dram_ns, estimate.dram_lines) == (nanoseconds, 38)
    four = region_time(board, [BlockRun(B, 100, 0, 0, 30, 8, 1, thread) for thread in range(4)], cycles())
    together = 25 * 4 * (30 + 3 * 8)
    assert four.total_ns == pytest.approx(np.hypot(400 + nanoseconds, together), abs=1e-3)


def test_the_slowest_thread_counts_with_its_own_misses():
    runs = [BlockRun(A, 100, 2, 1, 1, 0, 1, thread) for thread in range(4)]
    four = region_time(BOARD, runs, cycles())
    assert (four.compute_ns, four.load_miss_ns) == (2000, 2 * 5 * 2)
    assert (four.store_miss_ns, four.dram_ns) == (30, 10)
    assert (four.l1_load_misses, four.l1_store_misses, four.dram_lines) == (8, 4, 4)
    slower = [*runs, BlockRun(B, 10, section=1, thread=2)]
    assert region_time(BOARD, slower, cycles()).compute_ns == 2 * (1000 + 20)
    idle = region_time(SHARED, [BlockRun(A, 100, 8, 4, 6, 0, 1, 3)], cycles())
    assert idle == region_time(SHARED, [BlockRun(A, 100, 8, 4, 6)], cycles())


def test_threads_wait_for_the_memory_that_they_share():
    streaming = [BlockRun(B, 100, 0, 0, 30, 10, 1, thread) for thread in range(4)]  # 400 + 400 ns each, 160 lines
    assert region_time(SHARED, streaming, cycles()).total_ns == pytest.approx(np.hypot(800, 25 * 160), abs=1e-3)
    computing = [BlockRun(A, 500, 0, 0, 0, 0, 2, thread) for thread in range(4)]
    assert region_time(SHARED, computing, cycles()).total_ns == 10_000
    # Each section for itself: what one has left does not help another.
    both = region_time(SHARED, streaming + computing, cycles())
    assert both.total_ns == pytest.approx(np.hypot(800, 25 * 160) + 10_000, abs=1e-3)
    alone = [replace(run, section=0, thread=0) for run in streaming]
    assert region_time(SHARED, alone, cycles()).total_ns == 1600 + 10 * 160


def test_sections_follow_each_other_and_each_waits_for_its_busiest_thread():
    first = [BlockRun(A, 100, section=1, thread=0), BlockRun(A, 60, section=1, thread=1)]
    second = [BlockRun(A, 10, section=2, thread=0), BlockRun(A, 50, section=2, thread=1)]
    alone = [BlockRun(A, 7), BlockRun(A, 1)]
    assert region_time(BOARD, first + second + alone, cycles()).compute_ns == 2 * 10 * (100 + 50 + 8)


def test_the_order_of_blocks_changes_no_digit():
    generator = random.Random(1)
    runs = [BlockRun(generator.choice((A, B, C)), generator.randrange(10**9), i, i // 2, i // 3) for i in range(200)]
    fractional = lambda blocks: [BlockEstimate(len(block) / 7, 1.0, {}, 1, 0) for block in blocks]  # noqa: E731
    first = region_time(BOARD, runs, fractional)
    for _ in range(5):
        generator.shuffle(runs)
        assert region_time(BOARD, runs, fractional) == first


def test_nothing_ran():
    assert region_time(BOARD, [], cycles()) == Estimate(0, 0, 0, 0, 0, 0, 0)


def test_unknown_instructions_are_refused_above_two_per_cent_of_the_cycles():
    runs = [BlockRun(A, 1000), BlockRun(B, 240_000)]  # A: 10,000 of 490,000 cycles
    with pytest.raises(UnsupportedModelError, match=r"does not know take 2\.0 % of the cycles, more than 2 %"):
        region_time(BOARD, runs, cycles(unknown=1))
    region_time(BOARD, [runs[0], BlockRun(B, 260_000)], cycles(unknown=1))
    region_time(BOARD, [BlockRun(A, 100)], cycles(unknown=1))  # 1000 cycles: the timing itself


RUNS = [BlockRun(A, 5, 1, 2, 3, 4), BlockRun(B, 7, section=2, thread=1), BlockRun(C, 2**40, 4, 5, 6), BlockRun(A, 6)]


def test_a_request_comes_through_as_it_was():
    request = protocol.pack_request(RUNS)
    assert len(request) % 8 == 0
    assert protocol.request_bytes(request[: protocol.HEADER_BYTES]) == len(request)
    assert protocol.read_request(request) == RUNS


def test_answers_come_through_as_they_were():
    estimate = Estimate(1.5, 2.25, 0.0, 1e12, 2**40, 3, 0, Waits(1.0, 2, 3, 4, 5, 6, 7, 0.125))
    assert protocol.read_answer(protocol.pack_estimate(estimate)) == estimate
    assert protocol.read_answer(protocol.pack_problem("two\nlines, \u00fc")) == "two lines, ?"
    long = protocol.read_answer(protocol.pack_problem("x" * 1000))
    assert isinstance(long, str) and set(long) == {"x"} and len(long) < 200


def test_the_layout_is_the_headers():
    common = NATIVE / "common"
    text = (common / "clock_protocol.h").read_text() + (common / "counters.h").read_text()
    assert int(re.search(r"CLOCK_MAGIC UINT64_C\((0x\w+)\)", text)[1], 16) == protocol.MAGIC
    assert int(re.search(r"MAX_THREADS (\d+)", text)[1]) == protocol.MAX_THREADS
    assert int(re.search(r"PROBLEM_BYTES (\d+)", text)[1]) == 200
    assert protocol.HEADER_BYTES == 8 + 8 + 4 + 4 + 8
    assert protocol.ANSWER_BYTES == 8 + 4 * 8 + 3 * 8 + 8 * 8 + 200
    names = re.search(r"WAIT_NAMES \\\n\s*\{([^}]*)\}", text)[1]
    assert tuple(re.findall(r'"(\w+)"', names)) == NAMES
    assert int(re.search(r"SHUFFLEC_WAITS (\d+)", text)[1]) == len(NAMES)


@pytest.mark.parametrize("cut", [1, 8, 60, 100])
def test_a_request_that_is_cut_off_is_refused(cut):
    with pytest.raises(ProtocolError):
        protocol.read_request(protocol.pack_request(RUNS)[:-cut])


@pytest.mark.parametrize(("block", "thread"), [(3, 0), (0, 2)])
def test_a_run_of_what_the_request_does_not_have_is_refused(block, thread):
    request = bytearray(protocol.pack_request(RUNS))
    struct.pack_into("<III", request, len(request) - 56, block, 0, thread)
    with pytest.raises(ProtocolError, match="does not have"):
        protocol.read_request(bytes(request))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (struct.pack("<QQIIQ", 1, 32, 1, 0, 0), "another version"),
        (struct.pack("<QQIIQ", protocol.MAGIC, 2**40, 1, 0, 0), "more than 256; time fewer calls"),
        (struct.pack("<QQIIQ", protocol.MAGIC, 3, 1, 0, 0), "cannot be"),
        (struct.pack("<QQIIQ", protocol.MAGIC, 32, 17, 0, 0), "for 17 threads"),
    ],
)
def test_a_header_that_cannot_be_is_refused(header, words):
    with pytest.raises(ProtocolError, match=words):
        protocol.request_bytes(header)


@pytest.fixture
def table(monkeypatch):
    """A fake core model; the list holds the blocks of each time that it was asked."""
    asked = []

    def look_up(core, blocks):
        assert core == "cortex-a72"
        asked.append(list(blocks))
        return cycles(unknown=1)(blocks)

    monkeypatch.setattr(clock_module, "block_cycles", look_up)
    return asked


def test_the_clock_asks_the_model_once_for_each_block(table):
    clock = Clock("cortex-a72", 1.8e9, BOARD.time)
    first = protocol.read_answer(clock.answer(protocol.pack_request([BlockRun(B, 9), BlockRun(B, 1)])))
    assert first.compute_ns == pytest.approx(20 * 2 / 1.8, abs=1e-3)
    clock.answer(protocol.pack_request([BlockRun(B, 2), BlockRun(C, 1)]))
    clock.answer(protocol.pack_request([BlockRun(C, 2)]))
    assert table == [[B], [C]]


def test_what_the_clock_cannot_answer_is_one_line(table, monkeypatch):
    clock = Clock("cortex-a72", 1.8e9, BOARD.time)
    problem = protocol.read_answer(clock.answer(protocol.pack_request([BlockRun(A, 10**6)])))
    assert "does not know take 100.0 % of the cycles" in problem
    assert "cut off" in protocol.read_answer(clock.answer(protocol.pack_request(RUNS)[:-40]))
    monkeypatch.setattr(clock_module, "block_cycles", lambda core, blocks: int("x"))
    assert "the clock failed: ValueError" in protocol.read_answer(clock.answer(protocol.pack_request([BlockRun(C, 1)])))
    with pytest.raises(OptionError, match="no model of this core"):
        Clock("cortex-x9", 1e9, BOARD.time)


def test_the_clock_serves_until_its_lifeline_ends(table, tmp_path):
    path = str(tmp_path / "clock.socket")
    ours, its = socket.socketpair()
    listening = socket.socket(socket.AF_UNIX)
    with ours, its, listening:
        listening.bind(path)
        listening.listen()
        thread = threading.Thread(target=serve, args=(Clock("cortex-a72", 1.8e9, BOARD.time), listening, its))
        thread.start()
        good = protocol.pack_request([BlockRun(B, 9)])
        assert isinstance(ask(path, good), Estimate)
        assert "another version" in ask(path, b"x" * protocol.HEADER_BYTES)
        with socket.socket(socket.AF_UNIX) as rude:  # hangs up in the middle
            rude.connect(path)
            rude.sendall(good[:30])
        assert isinstance(ask(path, good), Estimate)
        ours.close()
        thread.join(timeout=30)
        assert not thread.is_alive()


def ask(path: str, request: bytes) -> Estimate | str:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(request)
        answer = b""
        while part := client.recv(4096):
            answer += part
    return protocol.read_answer(answer)
