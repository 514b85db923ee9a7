"""One emulated core that kernels are loaded into, one after the other, with unmapped pages around every buffer.

A fault (an access outside a buffer, a store into constants, an instruction the core lacks, no end within a minute) is
an answer like any other; the process goes on with the next kernel.
"""

from __future__ import annotations

import importlib.util
import signal
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shufflec.devices.emulator import find_emulator
from shufflec.kernels.kernel import Kernel
from shufflec.kernels.lowering import compile_object, llvm_target
from shufflec.kernels.portable.families import PREFIX
from shufflec.zig import run_zig

CPUS = {"neon": "cortex-a72", "dotprod": "cortex-a76"}
FEATURES = {"neon": ("-dotprod", "-rdm"), "dotprod": ("+dotprod", "-fullfp16")}
BUFFERS = ("arena", "weights", "requant", "accumulators")
_SOURCE = Path(__file__).with_name("guarded.c")


@dataclass(frozen=True)
class Call:
    """Arguments of a kernel. buffers: int8 content of arena, weights, requant and accumulators, to the last byte.

    at_front: whether buffers begin on a page, so that an access before them faults, or end on one. offsets: in0, in1,
    out, scratch. ranges: of tiles, computed in this order.
    """

    buffers: tuple[np.ndarray, ...]
    at_front: bool
    offsets: tuple[int, int, int, int]
    ranges: tuple[tuple[int, int], ...]
    writes_accumulators: bool = False


@dataclass(frozen=True)
class Answer:
    """fault: empty, or what happened and where. arena, accumulators: int8, as the kernel left them."""

    fault: str
    arena: np.ndarray
    accumulators: np.ndarray


class GuardedCore:
    """An emulated core of an ISA. `load` a kernel, `run` it any number of times, `close` at the end."""

    def __init__(self, isa: str):
        self.isa = isa
        emulator = find_emulator()
        self._folder = tempfile.TemporaryDirectory(prefix="shufflec-kernels-")
        self.folder = Path(self._folder.name)
        program = self.folder / "guarded"
        run_zig(
            ["cc", "-target", "aarch64-linux-gnu.2.28", "-O1", "-o", str(program), str(_SOURCE)], "the kernel tests"
        )
        self._errors = open(self.folder / "stderr", "w+b")  # noqa: SIM115 (closed in `close`)
        self._process = subprocess.Popen(
            [str(emulator.program), "-cpu", CPUS[isa], "-L", str(emulator.sysroot), str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._loaded: dict[tuple, Path] = {}

    def load(self, kernel: Kernel) -> Path:
        """Compiles a kernel as the backends do, and links it to a library of its own; the same kernel only once."""
        assert kernel.workload.isa == self.isa
        key = kernel.workload, kernel.family, kernel.tiling
        if key not in self._loaded:
            self._loaded[key] = self._compile(kernel, self.folder / f"kernel{len(self._loaded)}.o")
        return self._loaded[key]

    def _compile(self, kernel: Kernel, path: Path) -> Path:
        target = llvm_target("aarch64-linux-gnu", kernel.llvm_mcpu or CPUS[self.isa], FEATURES[self.isa])
        path.write_bytes(compile_object(kernel.prim_func, "kernel", target, not kernel.family.startswith(PREFIX)))
        library = path.with_suffix(".so")
        # Not through `python -m ziglang`: starting Python takes longer than linking.
        zig = Path(importlib.util.find_spec("ziglang").origin).with_name("zig")
        subprocess.run([zig, "ld.lld", "-shared", "--strip-debug", "-o", library, path], check=True)
        path.unlink()
        return library

    def run(self, library: Path, call: Call) -> Answer:
        """Runs a loaded kernel. Raises RuntimeError when the emulator itself ends."""
        name = str(library).encode()
        sizes = [len(buffer) for buffer in call.buffers]
        head = (*sizes, call.at_front, call.writes_accumulators, *call.offsets, len(call.ranges))
        flat = [bound for pair in call.ranges for bound in pair]
        request = [struct.pack("<i", len(name)), name, struct.pack(f"<{len(head)}i", *head)]
        request += [struct.pack(f"<{len(flat)}i", *flat), *(buffer.tobytes() for buffer in call.buffers)]
        try:
            self._process.stdin.write(b"".join(request))
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise RuntimeError(self._last_words()) from error
        number, index, distance = struct.unpack("<3i", self._read(12))
        arena, accumulators = (np.frombuffer(self._read(sizes[i]), np.int8) for i in (0, 3))
        return Answer(self._fault(number, index, distance, call), arena, accumulators)

    def close(self) -> None:
        """Ends the process and removes its files."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()
        self._folder.cleanup()

    def _read(self, size: int) -> bytes:
        data = self._process.stdout.read(size)
        if len(data) != size:
            raise RuntimeError(self._last_words())
        return data

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        return f"the emulated process ended with code {code}: {self._errors.read()[-500:].decode(errors='replace')}"

    @staticmethod
    def _fault(number: int, index: int, distance: int, call: Call) -> str:
        if number == 0:
            return ""
        name = signal.Signals(number).name
        if index < 0:
            return f"{name} at an address near no buffer"
        size = len(call.buffers[index])
        if distance < 0:
            where = f"{-distance} bytes before {BUFFERS[index]}"
        elif distance >= size:
            where = f"{distance - size} bytes behind {BUFFERS[index]}"
        else:
            where = f"store to byte {distance} of {BUFFERS[index]}"
        return f"{name}: {where}"
