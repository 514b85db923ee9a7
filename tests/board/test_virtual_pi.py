"""The virtual Pi: uploads run, time is simulated and repeatable, counts are exact."""

import gc
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from probe import build_probe

from shufflec.devices import board_clock, process_state
from shufflec.devices.session import connect
from shufflec.devices.virtual_pi import start, virtual_pi
from shufflec.errors import DeviceError, InputFileError, OptionError, ToolMissingError
from shufflec.targets.target import INSTRUCTION_CLASSES, load_target

pytestmark = pytest.mark.board
RASP4 = load_target("rasp4")
TURNS = 1_000_000


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build_probe(tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def pi():
    with virtual_pi(RASP4) as server:
        yield server


@pytest.fixture
def session(pi):
    with connect(pi.address) as opened:
        yield opened
    gc.collect()


def counted(session, module, function, *arguments, number=1):
    seconds = session.time(module, function, *arguments, number=number)
    return seconds, session.last_region()


def test_runs_what_is_uploaded_and_says_that_time_is_simulated(session, library):
    module = session.upload_module(library)
    assert module["add_one"](41) == 42
    assert session.kind == "simulated"
    assert session.server_tvm


def test_says_which_board_it_is(session):
    assert session.board == RASP4


def test_caches_can_be_left_as_they_are_between_regions(session, library):
    module = session.upload_module(library)
    with session.caches_ignored():  # the run before the timed one does not fill them
        _, cold = counted(session, module, "sweep", 5_000)
    _, warm = counted(session, module, "sweep", 5_000)
    assert cold.estimate.dram_lines > warm.estimate.dram_lines + 100
    assert cold.instructions == warm.instructions


def test_counts_by_class_are_exact(session, library):
    module = session.upload_module(library)
    _, fewer = counted(session, module, "mixed", 1000)
    _, more = counted(session, module, "mixed", 3000)
    added = {name: more.instructions[name] - fewer.instructions[name] for name in INSTRUCTION_CLASSES}
    per_turn = {"load": 1, "store": 1, "branch": 1, "widening_multiply": 1, "dot": 0, "simd": 1, "scalar": 2}
    assert added == {name: 2000 * count for name, count in per_turn.items()}
    assert more.total == sum(more.instructions.values())


def test_timing_an_empty_function_costs_next_to_nothing(session, library):
    module = session.upload_module(library)
    _, once = counted(session, module, "empty")
    _, often = counted(session, module, "empty", number=101)
    assert once.total < 200
    assert (often.total - once.total) / 100 < 50


def test_two_runs_in_two_sessions_on_two_boards_give_the_same_figures(pi, library):
    figures = []
    with virtual_pi(RASP4) as other:
        for server in (pi, pi, other):
            with connect(server.address) as session:
                module = session.upload_module(library)
                calls = [("mixed", 10), ("mixed", 1000), ("sweep", 10_000)]
                figures.append([counted(session, module, *call, number=3) for call in calls])
                del module
            gc.collect()
    assert figures[0] == figures[1] == figures[2]


def test_without_a_time_model_time_is_cycles_by_class_and_the_targets_clock(library):
    target = load_target("aarch64")
    with virtual_pi(target) as server, connect(server.address) as session:
        module = session.upload_module(library)
        seconds, region = counted(session, module, "mixed", 10_000)
        del module
    gc.collect()
    cycles = sum(count * target.cycles[name] for name, count in region.instructions.items())
    assert seconds[0] == pytest.approx(cycles / target.clock_hz, abs=2e-9)
    assert region.simulated_ns == pytest.approx(seconds[0] * 1e9, abs=1)
    assert region.estimate is None


def test_estimated_time_adds_up_from_its_parts(session, library):
    module = session.upload_module(library)
    seconds, region = counted(session, module, "mixed", 10_000)
    parts = region.estimate
    total = parts.compute_ns + parts.load_miss_ns + parts.store_miss_ns + parts.dram_ns
    assert seconds[0] == pytest.approx(1e-9 * total, abs=1e-9)
    # A turn of "mixed" loads, adds, multiplies and stores one line: it takes cycles, and misses nothing.
    assert 2 < parts.compute_ns * RASP4.clock_hz / 1e9 / 10_000 < 20
    assert parts.l1_load_misses + parts.l1_store_misses + parts.dram_lines < 20


def test_misses_follow_from_the_boards_caches(session, library):
    """256 sets of 2 ways of 64 bytes, then 1024 of 16: a buffer read line by line and written line by line."""
    module = session.upload_module(library)
    lines = {name: size // 64 for name, size in {"l1d": 8 << 10, "l2": 512 << 10, "dram": 4 << 20}.items()}
    found = {}
    for name, count in lines.items():
        _, found[name] = counted(session, module, "sweep", count)
    assert found["l1d"].estimate.l1_load_misses + found["l1d"].estimate.l1_store_misses < 60
    assert found["l2"].estimate.l1_load_misses == pytest.approx(lines["l2"], abs=30)
    assert found["l2"].estimate.dram_lines < 30
    # Each line is read, and written right after it: no store misses; a fill and a write to memory.
    assert found["dram"].estimate.l1_load_misses == pytest.approx(lines["dram"], abs=30)
    assert found["dram"].estimate.l1_store_misses < 30
    assert found["dram"].estimate.dram_lines == pytest.approx(2 * lines["dram"], abs=60)
    assert found["dram"].estimate.dram_ns == pytest.approx(
        found["dram"].estimate.dram_lines * RASP4.time.dram_line_ns, abs=0.01
    )


def test_calls_in_a_row_find_what_the_ones_before_left(session, library):
    module = session.upload_module(library)
    empty, *calls = session.time_each(module, "sweep", "empty", 3)
    assert empty.total < 200
    assert [call.total - calls[0].total for call in calls] == pytest.approx([0, 5, 10], abs=8)
    assert all(call.estimate.l1_load_misses < 20 for call in calls)
    with pytest.raises(DeviceError, match="no function absent"):
        session.time_each(module, "absent", "empty", 1)


def clock_process(folder) -> int:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == folder and board_clock.MODULE in (process / "cmdline").read_text():
                return int(process.name)
    raise AssertionError("no clock runs")


def test_without_its_clock_a_board_says_so_instead_of_another_time(library):
    with virtual_pi(RASP4) as server:
        with connect(server.address) as session:
            module = session.upload_module(library)
            session.time(module, "mixed", 10)
            os.kill(clock_process(server.folder), signal.SIGKILL)
            with pytest.raises(DeviceError, match="the board says: NoTimeError: the virtual board's clock has ended"):
                session.time(module, "mixed", 10)
            del module
        gc.collect()
        assert "the virtual board's clock has ended" in server.log.read_text()


def test_unknown_instructions_are_refused_in_one_line(library):
    with virtual_pi(load_target("rasp5")) as server, connect(server.address) as session:
        module = session.upload_module(library)
        with pytest.raises(DeviceError, match=r"instructions that the core model does not know take \d+\.\d % of"):
            session.time(module, "strange", 100_000)
        del module
    gc.collect()


def test_the_clock_ends_with_its_board():
    with virtual_pi(RASP4) as server:
        clock = clock_process(server.folder)
    deadline = time.monotonic() + 30
    while process_state.process_start(clock) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process_state.process_start(clock) is None


def test_dot_products_run_on_the_pi_5_only(library, session):
    with virtual_pi(load_target("rasp5")) as pi5, connect(pi5.address) as other:
        module = other.upload_module(library)
        _, region = counted(other, module, "dots", 500)
        assert region.instructions["dot"] == 500
        del module
    module = session.upload_module(library)
    with pytest.raises(DeviceError, match="the connection was lost"):
        session.time(module, "dots", 500)


def test_several_threads_are_all_counted_and_the_busiest_one_decides_the_time(session, library):
    module = session.upload_module(library)
    assert module["parallel"](1) == 1
    alone, _ = counted(session, module, "parallel", TURNS)
    del module
    figures = []
    with virtual_pi(RASP4, threads=4) as server:
        for _ in range(2):
            with connect(server.address) as four:
                module = four.upload_module(library)
                assert module["parallel"](1) == 4  # as many as the board has, whatever this machine has
                figures.append(counted(four, module, "parallel", TURNS))
                del module
            gc.collect()
    together, region = figures[0]
    assert region.instructions["widening_multiply"] == 4 * TURNS
    assert together[0] == pytest.approx(alone[0], rel=0.001)
    assert figures[1] == figures[0]  # to the digit


def test_threads_that_are_not_tvms_are_refused_not_miscounted(session, library):
    module = session.upload_module(library)
    session.time(module, "own_thread", 100)
    with pytest.raises(DeviceError, match="started threads of its own"):
        session.counters()


def test_the_guest_sees_the_boards_processors(pi):
    cpu = pi.folder / "root" / "sys" / "devices" / "system" / "cpu"
    assert (cpu / "online").read_text() == "0-3\n"
    assert (cpu / "cpu3" / "cpufreq" / "cpuinfo_max_freq").read_text() == f"{RASP4.clock_hz // 1000}\n"
    assert (pi.folder / "root" / "proc" / "cpuinfo").read_text().count("CPU part\t: 0xd08\n") == RASP4.cores


def test_names_that_leave_the_sessions_folder_are_refused(session):
    for name in ("../escape", "/etc/passwd", "..", ".", "a/b"):
        with pytest.raises(DeviceError, match="not a plain file name"), session.guard("ask for a path"):
            session.remote.get_function("tvm.rpc.server.workpath")(name)
        with pytest.raises(DeviceError), session.guard("upload"):
            session.remote.upload(bytearray(b"x"), target=name)


def test_a_sessions_files_are_gone_with_it(pi, library):
    with connect(pi.address) as session:
        session.upload_module(library)
        assert list((pi.folder / "sessions").iterdir())
    gc.collect()
    with connect(pi.address):  # served only after the first one was cleaned up
        assert len(list((pi.folder / "sessions").iterdir())) == 1


def test_a_library_for_another_machine_is_one_line(session, tmp_path):
    wrong = tmp_path / "wrong.so"
    wrong.write_bytes(b"not a library")
    with pytest.raises(DeviceError, match=r"could not load wrong\.so: the board says: Failed to load"):
        session.upload_module(wrong)
    with pytest.raises(InputFileError, match="no such file"):
        session.upload_module(tmp_path / "absent.so")


def test_code_that_crashes_ends_its_session_only(pi, library):
    with connect(pi.address) as session:
        module = session.upload_module(library)
        with pytest.raises(DeviceError, match="the connection was lost"), session.guard("crash"):
            module["crash"]()
        with pytest.raises(DeviceError, match="the connection was lost"):
            session.counters()
        del module
    gc.collect()
    with connect(pi.address) as session:
        assert session.upload_module(library)["add_one"](1) == 2
    gc.collect()


def test_a_board_outlives_its_session_and_is_listed_until_it_stops():
    with virtual_pi(RASP4) as server:
        assert server in process_state.running_servers()
        assert "listening on 127.0.0.1:" in server.log.read_text()
    assert server not in process_state.running_servers()
    assert not server.alive
    assert not server.folder.exists()
    process_state.stop(server)  # twice is fine


def test_a_taken_port_is_one_line(pi):
    with pytest.raises(DeviceError, match="already in use"):
        start(RASP4, port=pi.port)


def test_targets_without_a_virtual_board_and_wrong_thread_counts_are_refused():
    with pytest.raises(OptionError, match="host"):
        start(load_target("host"))
    with pytest.raises(OptionError, match="expected 1 to 4"):
        start(RASP4, threads=5)


def test_without_qemu_the_error_has_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match="apt-get install -y qemu-user"):
        start(RASP4)
