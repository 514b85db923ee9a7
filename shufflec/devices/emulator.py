"""What this machine offers to run AArch64 Linux programs: qemu-user and the arm64 system libraries."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from shufflec.errors import ToolMissingError

# Debian's libc6-arm64-cross puts the libraries there; the loader's name is fixed by the AArch64 ABI.
SYSROOT = Path("/usr/aarch64-linux-gnu")
_LIBRARIES = {"lib/ld-linux-aarch64.so.1": "libc6-arm64-cross", "lib/libstdc++.so.6": "libstdc++6-arm64-cross"}
INSTALL = "sudo apt-get install -y qemu-user libc6-arm64-cross libstdc++6-arm64-cross"
_PURPOSE = "run the virtual Pi"


@dataclass(frozen=True)
class Emulator:
    """A usable qemu-aarch64. plugin_api: version of its TCG plugin interface (1, 2 or 3)."""

    program: Path
    version: str
    plugin_api: int
    sysroot: Path


def plugin_api(version: str) -> int:
    """TCG plugin interface to build for, by QEMU's version "major.minor[.patch]".

    Source: QEMU's include/qemu/qemu-plugin.h: 9.0 replaced inline counters (2), 9.1 changed qemu_plugin_insn_data (3).
    Raises ToolMissingError for versions before the interface had system-call callbacks (4.2).
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    if (major, minor) >= (9, 1):
        return 3
    if (major, minor) >= (9, 0):
        return 2
    if (major, minor) >= (4, 2):
        return 1
    raise ToolMissingError(f"qemu-aarch64 4.2 or later (found {version})", _PURPOSE, INSTALL)


def missing_libraries(sysroot: Path = SYSROOT) -> list[str]:
    """Debian packages of arm64 libraries that `sysroot` lacks."""
    return [package for library, package in _LIBRARIES.items() if not (sysroot / library).exists()]


def find_emulator() -> Emulator:
    """Raises ToolMissingError, with the command that installs what is missing."""
    program = shutil.which("qemu-aarch64")
    if program is None:
        raise ToolMissingError("qemu-aarch64", _PURPOSE, INSTALL)
    try:
        output = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolMissingError(f"a working qemu-aarch64 ({program} --version failed)", _PURPOSE, INSTALL) from error
    found = re.search(r"version (\d+\.\d+(?:\.\d+)?)", output)
    if found is None:
        raise ToolMissingError(f"a qemu-aarch64 that says its version ({program} did not)", _PURPOSE, INSTALL)
    if missing := missing_libraries():
        raise ToolMissingError(" and ".join(missing), _PURPOSE, INSTALL)
    return Emulator(Path(program), found[1], plugin_api(found[1]), SYSROOT)
