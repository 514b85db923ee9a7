"""Errors that a user sees as one line, and the exit code that each kind ends the process with."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Exit codes of the `shufflec` command; scripts may rely on them."""

    OK = 0
    INTERNAL = 1  # a bug in shufflec: run again with --debug
    USAGE = 2  # a wrong option or argument
    BAD_INPUT = 3  # a file that is missing, corrupt, or not what was expected
    UNSUPPORTED = 4  # a valid model that shufflec cannot compile
    DEVICE = 5  # a board or RPC server that is unreachable, refuses, hangs or drops
    WRONG_RESULT = 6  # the device's outputs differ from the integer reference
    TOOL_MISSING = 7  # a program or package that this step needs is not installed
    NO_SPACE = 8  # a write failed: disk full or not permitted
    INTERRUPTED = 130  # Ctrl-C


class ShufflecError(Exception):
    """Base of every expected error.

    message: what was wrong and where, one line. hint: what to do next, one line, may be empty.
    """

    exit_code = ExitCode.INTERNAL

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class OptionError(ShufflecError):
    """A command-line option or API argument with a value that cannot be used."""

    exit_code = ExitCode.USAGE

    def __init__(self, option: str, value: object, expected: str, hint: str = ""):
        super().__init__(f"{option} {value}: {expected}", hint)
        self.option = option
        self.value = value


class InputFileError(ShufflecError):
    """A file that is missing, truncated, corrupt, or of another kind than expected."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, path: str | Path, message: str, hint: str = ""):
        super().__init__(f"{path}: {message}", hint)
        self.path = Path(path)


class UnsupportedModelError(ShufflecError):
    """A readable model with an operator, shape or quantization that shufflec does not compile."""

    exit_code = ExitCode.UNSUPPORTED


class DeviceError(ShufflecError):
    """A device that cannot be reached, refuses, hangs, or drops the connection."""

    exit_code = ExitCode.DEVICE


class WrongResultError(ShufflecError):
    """Outputs of compiled code that differ from the integer reference."""

    exit_code = ExitCode.WRONG_RESULT


class ToolMissingError(ShufflecError):
    """A program or package that is needed for this step and is not installed."""

    exit_code = ExitCode.TOOL_MISSING

    def __init__(self, tool: str, needed_for: str, install: str):
        super().__init__(f"{tool} is not installed; it is needed to {needed_for}", f"install it: {install}")
        self.tool = tool


class NoSpaceError(ShufflecError):
    """A write that failed because the disk is full or the place is not writable."""

    exit_code = ExitCode.NO_SPACE
