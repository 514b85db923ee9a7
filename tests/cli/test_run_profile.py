"""run, profile and eval without a device: help and what is refused before anything starts."""

from __future__ import annotations

import pytest

from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "cache"))


def outcome(capsys, *arguments: str) -> tuple[ExitCode, str]:
    """Exit code and stderr; nothing may be on stdout."""
    code = run_command_line(list(arguments))
    output = capsys.readouterr()
    assert output.out == ""
    return code, output.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("profile", ["--rpc", "--threads", "--clock", "--detail", "shufflec profile", "estimated"]),
        ("run", ["--top", "shufflec run", "cat.jpg"]),
    ],
)
def test_help_has_options_and_examples(capsys, command, words):
    assert run_command_line([command, "--help"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert all(word in text for word in words)


def test_profile_without_any_bundle_says_how_to_make_one(capsys):
    code, line = outcome(capsys, "profile")
    assert code == ExitCode.BAD_INPUT
    assert "no bundle was compiled yet" in line and "shufflec compile" in line


def test_a_bundle_that_is_none(capsys, tmp_path):
    (tmp_path / "folder").mkdir()
    for command in (["profile"], ["run"], ["eval"]):
        rest = {"run": ["x.png"], "eval": ["--data", "digits"]}.get(command[0], [])
        code, line = outcome(capsys, *command, str(tmp_path / "folder"), *rest)
        assert code == ExitCode.BAD_INPUT
        assert "manifest.json" in line
    code, line = outcome(capsys, "run", str(tmp_path / "nowhere"), "x.png")
    assert code == ExitCode.BAD_INPUT
    assert "no such folder" in line


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["run", "b", "x.png", "--top", "0"], "--top"),
        (["profile", "b", "--inputs", "0"], "--inputs"),
        (["profile", "b", "--repeats", "0"], "--repeats"),
        (["profile", "b", "--threads", "0"], "--threads"),
        (["profile", "b", "--timeout", "0"], "--timeout"),
        (
            ["profile", "b", "--clock", "1.5GHz", "--rpc", "127.0.0.1:1"],
            "--clock 1.5GHz: the board at --rpc has its own",
        ),
        (["run", "b"], "IMAGE"),
    ],
)
def test_wrong_options_are_named(capsys, arguments, option):
    code, line = outcome(capsys, *arguments)
    assert code == ExitCode.USAGE
    assert option in line


def test_reports_cannot_go_into_a_file(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    code, line = outcome(capsys, "profile", "b", "-o", str(tmp_path / "file"))
    assert code == ExitCode.USAGE
    assert "expected a folder" in line
