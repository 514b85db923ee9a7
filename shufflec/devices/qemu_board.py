"""QEMU's Cortex-M boards: run test firmware, count its instructions by region, fetch its answers.

The firmware (backends/native/baremetal/main.c) reads request.bin and writes answer.bin by semihosting, in a folder of
its own; the plugin (native/mcu_plugin) counts between the marks that the firmware executes. Counts are exact and the
same in every run.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shufflec.devices.build import build_lock, build_plugin
from shufflec.devices.emulator import plugin_api
from shufflec.errors import DeviceError, ToolMissingError
from shufflec.targets.target import M_INSTRUCTION_CLASSES, Target

PROGRAM = "qemu-system-arm"
INSTALL = "sudo apt-get install -y qemu-system-arm"
_PURPOSE = "run firmware on an emulated Cortex-M board"
_MAGIC = 0x55434D53
_TRAILER = struct.Struct("<III")
_EXIT_CODES = {2: "the request could not be read", 3: "the answer could not be written", 99: "the core faulted"}
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class BoardRun:
    """What a run left. answer: its bytes without the trailer; regions: instructions by class, one a mark pair;
    stack_bytes: the deepest the stack was in whole inferences."""

    answer: bytes
    regions: tuple[dict[str, int], ...]
    stack_bytes: int


def run_firmware(
    target: Target,
    elf: bytes,
    inputs: Sequence[np.ndarray],
    layers: bool = False,
    say: Callable[[str], None] = lambda _: None,
    timeout_s: float = TIMEOUT_S,
) -> BoardRun:
    """Runs the test firmware on inputs, int8 (H, W, C) each. layers: layer by layer, with every layer's tensor.

    Raises ToolMissingError without QEMU, DeviceError when the firmware faults, hangs, or writes outside of its arena.
    """
    program, plugin = find_board(target, say)
    with tempfile.TemporaryDirectory(prefix="shufflec-board-") as name:
        folder = Path(name)
        (folder / "firmware.elf").write_bytes(elf)
        header = struct.pack("<III", _MAGIC, int(layers), len(inputs))
        (folder / "request.bin").write_bytes(
            header + b"".join(np.ascontiguousarray(x, np.int8).tobytes() for x in inputs)
        )
        command = [
            program, "-M", target.machine, "-nographic", "-monitor", "none", "-serial", "none",
            "-semihosting-config", "enable=on,target=native", "-plugin", f"{str(plugin).replace(',', ',,')},out=counts",
            "-kernel", "firmware.elf",
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceError(f"the emulated {target.title} did not finish within {timeout_s:g} s") from error
        if done.returncode != 0:
            reason = _EXIT_CODES.get(done.returncode) or _last_line(done.stderr) or f"code {done.returncode}"
            raise DeviceError(f"the firmware on the emulated {target.title} ended badly: {reason}")
        answer = (folder / "answer.bin").read_bytes()
        counts = (folder / "counts").read_text()
    return _parsed(target, answer, counts)


def find_board(target: Target, say: Callable[[str], None] = lambda _: None) -> tuple[str, Path]:
    """(the emulator's program, the counting plugin), built on first use. Raises ToolMissingError."""
    if not target.machine:
        raise DeviceError(f"no emulated board is known for {target.name}", "its firmware compiles, unverified")
    program = shutil.which(PROGRAM)
    if program is None:
        raise ToolMissingError(PROGRAM, _PURPOSE, INSTALL)
    output = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    found = re.search(r"version (\d+\.\d+(?:\.\d+)?)", output)
    if found is None:
        raise ToolMissingError(f"a qemu-system-arm that says its version ({program} did not)", _PURPOSE, INSTALL)
    with build_lock():
        return program, build_plugin(plugin_api(found[1]), say, "mcu_plugin")


def _parsed(target: Target, answer: bytes, counts: str) -> BoardRun:
    if len(answer) < _TRAILER.size:
        raise DeviceError(f"the firmware on the emulated {target.title} wrote no answer")
    stack, whole, magic = _TRAILER.unpack(answer[-_TRAILER.size :])
    if magic != _MAGIC:
        raise DeviceError(f"the firmware on the emulated {target.title} stopped half-way")
    if not whole:
        raise DeviceError(f"the firmware on the emulated {target.title} wrote outside of its arena")
    regions = tuple(
        dict(zip(M_INSTRUCTION_CLASSES, map(int, line.split()), strict=True)) for line in counts.splitlines()
    )
    return BoardRun(answer[: -_TRAILER.size], regions, stack)


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
