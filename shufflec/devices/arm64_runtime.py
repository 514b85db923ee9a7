"""TVM's runtime libraries for AArch64, taken from TVM's own wheels through pip."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from shufflec.errors import InputFileError, ToolMissingError
from shufflec.files import atomic_directory, cache_dir

PLATFORM = "manylinux_2_28_aarch64"
# Members to unpack, by distribution. The compiler (240 MB unpacked) stays in the wheel.
LIBRARIES = {
    "apache-tvm": ("tvm/lib/libtvm_runtime.so", "tvm/lib/libtvm_runtime_extra.so"),
    "apache-tvm-ffi": ("tvm_ffi/lib/libtvm_ffi.so",),
}
_MAX_LIBRARY = 64 << 20
_ELF_AARCH64 = (b"\x7fELF\x02\x01", b"\xb7\x00")  # 64-bit little-endian; e_machine 183 at byte 18


def wheel_versions() -> dict[str, str]:
    """Installed versions of TVM's two distributions; the board must run the same."""
    return {name: metadata.version(name) for name in LIBRARIES}


def arm64_runtime(say: Callable[[str], None] = lambda _: None) -> Path:
    """Folder with libtvm_runtime.so, libtvm_runtime_extra.so and libtvm_ffi.so for AArch64, fetched on first use.

    say: told before anything that takes time. Hold `build_lock` around it.
    Raises ToolMissingError when pip cannot fetch the wheels, InputFileError for a wheel that is not as expected.
    """
    versions = wheel_versions()
    folder = cache_dir("devices") / ("tvm-aarch64-" + "-".join(versions.values()))
    if not folder.is_dir():
        requirements = [f"{name}=={version}" for name, version in versions.items()]
        say(f"fetching TVM's runtime for AArch64 with pip ({', '.join(requirements)}, about 95 MB, once)")
        with atomic_directory(folder) as unpacked, tempfile.TemporaryDirectory(dir=unpacked.parent) as wheels:
            _download(requirements, Path(wheels))
            for name, members in LIBRARIES.items():
                _unpack(_only_wheel(Path(wheels), name), members, unpacked)
    return folder


def _download(requirements: list[str], folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--platform", PLATFORM, "--dest", str(folder), *requirements]
    shown = f"python -m pip download --no-deps --only-binary=:all: --platform {PLATFORM} {' '.join(requirements)}"
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [
            line for line in done.stderr.splitlines() if line.startswith("ERROR") or "No module named pip" in line
        ]
        reason = errors[-1].removeprefix("ERROR: ") if errors else f"pip ended with code {done.returncode}"
        raise ToolMissingError(
            f"TVM's runtime for AArch64 (pip could not fetch it: {reason})", "build the virtual Pi", f"try `{shown}`"
        )


def _only_wheel(folder: Path, name: str) -> Path:
    found = sorted(folder.glob(f"{name.replace('-', '_')}-[0-9]*.whl"))
    if len(found) != 1:
        raise InputFileError(folder, f"pip download left {len(found)} wheels of {name}, expected 1")
    return found[0]


def _unpack(wheel: Path, members: tuple[str, ...], folder: Path) -> None:
    """Copies exactly the named members, each to its base name, after checking that they are AArch64 libraries."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in members:
                if archive.getinfo(member).file_size > _MAX_LIBRARY:
                    raise InputFileError(wheel, f"{member} is larger than {_MAX_LIBRARY} bytes")
                content = archive.read(member)
                if content[:6] != _ELF_AARCH64[0] or content[18:20] != _ELF_AARCH64[1]:
                    raise InputFileError(wheel, f"{member} is not an AArch64 library")
                (folder / Path(member).name).write_bytes(content)
    except KeyError as error:
        raise InputFileError(wheel, f"lacks a library: {error.args[0]}") from error
    except zipfile.BadZipFile as error:
        raise InputFileError(wheel, f"is not a readable wheel: {error}") from error
