"""`shufflec bench`: wrong options end in one line, before anything is built or downloaded."""

from __future__ import annotations

import pytest

from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["peers", "--groups", "3,5"], "--groups 5: expected some of 1, 2, 3, 4, 8, v2, separated by commas"),
        (["peers", "--groups", ""], "--groups : expected some of 1, 2, 3, 4, 8"),
        (["shuffle", "--groups", "v2"], "--groups v2: expected some of 1, 2, 3, 4, 8, separated by commas"),
        (["peers", "--targets", "rasp4,rasp9"], "--target rasp9: unknown target"),
        (["peers", "--engine", "tensorrt"], "--engine tensorrt: no engine has this in its name; known: shufflec, ncnn"),
        (["shuffle", "--groups", "7"], "--groups 7: expected some of"),
    ],
)
def test_wrong_options(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command_line(["bench", *arguments]) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_rows_can_only_be_added_to_a_report(capsys: pytest.CaptureFixture, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command_line(["bench", "peers", "--add"]) == ExitCode.BAD_INPUT
    message = capsys.readouterr().err
    assert "arm-linux.json: no such file" in message
    assert len(message.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
