"""The plugin's cache model against traces whose misses are counted by hand."""

import ctypes
import subprocess
import sys

import pytest

from shufflec.devices.build import NATIVE

LINE = 64
L1, L2 = (2, 2, False), (4, 2, True)  # 2 sets of 2 ways; 4 sets of 2 ways


class Level(ctypes.Structure):
    _fields_ = [("sets", ctypes.c_uint32), ("ways", ctypes.c_uint32), ("shared", ctypes.c_uint32)]


class Misses(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("l1_loads", "l1_stores", "dram_fills", "dram_writes")]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "cache.so"
    source = NATIVE / "tcg_plugin" / "cache_model.c"
    command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-O2", "-o", str(path), str(source)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(path))


def figures(misses):
    return misses.l1_loads, misses.l1_stores, misses.dram_fills, misses.dram_writes


def configure(library, *levels, line=LINE, threads=1):
    shapes = (Level * len(levels))(*levels)
    return library.cache_model_configure(shapes, len(levels), line, threads)


@pytest.fixture
def run(library):
    """Runs a trace: "r3" reads line 3, "w3" writes it; (address, size, store, thread) for anything else.

    keep: returns the counters themselves, which a join completes.
    """

    def run(*trace, thread=0, keep=False):
        misses = Misses()
        for step in trace:
            address, size, store, by = (
                (int(step[1:]) * LINE, 8, step[0] == "w", thread) if isinstance(step, str) else step
            )
            library.cache_model_access(by, ctypes.c_uint64(address), size, int(store), ctypes.byref(misses))
        return misses if keep else figures(misses)

    return run


def test_the_first_touch_misses_everywhere_and_the_next_nowhere(library, run):
    assert configure(library, L1, L2) == 0
    assert run("r0", "r0", "w0", "r1", "w1") == (2, 0, 2, 0)
    assert run("w2", "w2", "r2") == (0, 1, 1, 0)


def test_the_line_used_longest_ago_goes(library, run):
    configure(library, L1, L2)
    # Lines 0, 2, 4 share a set of two ways. 0 is used again, so 4 takes the place of 2; all stay in the second level
    # (sets of 0 and 4, and of 2).
    assert run("r0", "r2", "r0", "r4") == (3, 0, 3, 0)
    assert run("r0") == (0, 0, 0, 0)
    assert run("r2") == (1, 0, 0, 0)  # takes the place of 4
    assert run("r0") == (0, 0, 0, 0)
    assert run("r4") == (1, 0, 0, 0)


def test_a_dirty_line_goes_down_and_is_written_to_memory_when_it_leaves_the_last_level(library, run):
    configure(library, L1, L2)
    assert run("w0", "r4", "r8") == (2, 1, 3, 0)  # L1 set 0: 8, 4; line 0 went down dirty, and took 4's place there
    # L2 set 0 holds 0 (dirty) and 8: 4 was older than both when 8 came.
    assert run("r12") == (1, 0, 1, 1)  # pushes 0 out of L2: written to memory
    assert run("r16", "r20") == (2, 0, 2, 0)  # 8 and 12 are clean


def test_a_written_back_line_is_not_fetched_first(library, run):
    configure(library, (1, 1, False), (1, 1, True))
    # L1 and L2 hold one line each. Each write misses and fetches its own line (3 fills). Writing line 1 pushes line 0
    # into L2, whole, without a fill; line 1's own fill then pushes it out to memory; and so on for line 2.
    assert run("w0", "w1", "w2") == (0, 3, 3, 2)


def test_one_level_alone(library, run):
    configure(library, (1, 2, False))
    assert run("w0", "r1", "r2", "r0", "r1") == (4, 1, 5, 1)


def test_an_access_across_two_lines_touches_both(library, run):
    configure(library, L1, L2)
    assert run((LINE - 8, 16, False, 0)) == (2, 0, 2, 0)
    assert run((LINE - 8, 16, True, 0), (LINE - 1, 1, False, 0), (LINE, 1, True, 0)) == (0, 0, 0, 0)
    # Both were written: pushed out of a cache of one level they go to memory.
    configure(library, (2, 1, False))
    assert run((LINE - 8, 16, True, 0), "r2", "r3") == (2, 2, 4, 2)


def test_a_store_after_a_load_of_the_same_line_makes_it_dirty(library, run):
    configure(library, (1, 1, False))
    assert run("r0", "r0", "w0", "r0", "r1") == (2, 0, 2, 1)


def test_lines_of_another_size(library, run):
    configure(library, (2, 2, False), line=32)
    assert run((0, 8, False, 0), (24, 8, False, 0), (32, 8, False, 0)) == (2, 0, 2, 0)


def test_clearing_forgets_everything_and_writes_nothing(library, run):
    configure(library, L1, L2)
    assert run("w0", "w1") == (0, 2, 2, 0)
    library.cache_model_clear()
    assert run("r0", "r1", "r4", "r8", "r12", "r16") == (6, 0, 6, 0)


def test_threads_have_first_levels_of_their_own_and_share_the_last(library, run):
    configure(library, L1, L2, threads=2)
    assert run("r0") == (1, 0, 1, 0)
    assert run("r0", "r0", thread=1) == (1, 0, 0, 0)
    configure(library, L1, (4, 2, False), (8, 2, True), threads=2)
    assert run("r0") == (1, 0, 1, 0)
    assert run("r0", "r0", thread=1) == (1, 0, 0, 0)
    assert run("r0", thread=2) == (0, 0, 0, 0)  # not configured: ignored


def test_lines_of_one_set_drive_each_other_out_while_others_are_empty(library, run):
    configure(library, (4, 2, False), (4, 4, True))
    # Lines 0, 4, 8 share one set of two ways: each comes back when it has just gone. The second level has four ways.
    assert run("r0", "r4", "r8") == (3, 0, 3, 0)
    assert run("r0", "r4", "r8") == (3, 0, 0, 0)
    assert run("r0", "r1", "r2", "r3") == (4, 0, 3, 0)  # 0 had gone again; 1, 2 and 3 have sets of their own
    assert run("r1", "r2", "r3") == (0, 0, 0, 0)


def test_three_levels(library, run):
    configure(library, (1, 1, False), (1, 2, False), (1, 4, True))
    assert run("w0", "r1", "r2") == (2, 1, 3, 0)  # L1: 2. L2: 2, 1; 0 came dirty and went on. L3: all three, 0 dirty
    assert run("r1") == (1, 0, 0, 0)  # from L2
    assert run("r0") == (1, 0, 0, 0)  # from L3
    assert run("r3", "r4") == (2, 0, 2, 0)  # L3: 4, 3, 0 and one of 1, 2, all clean but 0
    assert run("r5", "r6", "r7") == (3, 0, 3, 1)  # the dirty line 0 leaves the last level: written


def test_a_store_allocates_and_the_next_read_finds_it(library, run):
    configure(library, L1, L2)
    assert run("w5", "r5", "w5") == (0, 1, 1, 0)


def test_what_one_thread_writes_leaves_the_others_caches(library, run):
    configure(library, L1, L2, threads=2)
    assert run("r0") == (1, 0, 1, 0)
    assert run("r0", thread=1) == (1, 0, 0, 0)
    assert run("w0", thread=1) == (0, 0, 0, 0)  # it has the line
    assert run("r0") == (1, 0, 0, 0)  # not this one any more; it comes from the shared level
    assert run("r0", thread=1) == (0, 0, 0, 0)  # which still has it, clean now
    assert run("r4", "r8", thread=1) == (2, 0, 2, 1)  # 0 leaves L1 clean, and L2, where it is dirty, once


def side_by_side(library, run, *traces):
    """Misses of each thread's trace: run one after the other, meant side by side."""
    library.cache_model_fork()
    misses = [run(*trace, thread=thread, keep=True) for thread, trace in enumerate(traces)]
    assert library.cache_model_join() == 0
    return [figures(one) for one in misses]


def test_threads_side_by_side_share_what_one_after_the_other_would_not(library, run):
    # The shared level holds two lines. Three lines in a row, by each thread: whoever comes second in time finds each
    # line there, though the whole of the first thread's trace would have driven it out.
    configure(library, (1, 1, False), (1, 2, True), threads=2)
    assert side_by_side(library, run, ["r0", "r1", "r2"], ["r0", "r1", "r2"]) == [(3, 0, 3, 0), (3, 0, 0, 0)]
    configure(library, (1, 1, False), (1, 2, True), threads=2)
    assert run("r0", "r1", "r2") == (3, 0, 3, 0)
    assert run("r0", "r1", "r2", thread=1) == (3, 0, 3, 0)


def test_threads_side_by_side_have_less_of_the_shared_level_each(library, run):
    # Two lines each, again and again, in a shared level of two ways in all: alone both stay, together none does.
    configure(library, (1, 1, False), (1, 2, True), threads=2)
    assert side_by_side(library, run, ["r0", "r1"] * 3, []) == [(6, 0, 2, 0), (0, 0, 0, 0)]
    configure(library, (1, 1, False), (1, 2, True), threads=2)
    assert side_by_side(library, run, ["r0", "r1"] * 3, ["r2", "r3"] * 3) == [(6, 0, 6, 0), (6, 0, 6, 0)]


def test_time_goes_by_accesses_also_by_those_that_hit(library, run):
    configure(library, (1, 1, False), (1, 2, True), threads=2)
    # While thread 0 stays with line 0, thread 1 goes through three lines; then thread 0 comes to the last of them.
    assert side_by_side(library, run, [*["r0"] * 9, "r3"], ["r1", "r2", "r3"]) == [(2, 0, 1, 0), (3, 0, 3, 0)]


def test_after_the_join_the_caches_are_as_the_threads_left_them(library, run):
    configure(library, L1, L2, threads=2)
    assert side_by_side(library, run, ["w0"], ["w1"]) == [(0, 1, 1, 0), (0, 1, 1, 0)]
    assert run("r0", "r1") == (1, 0, 0, 0)  # its own line, and the other's from the shared level
    assert run("r1", thread=1) == (0, 0, 0, 0)


def test_the_pi_4s_caches_stream_a_buffer_that_fits_only_the_second_level(library, run):
    configure(library, (256, 2, False), (1024, 16, True))
    lines = 65536 // LINE  # twice L1D
    sweep = [f"r{i}" for i in range(lines)]
    assert run(*sweep) == (lines, 0, lines, 0)
    assert run(*sweep) == (lines, 0, 0, 0)  # LRU keeps nothing of a loop over more than it holds


@pytest.mark.parametrize(
    ("levels", "line"),
    [
        ([(3, 2, False)], 64),
        ([(0, 2, False)], 64),
        ([(2, 0, False)], 64),
        ([(2, 2, True)], 64),
        ([(2, 2, False)], 48),
        ([(2, 2, False)], 8),
        ([(2, 2, False)] * 4, 64),
        ([(2, 2, False), (4, 2, True), (8, 2, False)], 64),
        ([], 64),
    ],
)
def test_caches_that_cannot_be_are_refused(library, levels, line):
    assert configure(library, *levels, line=line) == -1
