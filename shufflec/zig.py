"""The packaged C and C++ compiler, for programs and libraries that shufflec builds for itself on first use."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib import metadata

from shufflec.errors import ShufflecError, ToolMissingError


def zig_version(needed_to: str = "compile for AArch64") -> str:
    """Raises ToolMissingError, which says what it is `needed_to` do, when the compiler is not installed."""
    if importlib.util.find_spec("ziglang") is None:
        raise ToolMissingError("ziglang", needed_to, "python -m pip install ziglang")
    return metadata.version("ziglang")


def run_zig(arguments: list[str], building: str) -> None:
    """Runs the compiler. building: for the error. Raises ShufflecError with the compiler's first error line."""
    done = subprocess.run(
        [sys.executable, "-m", "ziglang", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines()
        reason = lines[0].strip() if lines else f"it ended with code {done.returncode}"
        raise ShufflecError(f"building {building} with zig failed: {reason}", "see `shufflec doctor`")
