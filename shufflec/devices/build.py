"""Builds the virtual Pi's two programs on first use: the RPC server (AArch64) and the counter (a plugin of this host's
QEMU). Results are kept by a hash of everything that goes into them, so a changed source or tool builds anew."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shufflec.devices.arm64_runtime import arm64_runtime, wheel_versions
from shufflec.devices.emulator import Emulator
from shufflec.errors import ToolMissingError
from shufflec.files import atomic_directory, cache_dir
from shufflec.zig import run_zig, zig_version

NATIVE = Path(__file__).resolve().parent / "native"
SERVER = "shufflec_rpc_server"
PLUGIN = "libshufflec_counter.so"
GLIBC = "2.28"  # old enough for Raspberry Pi OS of 2019 and for TVM's manylinux wheels

Say = Callable[[str], None]

# TVM_FFI_DLL: tvm-ffi marks its C++ error class for export. Exported from here, libtvm_runtime.so would bind to this
# program's copy, made by another C++ library (zig's libc++, not libstdc++), and crash on the first exception.
_SERVER_FLAGS = ["-std=c++17", "-O2", "-s", "-fvisibility=hidden", "-DTVM_FFI_DLL=", "-DTVM_FFI_DLL_EXPORT="]
# --no-as-needed: the runtime registers its functions when it is loaded, no symbol of it is referenced.
_SERVER_LIBRARIES = ["-Wl,--no-as-needed", "-ltvm_runtime", "-ltvm_runtime_extra", "-ltvm_ffi", "-Wl,-rpath,$ORIGIN"]
_PLUGIN_FLAGS = ["-O2", "-s", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread"]


@dataclass(frozen=True)
class NativePrograms:
    """Paths of the built programs; the server's folder also holds the TVM libraries that it loads."""

    server: Path
    plugin: Path


def native_programs(emulator: Emulator, say: Say = lambda _: None) -> NativePrograms:
    """Both programs, built now if this machine's cache does not hold them. Safe with several processes at once.

    say: told before anything that takes time.
    Raises ToolMissingError (compiler, pip), NoSpaceError, or ShufflecError when a source does not compile.
    """
    with build_lock():
        return NativePrograms(build_server(say), build_plugin(emulator.plugin_api, say))


@contextmanager
def build_lock() -> Iterator[None]:
    """One builder at a time on this machine; the lock ends with the process, however it ends."""
    with open(cache_dir("devices") / "build.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_server(say: Say) -> Path:
    """The RPC server for AArch64 Linux, beside the libraries it needs. Hold `build_lock` around it."""
    versions = wheel_versions()
    sources = sorted((NATIVE / "rpc_server").glob("*.cc"))
    headers = [f"-isystem{_include_folder(package)}" for package in ("tvm", "tvm_ffi")]
    flags = [*_SERVER_FLAGS, f"-DSHUFFLEC_TVM_VERSION={versions['apache-tvm']}"]
    folder = cache_dir("devices") / f"server-{_key(flags + _SERVER_LIBRARIES, sources, versions)}"
    if not folder.is_dir():
        runtime = arm64_runtime(say)
        say("building the RPC server for AArch64 (once)")
        with atomic_directory(folder) as work:
            for library in sorted(runtime.iterdir()):
                shutil.copyfile(library, work / library.name)
            command = ["c++", "-target", f"aarch64-linux-gnu.{GLIBC}", *flags, *headers, "-o", str(work / SERVER)]
            _zig([*command, *map(str, sources), f"-L{work}", *_SERVER_LIBRARIES])
    return folder / SERVER


def build_plugin(api: int, say: Say, sources_folder: str = "tcg_plugin") -> Path:
    """The counter for a QEMU of plugin interface `api`, for this machine's processor. Hold `build_lock` around it.

    sources_folder: of devices/native, "tcg_plugin" for the virtual Pi or "mcu_plugin" for Cortex-M boards.
    """
    sources = sorted((NATIVE / sources_folder).glob("*.c"))
    machine = platform.machine()
    flags = [*_PLUGIN_FLAGS, f"-DSHUFFLEC_QEMU_PLUGIN_API={api}"]
    folder = cache_dir("devices") / f"counter-{_key(flags, sources, {'machine': machine})}"
    if not folder.is_dir():
        say("building the instruction counter (once)")
        with atomic_directory(folder) as work:
            target = f"{machine}-linux-gnu.{GLIBC}"
            _zig(["cc", "-target", target, *flags, "-o", str(work / PLUGIN), *map(str, sources)])
    return folder / PLUGIN


def _include_folder(package: str) -> Path:
    """Headers of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ToolMissingError(package, "build the virtual Pi", "python -m pip install shufflec")
    return Path(spec.origin).parent / "include"


def _key(flags: list[str], sources: list[Path], versions: dict[str, str]) -> str:
    """Hash of all that decides the result: sources and headers, flags, and the versions of tools and wheels."""
    inputs: dict[str, object] = {"flags": flags, "versions": versions, "zig": zig_version(), "glibc": GLIBC}
    shared = [*(NATIVE / "common").glob("*.h"), *sources[0].parent.glob("*.h")]
    for source in sorted([*sources, *shared]):
        inputs[source.relative_to(NATIVE).as_posix()] = hashlib.sha256(source.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _zig(arguments: list[str]) -> None:
    run_zig(arguments, "the virtual Pi")
