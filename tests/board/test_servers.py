"""TVM's own server on this machine, and our server registered with TVM's tracker."""

import gc
import json
import platform
import socket
import subprocess
import time

import pytest
from probe import build_probe
from tvm import rpc
from tvm.rpc.tracker import Tracker

from shufflec.cli.main import run_command_line
from shufflec.devices import process_state
from shufflec.devices.build import native_programs
from shufflec.devices.emulator import find_emulator
from shufflec.devices.session import connect
from shufflec.devices.stock_server import start, stock_server
from shufflec.errors import DeviceError, ExitCode

pytestmark = pytest.mark.board


def test_the_stock_server_runs_and_measures_what_is_uploaded(tmp_path):
    library = build_probe(tmp_path, platform.machine())
    with stock_server() as server:
        with connect(server.address) as session:
            module = session.upload_module(library)
            assert module["add_one"](1) == 2
            assert len(session.time(module, "empty", number=10, repeat=3)) == 3
            assert (session.kind, session.server_tvm) == ("measured", "")
            assert session.counters() is None
            del module
        gc.collect()
        with pytest.raises(DeviceError, match="refuses the key"):
            connect(server.address, key="other")
        with pytest.raises(DeviceError, match=r"did not start: .*cannot bind"):
            start(port=server.port)
        assert [other.pid for other in process_state.running_servers() if other.port == server.port] == [server.pid]
    assert not server.alive


def test_our_server_is_handed_out_by_tvms_tracker(tmp_path):
    emulator = find_emulator()
    programs = native_programs(emulator)
    tracker = Tracker(host="127.0.0.1", port=9190, port_end=9290, silent=True)
    command = [str(emulator.program), "-L", str(emulator.sysroot), str(programs.server)]
    command += ["--key", "board", "--tracker", f"127.0.0.1:{tracker.port}"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = rpc.connect_tracker("127.0.0.1", tracker.port)
        library = build_probe(tmp_path)
        for _ in range(2):  # it registers again after each session
            session = client.request("board", session_timeout=60)
            session.upload(str(library))
            assert session.load_module("probe.so")["add_one"](1) == 2
            del session
            gc.collect()
        deadline = time.monotonic() + 60
        while "server:board" not in client.text_summary() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "server:board" in client.text_summary()
        client.close()
    finally:
        server.terminate()
        assert server.wait(timeout=30) == 0
        tracker.terminate()


def test_device_up_list_down_on_the_command_line(capsys):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    arguments = ["--target", "zero2w", "--port", str(port)]
    assert run_command_line(["device", "up", *arguments, "--json"]) == ExitCode.OK
    started = json.loads(capsys.readouterr().out)
    try:
        assert started["address"] == f"127.0.0.1:{port}"
        assert started["started"] is True
        assert run_command_line(["device", "up", *arguments]) == ExitCode.OK
        assert "zero2w runs already on" in capsys.readouterr().out
        with connect(started["address"]) as session:
            assert session.kind == "simulated"
        gc.collect()
    finally:
        assert run_command_line(["device", "down", *arguments, "--json"]) == ExitCode.OK
    assert [each["pid"] for each in json.loads(capsys.readouterr().out)["stopped"]] == [started["pid"]]
