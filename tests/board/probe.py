"""Builds probe.c for a board or for this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tvm_ffi

SOURCE = Path(__file__).with_name("probe.c")


def build_probe(folder: Path, machine: str = "aarch64") -> Path:
    """A shared library probe.so in `folder` for Linux on `machine`."""
    library = folder / "probe.so"
    include = Path(tvm_ffi.__file__).parent / "include"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-gnu.2.28", "-shared", "-fPIC", "-O2"]
    subprocess.run([*command, f"-I{include}", "-o", str(library), str(SOURCE)], check=True)
    return library
