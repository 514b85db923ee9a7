"""`shufflec device`, `doctor` and `targets`: text for people, JSON for scripts, exit codes for both."""

import json
import subprocess

import pytest

from shufflec.cli.main import run_command_line
from shufflec.devices import health, process_state, virtual_pi
from shufflec.devices.health import Piece
from shufflec.devices.process_state import RunningServer, process_start
from shufflec.errors import ExitCode
from shufflec.targets.target import load_target, target_names


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def running():
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    folder = process_state.new_folder("rasp4")
    (folder / virtual_pi.BOARD).write_text(json.dumps(load_target("rasp4").to_dict()), encoding="utf-8")
    server = RunningServer("virtual-pi", "rasp4", "127.0.0.1", 9090, process.pid, 1, process_start(process.pid), folder)
    process_state.save(server)
    yield server
    process.kill()
    process.wait()


def json_of(capsys, *arguments, code=ExitCode.OK):
    assert run_command_line([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_list_is_empty_at_first(capsys):
    assert json_of(capsys, "device", "list") == {"devices": []}
    assert run_command_line(["device", "list"]) == ExitCode.OK
    assert "shufflec device up" in capsys.readouterr().out


def test_a_running_device_is_listed_found_and_stopped(capsys, running):
    (entry,) = json_of(capsys, "device", "list")["devices"]
    assert (entry["target"], entry["address"], entry["kind"]) == ("rasp4", "127.0.0.1:9090", "simulated")
    assert json_of(capsys, "device", "up", "--target", "rasp4") == {**entry, "started": False}
    assert run_command_line(["device", "up"]) == ExitCode.OK
    assert capsys.readouterr().out == "rasp4 runs already on 127.0.0.1:9090 (simulated time)\n"
    assert run_command_line(["device", "list"]) == ExitCode.OK
    assert "127.0.0.1:9090" in capsys.readouterr().out
    assert json_of(capsys, "device", "down", "--target", "rasp4") == {"stopped": [entry]}
    assert run_command_line(["device", "down"]) == ExitCode.OK
    assert capsys.readouterr().out == "No such device runs.\n"


def test_up_with_a_taken_port_is_a_device_error(capsys, running):
    assert run_command_line(["device", "up", "--target", "rasp5", "--port", "9090"]) == ExitCode.DEVICE
    assert "port 9090 is taken" in capsys.readouterr().err


def test_up_for_an_unknown_target_lists_the_known_ones(capsys):
    assert run_command_line(["device", "up", "--target", "rasp9"]) == ExitCode.USAGE
    assert "rasp4" in capsys.readouterr().err


def test_up_without_qemu_is_a_missing_tool(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_command_line(["device", "up"]) == ExitCode.TOOL_MISSING
    assert "apt-get install -y qemu-user" in capsys.readouterr().err


def test_instructions_can_be_copied(capsys):
    assert run_command_line(["device", "instructions", "--host", "me@board"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert "    ssh -N -L 9090:127.0.0.1:9090 me@board" in lines
    steps = json_of(capsys, "device", "instructions", "--host", "me@board")["steps"]
    assert all(f"    {command}" in lines for step in steps for command in step["commands"])


def examined(monkeypatch, *pieces):
    monkeypatch.setattr(health, "examine", lambda: list(pieces))


def test_the_doctor_ends_with_0_when_only_a_side_piece_is_missing(capsys, monkeypatch):
    examined(
        monkeypatch, Piece("a", "1.0", "", "everything", "", True), Piece("b", "", "missing", "a bit", "get b", False)
    )
    assert run_command_line(["doctor"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "get b" in out
    assert "The main job works" in out


def test_the_doctor_names_what_the_main_job_lacks(capsys, monkeypatch):
    examined(monkeypatch, Piece("qemu", "", "missing [x86]", "the virtual Pi", "apt-get install qemu-user", True))
    assert run_command_line(["doctor"]) == ExitCode.TOOL_MISSING
    out = capsys.readouterr().out
    assert "missing [x86]" in out
    assert "apt-get install qemu-user" in out
    assert "does not work without: qemu" in out
    report = json_of(capsys, "doctor", code=ExitCode.TOOL_MISSING)
    assert report["main_job_works"] is False
    assert report["pieces"][0]["ok"] is False


def test_targets_are_listed_and_shown_with_their_sources(capsys):
    listed = json_of(capsys, "targets")["targets"]
    assert [target["name"] for target in listed] == target_names()
    assert run_command_line(["targets"]) == ExitCode.OK
    assert all(name in capsys.readouterr().out for name in ["rasp4"])
    assert run_command_line(["targets", "rasp4"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "cortex-a72" in out
    assert "Sources" in out
    assert json_of(capsys, "targets", "rasp4") == next(target for target in listed if target["name"] == "rasp4")


def test_an_unknown_target_is_a_usage_error(capsys):
    assert run_command_line(["targets", "rasp9"]) == ExitCode.USAGE
    assert "known targets" in capsys.readouterr().err
