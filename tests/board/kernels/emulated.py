"""Runs kernels on an emulated A64 core: one static executable, one qemu run, many cases.

A case's arena is filled with random bytes, the output must equal ir/reference.py and every byte that belongs
neither to the output nor to the scratch must come back unchanged.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shufflec.ir import reference
from shufflec.ir.graph import Op
from shufflec.kernels.kernel import ALIGNMENT, ARENA_SLACK, Kernel
from shufflec.kernels.lowering import compile_object, llvm_target
from shufflec.kernels.portable.families import PREFIX

FEATURES = {"neon": ("-dotprod", "-rdm"), "dotprod": ("+dotprod", "-fullfp16")}
CPUS = {"neon": "cortex-a72", "dotprod": "cortex-a76"}

DRIVER = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
typedef void (*kernel)(void *, const void *, const void *, const void *, int, int, int, int, int, int);
%s
static kernel table[] = {%s};
static void *take(FILE *f, size_t n) {
    char *p = aligned_alloc(64, (n + 191) & ~(size_t)63);
    if (!p || (n && fread(p, 1, n, f) != n)) exit(3);
    return p;
}
int main(int argc, char **argv) {
    FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
    int cases;
    if (!in || !out || fread(&cases, 4, 1, in) != 1) return 2;
    for (int i = 0; i < cases; i++) {
        int h[11];
        if (fread(h, 4, 11, in) != 11) return 4;
        void *arena = take(in, h[0]), *w = take(in, h[1]), *q = take(in, h[2]), *a = take(in, h[3]);
        getpriority(0x5eed, 0);
        table[h[4]](arena, w, q, a, h[5], h[6], h[7], h[8], h[9], h[10]);
        getpriority(0x5eed, 0);
        fwrite(arena, 1, h[0], out);
        fwrite(a, 1, h[3], out);
        free(arena), free(w), free(q), free(a);
    }
    return fclose(out);
}
"""


@dataclass
class Case:
    """One call of one kernel. inputs: the operator's inputs as the kernel reads them (padded already).

    expected: the written pixels (height, width, channels) at channel offset `channel` of the output buffer;
    weights, accumulators: replace the packed constants (quantize's input, dequantize's output). tiles: only these are
    computed; then every output byte must be right or unchanged, and not all of them unchanged.
    """

    name: str
    kernel: Kernel
    constants: dict[str, np.ndarray]
    inputs: list[np.ndarray]
    expected: np.ndarray
    pitch: int = 0
    row: int = 0
    channel: int = 0
    weights: np.ndarray | None = None
    accumulators: np.ndarray | None = None
    tiles: tuple[int, int] | None = None

    def __post_init__(self):
        if self.expected.ndim == 3:
            self.pitch = self.pitch or self.expected.shape[2]
            self.row = self.row or self.expected.shape[1]


def conv_reference(constants: dict, attrs: dict, x: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray:
    """The reference's conv2d, any attributes."""
    inputs = ("x",) if residual is None else ("x", "r")
    return reference.conv2d(Op("conv2d", "case", inputs, "y", attrs, constants), x, residual)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


class _Arena:
    """Lays out a case: inputs, output and scratch with canaries between."""

    def __init__(self, case: Case, rng: np.random.Generator):
        self.case = case
        self.offsets, at = [], ALIGNMENT
        for value in case.inputs:
            self.offsets.append(at)
            at += _aligned(value.nbytes) + ALIGNMENT
        self.out = at + case.channel
        in_arena = case.accumulators is None and case.expected.dtype == np.int8
        size = 0
        if in_arena:
            size = case.expected.shape[0] * case.row * case.pitch
        at += _aligned(size + case.channel) + ALIGNMENT
        self.scratch = at
        at += _aligned(case.kernel.scratch_bytes) + ALIGNMENT
        self.bytes = rng.integers(-128, 128, at + ARENA_SLACK).astype(np.int8)
        for offset, value in zip(self.offsets, case.inputs, strict=True):
            self.bytes[offset : offset + value.nbytes] = value.reshape(-1).view(np.int8)
        self.in_arena = in_arena

    def wrong(self, after: np.ndarray, accumulators: np.ndarray) -> str:
        """Empty if the result is right, otherwise what is wrong."""
        case, want = self.case, self.bytes.copy()
        want[self.scratch : self.scratch + case.kernel.scratch_bytes] = 0
        after = after.copy()
        after[self.scratch : self.scratch + case.kernel.scratch_bytes] = 0
        got = accumulators.view(case.expected.dtype)[: case.expected.size] if not self.in_arena else None
        if self.in_arena:
            height, width, channels = case.expected.shape
            index = (np.arange(height)[:, None] * case.row + np.arange(width))[..., None] * case.pitch
            index = self.out + index + np.arange(channels)
            got = after[index]
            if case.tiles:
                untouched = got == want[index]
                if untouched.all():
                    return "nothing was computed"
                got = np.where(untouched, case.expected, got)
            want[index] = after[index]
        if not np.array_equal(got.reshape(case.expected.shape), case.expected):
            bad = np.argwhere(got.reshape(case.expected.shape) != case.expected)
            return f"{len(bad)} of {case.expected.size} outputs differ, first at {bad[0].tolist()}"
        if not np.array_equal(after, want):
            return f"byte {np.argwhere(after != want)[0, 0]} outside the output was overwritten"
        return ""


def run_cases(cases: list[Case], folder: Path, plugin: Path | None = None) -> list[tuple[str, int]]:
    """Runs all cases; (what is wrong or "", instructions or -1) of each. All cases have the same ISA."""
    isa = cases[0].kernel.workload.isa
    rng = np.random.default_rng(7)
    kernels = {id(case.kernel): case.kernel for case in cases}
    numbers = {key: number for number, key in enumerate(kernels)}
    objects = []
    for key, kernel in kernels.items():
        symbol = f"kernel_{numbers[key]}"
        target = llvm_target("aarch64-linux-gnu", kernel.llvm_mcpu or CPUS[isa], FEATURES[isa])
        path = folder / f"{symbol}.o"
        path.write_bytes(compile_object(kernel.prim_func, symbol, target, not kernel.family.startswith(PREFIX)))
        objects.append(str(path))
    names = [f"kernel_{number}" for number in numbers.values()]
    externs = "\n".join(
        f"extern void {n}(void *, const void *, const void *, const void *, int, int, int, int, int, int);"
        for n in names
    )
    (folder / "driver.c").write_text(DRIVER % (externs, ", ".join(names)))
    executable = str(folder / "cases")
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-musl", "-O1", "-static", "-o", executable]
    subprocess.run([*zig, str(folder / "driver.c"), *objects], check=True)

    arenas, data = [], [struct.pack("<i", len(cases))]
    for case in cases:
        arena = _Arena(case, rng)
        arenas.append(arena)
        packed = case.kernel.pack(case.constants)
        slack = np.zeros(ARENA_SLACK, np.int8)
        weights = packed.weights if case.weights is None else case.weights
        weights = np.concatenate([weights.reshape(-1).view(np.int8), slack])
        accumulators = packed.accumulators if case.accumulators is None else case.accumulators
        in0, in1 = (*arena.offsets, 0, 0)[:2]
        begin, end = case.tiles or (0, case.kernel.tiles)
        header = (len(arena.bytes), weights.nbytes, packed.requant.nbytes, accumulators.nbytes,
                  numbers[id(case.kernel)], in0, in1, arena.out, arena.scratch, begin, end)  # fmt: skip
        data += [struct.pack("<11i", *header), arena.bytes.tobytes(), weights.tobytes()]
        data += [packed.requant.tobytes(), accumulators.tobytes()]
        case.accumulators_bytes = accumulators.nbytes
    (folder / "in.bin").write_bytes(b"".join(data))
    command = ["qemu-aarch64", "-cpu", CPUS[isa], *(["-plugin", str(plugin)] if plugin else [])]
    done = subprocess.run(
        [*command, executable, str(folder / "in.bin"), str(folder / "out.bin")],
        check=True,
        capture_output=True,
        text=True,
    )
    marks = [int(line.split()[1]) for line in done.stderr.splitlines() if line.startswith("MARK")]
    output = np.frombuffer((folder / "out.bin").read_bytes(), np.int8)
    results, at = [], 0
    for number, (case, arena) in enumerate(zip(cases, arenas, strict=True)):
        after = output[at : at + len(arena.bytes)]
        at += len(arena.bytes)
        accumulators = output[at : at + case.accumulators_bytes]
        at += case.accumulators_bytes
        count = marks[2 * number + 1] - marks[2 * number] if marks else -1
        results.append((arena.wrong(after, accumulators), count))
    return results
