"""compare without a device: help and what is refused before anything starts."""

from __future__ import annotations

import pytest

from shufflec.cli.main import run_command_line
from shufflec.errors import ExitCode


def refused(capsys, *arguments: object) -> tuple[ExitCode, str]:
    """Exit code and the one line on stderr; nothing may be on stdout."""
    code = run_command_line(["compare", *map(str, arguments)])
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1, output.err
    return code, output.err


def test_help_has_options_and_examples(capsys):
    assert run_command_line(["compare", "--help"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert all(word in text for word in ["--rpc", "--clock", "--threads", "--stored", "--html", "shufflec compare"])


@pytest.mark.parametrize("count", [1, 9])
def test_two_to_eight_bundles(capsys, tmp_path, count):
    code, line = refused(capsys, *[tmp_path / str(i) for i in range(count)])
    assert code == ExitCode.USAGE
    assert "expected 2 to 8 bundles to compare" in line


def test_the_same_bundle_twice(capsys, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    code, line = refused(capsys, tmp_path / "a", tmp_path / "link")
    assert code == ExitCode.USAGE
    assert "link: is given twice" in line


def test_a_folder_that_is_no_bundle(capsys, tmp_path):
    (tmp_path / "a").mkdir()
    code, line = refused(capsys, tmp_path / "a", tmp_path / "b")
    assert code == ExitCode.BAD_INPUT
    assert "manifest.json" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--clock", "1GHz", "--rpc", "pi:9090"], "--clock 1GHz: the board at --rpc has its own clock"),
        (["--stored", "--rpc", "pi:9090"], "--rpc pi:9090: nothing is profiled with --stored"),
        (["--stored", "--clock", "1GHz"], "--clock 1GHz: nothing is profiled"),
        (["--stored", "--threads", "4"], "--threads 4: nothing is profiled"),
        (["--html", "."], "--html .: is a folder"),
        (["-o", __file__], "is a file, expected a folder"),
    ],
)
def test_options_that_contradict(capsys, options, words):
    code, line = refused(capsys, "a", "b", *options)
    assert code == ExitCode.USAGE
    assert words in line
