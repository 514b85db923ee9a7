"""The frame of the command: exit codes by kind, one-line errors, and a --help that imports nothing heavy."""

import subprocess
import sys

import pytest
import typer

from shufflec.cli import main as cli
from shufflec.errors import DeviceError, ExitCode, InputFileError, NoSpaceError, OptionError, ToolMissingError

HEAVY = ("torch", "tvm", "onnx", "onnxruntime", "nncf", "sklearn", "numpy", "PIL", "scipy")


def run_raising(monkeypatch, error):
    """Runs a command that raises `error`; returns the exit code."""
    app = typer.Typer()

    @app.command()
    def fail():
        raise error

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.delenv("SHUFFLEC_DEBUG", raising=False)
    return cli.run_command_line([])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OptionError("--groups", 5, "expected 1, 2, 3, 4 or 8"), ExitCode.USAGE),
        (InputFileError("a.onnx", "is truncated"), ExitCode.BAD_INPUT),
        (DeviceError("10.0.0.1:9090: no answer within 5 s"), ExitCode.DEVICE),
        (ToolMissingError("qemu-aarch64", "start a virtual Pi", "apt-get install qemu-user"), ExitCode.TOOL_MISSING),
        (NoSpaceError("out: the disk is full"), ExitCode.NO_SPACE),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_one_line(monkeypatch, capsys, error, code):
    assert run_raising(monkeypatch, error) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: ")


def test_names_from_outside_cannot_break_the_line(monkeypatch, capsys):
    run_raising(monkeypatch, InputFileError("evil\n\x1b[31mname", "no such file"))
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1
    assert "\x1b" not in captured


def test_an_unknown_command_is_a_usage_error(capsys):
    assert cli.run_command_line(["frobnicate"]) == ExitCode.USAGE
    assert "frobnicate" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["compile", "--help"], ["profile", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from shufflec.cli.main import run_command_line\n"
        f"assert run_command_line({arguments!r}) == 0\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.rstrip().endswith("HEAVY []")


def test_every_command_has_help_with_an_example():
    result = subprocess.run(
        [sys.executable, "-m", "shufflec.cli.main", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    commands = [
        "compile",
        "run",
        "profile",
        "eval",
        "train",
        "quantize",
        "models",
        "targets",
        "device",
        "doctor",
        "bench",
    ]
    for command in commands:
        assert command in result.stdout
    for command in commands:
        text = subprocess.run(
            [sys.executable, "-m", "shufflec.cli.main", command, "--help"],
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout  # fmt: skip
        assert f"shufflec {command}" in text.replace("Usage: shufflec", "", 1), f"{command} --help shows no example"
