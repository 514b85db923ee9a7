"""An emulated board behind a pseudo-terminal, with a line between that loses, doubles and changes bytes."""

from __future__ import annotations

import os
import select
import subprocess
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from shufflec.backends.baremetal.export import export_firmware
from shufflec.backends.baremetal.firmware import CompiledFirmware
from shufflec.backends.baremetal.link import compiler_arguments
from shufflec.targets.target import Target
from shufflec.zig import run_zig

SOURCES = (
    "model/shufflec_model.c", "serial/serial.c", "serial/cycles.c", "serial/uart_qemu.c", "serial/serial_main.c",
    "example/start.c",
)  # fmt: skip
#: A counter that advances 1000 at every look, in the place of the weak one: each region measures 1000 cycles.
COUNTER = """#include "serial.h"
int shufflec_cycles_start(void) { return 1; }
uint32_t shufflec_cycles(void) { static uint32_t count = 0xFFFFF000u; return count += 1000; }
uint32_t shufflec_clock_hz(void) { return 8000000; }
"""


def build_serial(compiled: CompiledFirmware, folder: Path, counter: bool) -> Path:
    """The serial firmware from the sources of an exported CMake project."""
    target = compiled.target
    project = export_firmware(compiled, folder / "project", "cmake")
    sources = [str(project / name) for name in SOURCES]
    if counter:
        (folder / "counter.c").write_text(COUNTER)
        sources.append(str(folder / "counter.c"))
    includes = [f"-I{project / name}" for name in ("model", "serial", "example")]
    flags = ["-Os", "-ffreestanding", "-fno-builtin", "-fno-sanitize=undefined", "-DSHUFFLEC_TEST", *includes]
    objects = []
    for number, name in enumerate(sources):
        objects.append(str(folder / f"{number}.o"))
        run_zig([*compiler_arguments(target), *flags, "-c", name, "-o", objects[-1]], "a test")
    script, library = str(project / "example/link.ld"), str(project / "model/libshufflec_kernels.a")
    elf = folder / "serial.elf"
    link = ["-static", f"-Wl,-T,{script}", "-Wl,-e,reset", "-o", str(elf)]
    run_zig([*compiler_arguments(target), *link, *objects, library], "a test")
    return elf


@dataclass
class Faults:
    """A line's faults, one in `every` bytes, of the three kinds in turn; the same ones for the same bytes."""

    every: int
    seed: int = 0
    done: dict[str, int] = field(default_factory=lambda: {"dropped": 0, "doubled": 0, "changed": 0})

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    def through(self, data: bytes) -> bytes:
        passed = bytearray()
        for byte in data:
            if not self.every or self._random.randrange(self.every):
                passed.append(byte)
                continue
            kind = ("dropped", "doubled", "changed")[sum(self.done.values()) % 3]
            self.done[kind] += 1
            if kind == "doubled":
                passed += bytes([byte, byte])
            elif kind == "changed":
                passed.append(byte ^ 1 << self._random.randrange(8))
        return bytes(passed)


@contextmanager
def board_at_port(target: Target, elf: Path, up: Faults, down: Faults) -> Iterator[str]:
    """The path of a pseudo-terminal at whose other end the emulated board sits. up: faults towards the board."""
    master, slave = os.openpty()
    tty.setraw(slave)
    command = [
        "qemu-system-arm", "-M", target.machine, "-nographic", "-monitor", "none", "-serial", "stdio",
        "-semihosting-config", "enable=on,target=native", "-kernel", str(elf),
    ]  # fmt: skip
    board = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    stop, stopping = os.pipe()
    carrier = threading.Thread(target=_carry, args=(master, board, stop, up, down), daemon=True)
    carrier.start()
    try:
        yield os.ttyname(slave)
    finally:
        os.write(stopping, b"x")
        carrier.join()
        board.kill()
        board.wait()
        for pipe in (board.stdin, board.stdout):
            pipe.close()
        for file in (master, slave, stop, stopping):
            os.close(file)


def _carry(master: int, board: subprocess.Popen, stop: int, up: Faults, down: Faults) -> None:
    from_board, to_board = board.stdout.fileno(), board.stdin.fileno()
    while True:
        ready = select.select([master, from_board, stop], [], [])[0]
        if stop in ready:
            return
        if master in ready:
            os.write(to_board, up.through(os.read(master, 4096)))
        if from_board in ready:
            data = os.read(from_board, 4096)
            if not data:
                return
            os.write(master, down.through(data))
