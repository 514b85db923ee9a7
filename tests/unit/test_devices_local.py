"""Servers on this machine: their state, the files that a guest sees, the doctor, and the instructions."""

import dataclasses
import json
import os
import subprocess

import pytest

from shufflec.devices import health, process_state, virtual_pi
from shufflec.devices.guest_files import make_root
from shufflec.devices.handshake import parse_address
from shufflec.devices.instructions import instructions
from shufflec.devices.local import down, up
from shufflec.devices.process_state import RunningServer, process_start
from shufflec.errors import DeviceError, OptionError
from shufflec.targets.target import load_target


@pytest.fixture
def running(tmp_path, monkeypatch):
    """A sleeping process that stands for a virtual Pi of rasp4 on port 9090."""
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path))
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    folder = process_state.new_folder("rasp4")
    (folder / "server.log").write_text("listening\n\n")
    (folder / virtual_pi.BOARD).write_text(json.dumps(load_target("rasp4").to_dict()))
    server = RunningServer("virtual-pi", "rasp4", "127.0.0.1", 9090, process.pid, 1, process_start(process.pid), folder)
    process_state.save(server)
    yield server
    process.kill()
    process.wait()


def test_a_running_server_is_found_by_its_state(running):
    assert process_state.running_servers() == [running]
    assert running.address == "127.0.0.1:9090"


def test_stop_ends_the_process_and_removes_its_files(running):
    process_state.stop(running)
    assert not running.alive
    assert not running.folder.exists()
    assert process_state.running_servers() == []


def test_a_process_that_ignores_the_request_is_ended_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path))
    stubborn = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"],
        start_new_session=True,
        stdout=subprocess.PIPE,
    )
    with stubborn:
        assert stubborn.stdout.readline() == b"ready\n"
        folder = process_state.new_folder("rasp4")
        server = RunningServer(
            "virtual-pi", "rasp4", "127.0.0.1", 1, stubborn.pid, 1, process_start(stubborn.pid), folder
        )
        process_state.stop(server, timeout_s=0.2)
        assert not server.alive


def test_another_process_with_the_same_id_is_not_taken_for_the_server(running):
    impostor = dataclasses.replace(running, started=running.started + 1)
    process_state.save(impostor)
    assert not impostor.alive
    process_state.stop(impostor)
    assert process_start(running.pid) == running.started  # not killed
    assert process_state.running_servers() == []


def test_state_of_ended_servers_is_cleaned_up_and_a_starting_one_is_left_alone(running):
    starting = process_state.new_folder("rasp5")
    broken = process_state.new_folder("rasp3")
    (broken / "state.json").write_text("{not json")
    os.utime(broken, (0, 0))
    assert process_state.running_servers() == [running]
    assert starting.exists()
    assert not broken.exists()


def test_up_finds_the_running_device_whatever_its_port(running):
    assert up(load_target("rasp4")) == (running, False)
    assert up(load_target("rasp4"), port=9090) == (running, False)


def test_a_device_with_other_figures_of_the_same_name_is_not_taken(running, monkeypatch):
    rasp4 = load_target("rasp4")
    faster = dataclasses.replace(rasp4, clock_hz=2_000_000_000)
    monkeypatch.setattr(virtual_pi, "start", lambda target, port, threads, say: ("started", target, port))
    assert up(faster) == (("started", faster, 0), True)
    with pytest.raises(DeviceError, match="port 9090 is taken by the rasp4 device"):
        up(faster, port=9090)
    (running.folder / virtual_pi.BOARD).unlink()
    assert up(rasp4)[1] is True


def test_up_refuses_a_port_that_another_device_has(running):
    with pytest.raises(
        DeviceError, match=r"port 9090 is taken by the rasp4 device with 1 thread.*device down --port 9090"
    ):
        up(load_target("rasp5"), port=9090)


def test_down_stops_only_what_was_chosen(running):
    assert down("rasp5") == []
    assert down(port=9091) == []
    assert down("rasp4", 9090) == [running]
    assert down() == []


def test_last_line_of_a_log(running):
    assert process_state.last_line(running.log) == "listening"
    running.log.write_text("\n")
    assert process_state.last_line(running.log) == "it said nothing"


def test_guest_files_describe_the_board(tmp_path):
    target = load_target("rasp5")
    root = make_root(tmp_path / "root", tmp_path, target)
    assert (root / "lib").readlink() == tmp_path / "lib"
    assert (root / "sys/devices/system/cpu/online").read_text() == "0-3\n"
    assert (root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").read_text() == "2400000\n"
    caches = root / "sys/devices/system/cpu/cpu3/cache"
    read = lambda index, name: (caches / f"index{index}" / name).read_text().strip()  # noqa: E731
    assert [read(index, "size") for index in range(4)] == ["64K", "512K", "2048K", ""]
    assert [read(index, "level") for index in range(4)] == ["1", "2", "3", ""]  # not this machine's fourth
    assert [read(index, "shared_cpu_map") for index in range(3)] == ["8", "8", "f"]
    cpuinfo = (root / "proc/cpuinfo").read_text()
    assert cpuinfo.count("CPU part\t: 0xd0b") == 4
    assert "asimddp" in cpuinfo
    single = dataclasses.replace(target, cores=1)
    assert (make_root(tmp_path / "one", tmp_path, single) / "sys/devices/system/cpu/online").read_text() == "0\n"


def test_a_core_that_is_not_known_has_no_guest_files(tmp_path):
    with pytest.raises(OptionError, match="no virtual board has this core; known: cortex-a35, cortex-a53"):
        make_root(tmp_path / "root", tmp_path, dataclasses.replace(load_target("rasp4"), core="cortex-x99"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [("rasp:9090", ("rasp", 9090)), ("10.0.0.7:1", ("10.0.0.7", 1)), ("[fe80::1%eth0]:65535", ("fe80::1%eth0", 65535))],
)
def test_addresses(address, expected):
    assert parse_address(address) == expected


def test_instructions_pin_the_versions_and_bind_the_tunnel_to_loopback():
    steps = instructions("me@board", 9191)
    text = "\n".join(command for step in steps for command in step.commands)
    for name, version in health.wheel_versions().items():
        assert f"{name}=={version}" in text
    assert "-m tvm.exec.rpc_server --host 0.0.0.0 --port 9191" in text
    assert "ssh -N -L 9191:127.0.0.1:9191 me@board" in text
    assert "shufflec profile --rpc board:9191" in text


def pieces():
    return {piece.name: piece for piece in health.examine()}


def test_the_doctor_finds_everything_here():
    found = pieces()
    assert found["apache-tvm"].ok
    assert found["apache-tvm"].version == health.wheel_versions()["apache-tvm"]
    assert all(piece.costs for piece in found.values())


def test_the_doctor_says_what_is_missing_and_what_mends_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    real = health.metadata.version

    def version(name):
        if name == "nncf":
            raise health.metadata.PackageNotFoundError(name)
        return "0.0.1" if name == "onnx" else real(name)

    monkeypatch.setattr(health.metadata, "version", version)
    monkeypatch.setattr(health, "_pinned_versions", lambda: {"onnx": "1.2.3", "nncf": "3.4.0"})
    found = pieces()
    assert (found["qemu-aarch64"].problem, found["qemu-aarch64"].required) == ("missing", True)
    assert "apt-get install -y qemu-user" in found["qemu-aarch64"].mend
    assert (found["nncf"].problem, found["nncf"].mend) == ("missing", "python -m pip install nncf==3.4.0")
    assert found["onnx"].problem == "expected 1.2.3"


def test_the_doctor_survives_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "file"))
    found = pieces()
    assert not found["cache folder"].ok
    assert "cannot be written" in found["cache folder"].problem
