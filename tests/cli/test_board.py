"""board calibrate without a board: help and what is refused before anything starts, with nothing written."""

from __future__ import annotations

import socket

import pytest

from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode
from shufflec.files import data_dir


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def refused(capsys, *arguments: object) -> tuple[ExitCode, str]:
    """Exit code and the one line on stderr; nothing may be on stdout."""
    code = run_command_line(["board", "calibrate", *map(str, arguments)])
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1, output.err
    return code, output.err


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_help_has_options_and_examples(capsys):
    assert run_command_line(["board", "calibrate", "--help"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert all(word in text for word in ["--rpc", "--target", "--clock", "--output", "--fresh", "shufflec board"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rpc", "nowhere"], "--rpc nowhere: expected HOST:PORT"),
        (["--target", "rasp9"], "--target rasp9: unknown target"),
        (["--clock", "fast"], "--clock fast: expected 1MHz to 10GHz"),
        (["-o", "board.json"], "--output board.json: expected a name like my-board.toml"),
        (["-o", "My Board.toml"], "expected a name like my-board.toml"),
        (["-o", "rasp4.toml"], "rasp4 is the name of a shipped target"),
        (["--target", "host"], "--target host: its core host has no model"),
    ],
)
def test_options_that_cannot_be(capsys, tmp_path, options, words):
    code, line = refused(capsys, *([] if "--rpc" in options else ["--rpc", "127.0.0.1:1"]), *options)
    assert code == ExitCode.USAGE
    assert words in line
    assert not list(tmp_path.glob("*.toml"))


def test_a_core_without_a_model(capsys, tmp_path):
    text = (data_dir("targets") / "aarch64.toml").read_text().replace('name = "cortex-a53"', 'name = "cortex-a55"')
    (tmp_path / "mine.toml").write_text(text)
    code, line = refused(capsys, "--rpc", "127.0.0.1:1", "--target", "mine.toml", "-o", "other.toml")
    assert code == ExitCode.USAGE
    assert "its core cortex-a55 has no model; calibrated are cortex-a53, cortex-a72, cortex-a76" in line


def test_a_file_that_is_no_target_is_not_replaced(capsys, tmp_path):
    (tmp_path / "notes.toml").write_text("mine = true\n")
    code, line = refused(capsys, "--rpc", "127.0.0.1:1", "-o", "notes.toml")
    assert code == ExitCode.BAD_INPUT
    assert "notes.toml: " in line
    assert (tmp_path / "notes.toml").read_text() == "mine = true\n"


def test_a_board_that_is_not_there_is_said_before_anything_is_compiled(capsys, tmp_path):
    code, line = refused(capsys, "--rpc", f"127.0.0.1:{closed_port()}", "-o", "mine.toml")
    assert code == ExitCode.DEVICE
    assert "refuses connections" in line
    assert not (tmp_path / "mine.toml").exists()
