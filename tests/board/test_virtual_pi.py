"""The virtual Pi: uploads run, time is simulated and repeatable, counts are exact."""

import gc

import pytest
from probe import build_probe

from shufflec.devices import process_state
from shufflec.devices.session import connect
from shufflec.devices.virtual_pi import start, virtual_pi
from shufflec.errors import DeviceError, InputFileError, OptionError, ToolMissingError
from shufflec.targets.target import INSTRUCTION_CLASSES, load_target

pytestmark = pytest.mark.board
RASP4 = load_target("rasp4")


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
                figures.append([counted(session, module, "mixed", n, number=3) for n in (10, 1000)])
                del module
            gc.collect()
    assert figures[0] == figures[1] == figures[2]


def test_simulated_time_is_cycles_by_the_targets_clock(session, library):
    module = session.upload_module(library)
    seconds, region = counted(session, module, "mixed", 10_000)
    cycles = sum(count * RASP4.cycles[name] for name, count in region.instructions.items())
    assert seconds[0] == pytest.approx(cycles / RASP4.clock_hz, abs=2e-9)
    assert region.simulated_ns == pytest.approx(seconds[0] * 1e9, abs=1)


def test_dot_products_run_on_the_pi_5_only(library, session):
    with virtual_pi(load_target("rasp5")) as pi5, connect(pi5.address) as other:
        module = other.upload_module(library)
        _, region = counted(other, module, "dots", 500)
        assert region.instructions["dot"] == 500
        del module
    module = session.upload_module(library)
    with pytest.raises(DeviceError, match="the connection was lost"):
        session.time(module, "dots", 500)


def test_several_threads_are_all_counted_and_the_busiest_one_decides_the_time(library):
    with virtual_pi(RASP4, threads=4) as server, connect(server.address) as session:
        module = session.upload_module(library)
        assert module["parallel"](1) == 4  # as many as the board has, whatever this machine has
        for _ in range(3):
            seconds, region = counted(session, module, "parallel", 100_000)
            assert region.instructions["widening_multiply"] == 4 * 100_000
            alone = 100_000 * (RASP4.cycles["widening_multiply"] + RASP4.cycles["scalar"] + RASP4.cycles["branch"])
            assert seconds[0] == pytest.approx(alone / RASP4.clock_hz, rel=0.05)
        del module
    gc.collect()


def test_more_threads_than_counters_are_refused_not_miscounted(session, library):
    module = session.upload_module(library)
    session.time(module, "own_thread", 100)
    with pytest.raises(DeviceError, match="--threads"):
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
