"""What is installed of everything that shufflec uses, what a missing piece costs, and the command that mends it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata

from shufflec.devices.arm64_runtime import wheel_versions
from shufflec.devices.emulator import INSTALL, find_emulator, missing_libraries
from shufflec.devices.qemu_board import INSTALL as BOARD_INSTALL
from shufflec.devices.qemu_board import PROGRAM as BOARD_PROGRAM
from shufflec.errors import NoSpaceError, ToolMissingError
from shufflec.files import cache_dir

_NEEDED_MB = 200
# Distribution -> what is lost without it.
_PACKAGES = {
    "torch": "train, and compile from a checkpoint",
    "apache-tvm": "compile, run and profile",
    "apache-tvm-ffi": "compile, run and profile",
    "onnx": "quantize and compile",
    "nncf": "quantize",
    "onnxruntime": "quantize, and compare with ONNX Runtime",
    "numpy": "everything",
    "pillow": "read images",
    "safetensors": "read and write checkpoints",
    "scikit-learn": "the embedded digits data set",
    "ziglang": "link for ARM boards and build the virtual Pi",
    "cloudpickle": "TVM's own RPC server (the host target)",
    "psutil": "TVM's own RPC server (the host target)",
    "tornado": "TVM's RPC tracker",
}
_PIN = re.compile(r"([A-Za-z0-9-]+)==([^\s;,]+)")


@dataclass(frozen=True)
class Piece:
    """name: of the piece. version: what was found, "" when it is missing. problem: what is wrong, "" when nothing.
    costs: what does not work without it. mend: the command that mends it. required: by the main job (compile for a
    board, run and profile on the virtual Pi)."""

    name: str
    version: str
    problem: str
    costs: str
    mend: str
    required: bool

    @property
    def ok(self) -> bool:
        return not self.problem


def examine() -> list[Piece]:
    """Every piece, in the order of the main job. Imports nothing heavy."""
    pins = _pinned_versions()
    packages = [_package(name, costs, pins.get(name)) for name, costs in _PACKAGES.items()]
    return [_python(), *packages, _pip(), _emulator(), _arm_libraries(), _virtual_pi_programs(), _boards(), _cache()]


def _pinned_versions() -> dict[str, str]:
    """Versions that shufflec requires exactly; empty when it runs from a checkout that was not installed."""
    try:
        required = metadata.requires("shufflec") or []
    except metadata.PackageNotFoundError:
        return {}
    return {found[1].lower(): found[2] for line in required if (found := _PIN.match(line))}


def _python() -> Piece:
    version = ".".join(map(str, sys.version_info[:3]))
    problem = "" if sys.version_info[:2] == (3, 11) else "expected 3.11"
    return Piece("python", version, problem, "the pinned packages", "make install PYTHON=python3.11", True)


def _package(name: str, costs: str, pin: str | None) -> Piece:
    mend = f"python -m pip install {name}{'==' + pin if pin else ''}"
    required = name != "tornado"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Piece(name, "", "missing", costs, mend, required)
    same = pin is None or version.split("+")[0] == pin  # torch's CPU build is 2.13.0+cpu
    return Piece(name, version, "" if same else f"expected {pin}", costs, mend, required)


def _pip() -> Piece:
    costs = "fetch TVM's runtime for AArch64, on the first use of the virtual Pi"
    found = importlib.util.find_spec("pip") is not None
    fetched = _runtime_folder_exists()
    problem = "" if found or fetched else "missing"
    version = metadata.version("pip") if found else ""
    return Piece("pip", version, problem, costs, "python -m ensurepip", True)


def _emulator() -> Piece:
    costs = "the virtual Pi: results cannot be checked or profiled without a real board"
    program = shutil.which("qemu-aarch64")
    if program is None:
        return Piece("qemu-aarch64", "", "missing", costs, INSTALL, True)
    try:
        return Piece("qemu-aarch64", find_emulator().version, "", costs, INSTALL, True)
    except ToolMissingError as error:
        # Its own libraries are a piece of their own.
        problem = "" if missing_libraries() else error.message
        return Piece("qemu-aarch64", "found", problem, costs, INSTALL, True)


def _arm_libraries() -> Piece:
    missing = missing_libraries()
    problem = f"missing: {', '.join(missing)}" if missing else ""
    return Piece("arm64 libraries", "" if missing else "found", problem, "the virtual Pi", INSTALL, True)


def _boards() -> Piece:
    costs = "the emulated Cortex-M boards: firmware compiles, unverified"
    found = shutil.which(BOARD_PROGRAM) is not None
    return Piece(BOARD_PROGRAM, "found" if found else "", "" if found else "missing", costs, BOARD_INSTALL, False)


def _runtime_folder_exists() -> bool:
    try:
        return (cache_dir("devices") / ("tvm-aarch64-" + "-".join(wheel_versions().values()))).is_dir()
    except (NoSpaceError, metadata.PackageNotFoundError):
        return False


def _virtual_pi_programs() -> Piece:
    built = any(cache_dir("devices").glob("server-*")) if not _cache().problem else False
    state = "built" if built else "built on first use (about a minute)"
    return Piece("virtual Pi programs", state, "", "the virtual Pi", "shufflec device up --target rasp4", False)


def _cache() -> Piece:
    try:
        folder = cache_dir("devices")
        free = shutil.disk_usage(folder).free // 1_000_000
    except NoSpaceError as error:
        return Piece("cache folder", "", error.message, "builds are not kept", "export SHUFFLEC_CACHE=DIR", True)
    problem = "" if free >= _NEEDED_MB else f"{free} MB free, {_NEEDED_MB} MB needed"
    return Piece("cache folder", str(folder.parent), problem, "builds are not kept", "export SHUFFLEC_CACHE=DIR", True)
