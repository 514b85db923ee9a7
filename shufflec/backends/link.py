"""Links kernels, program and runtime to a shared library, reproducibly: no paths, times or build ids in it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tvm_ffi

from shufflec.backends.codegen import CONSTANTS_FILE
from shufflec.errors import OptionError, ShufflecError, ToolMissingError

_NATIVE = Path(__file__).resolve().parent / "native"
#: Old enough for every Raspberry Pi OS in use (Debian 10 has glibc 2.28).
GLIBC = "2.28"
_FLAGS = (
    "-std=c11", "-O2", "-g0", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-ident", "-ffile-prefix-map=.=",
    "-Wl,--build-id=none", "-Wl,-s", "-Wl,-z,noexecstack", "-Wl,--version-script=exports.map",
)  # fmt: skip
_TIMEOUT_S = 300


def compiler(triple: str, cc: str | None) -> list[str]:
    """The compiler's command line. cc: the user's own ("aarch64-linux-gnu-gcc"), or None for the packaged one.

    Raises OptionError for a cc that is not there, ToolMissingError when the packaged one is not installed.
    """
    if cc is not None:
        command = shlex.split(cc)
        if not command or shutil.which(command[0]) is None:
            raise OptionError("--cc", cc, "no such program", "give a C compiler that generates code for the target")
        return command
    probe = subprocess.run([sys.executable, "-m", "ziglang", "version"], capture_output=True, check=False)
    if probe.returncode != 0:
        raise ToolMissingError("ziglang", "link code for the target", "pip install ziglang==0.17.0, or use --cc")
    return [sys.executable, "-m", "ziglang", "cc", "-target", f"{triple}.{GLIBC}"]


def link_library(
    triple: str,
    objects: dict[str, bytes],
    program: str,
    constants: str,
    blob: bytes,
    cc: str | None = None,
    extra: str | None = None,
    flags: tuple[str, ...] = (),
) -> bytes:
    """The shared library. objects: by symbol; program: C text; constants, blob: assembler text and what it places.
    extra: one more source of native/; flags: of the compiler, beside the usual ones.

    Raises ShufflecError with the compiler's first message when linking fails.
    """
    command = compiler(triple, cc)
    with tempfile.TemporaryDirectory(prefix="shufflec-") as name:
        folder = Path(name)
        (folder / "program.c").write_text(program)
        (folder / "constants.S").write_text(constants)
        (folder / CONSTANTS_FILE).write_bytes(blob)
        more = [extra] if extra else []
        for source in ("shufflec.h", "runtime.c", "tvm_module.c", "exports.map", *more):
            shutil.copyfile(_NATIVE / source, folder / source)
        names = []
        for symbol, code in sorted(objects.items()):
            names.append(f"{symbol}.o")
            (folder / names[-1]).write_bytes(code)
        include = f"-I{tvm_ffi.libinfo.find_include_path()}"
        sources = ["program.c", "runtime.c", "tvm_module.c", "constants.S", *more, *names]
        _run([*command, *_FLAGS, *flags, include, "-o", "network.so", *sources], folder)
        return (folder / "network.so").read_bytes()


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ShufflecError(f"{command[0]} took more than {_TIMEOUT_S} s to link the network") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise ShufflecError(f"linking the network failed: {lines[0] if lines else 'no message'}", "try another --cc")
