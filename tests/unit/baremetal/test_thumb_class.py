"""The firmware counter's decoder: assembled instructions fall into the class that their mnemonic says."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from shufflec.devices.build import NATIVE
from shufflec.targets.target import M_INSTRUCTION_CLASSES
from shufflec.zig import run_zig

INSTRUCTIONS = {
    "load": "ldr r0, [r1]; ldrb r0, [r1, #3]; ldrsb r0, [r1, r2]; ldrsh.w r0, [r1, #200]; ldrd r0, r1, [r2, #8];"
    " ldm r0!, {r1, r2}; ldmdb r0, {r1, r2}; pop {r4, pc}; ldr r0, [pc, #8]; ldr r0, [r1, #-4]; ldrex r0, [r1]",
    "store": "str r0, [r1]; strb r0, [r1, r2]; strh.w r0, [r1, #200]; strd r0, r1, [r2, #8]; stm r0!, {r1, r2};"
    " push {r4, lr}; stmdb sp!, {r4-r11}; str r0, [r1, #-4]!",
    "branch": "b 1f; b.w 1f; bne 1f; bne.w 1f; bl 1f; bx lr; blx r3; cbz r0, 1f; cbnz r1, 1f; tbb [pc, r0]",
    "multiply": "muls r0, r1, r0; mla r0, r1, r2, r3; smlad r0, r1, r2, r3; smlabb r0, r1, r2, r3; smmulr r0, r1, r2;"
    " smull r0, r1, r2, r3; smlal r0, r1, r2, r3; sdiv r0, r1, r2",
    "vector": "vadd.i32 q0, q1, q2; vldrb.s32 q0, [r0]; vstrb.32 q0, [r0]; vmladava.s8 r0, q0, q1;"
    " vrmulh.s32 q0, q1, q2; vmov q0[2], q0[0], r0, r1; vadd.f32 s0, s1, s2; vldr s0, [r0]; vpush {d8}; vmov r0, s0",
    "scalar": "adds r0, #1; add.w r0, r1, r2, lsl #3; mov r0, r1; movw r0, #1000; sxtb16 r0, r1, ror #8;"
    " ssat r0, #8, r1; cmp r0, #3; nop; nop.w; uxtb r0, r1; dsb;"
    " ubfx r0, r1, #3, #4; bic.w r0, r0, #1; sub sp, #8; clz r0, r1",
}


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    library = folder / "decoder.so"
    source = NATIVE / "mcu_plugin" / "thumb_class.c"
    run_zig(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], "a test")
    function = ctypes.CDLL(str(library)).shufflec_thumb_class
    function.argtypes = (ctypes.c_uint16, ctypes.c_uint16, ctypes.c_size_t)
    return function


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_class_of_instructions(name, decoder, tmp_path):
    lines = [line.strip() for line in INSTRUCTIONS[name].split(";")]
    head = ".syntax unified\n.thumb\n.text\n"
    (tmp_path / "a.S").write_text(head + "\n".join(lines) + "\n1: nop\n")
    target = ["-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m55+mve+fp_armv8d16sp"]
    run_zig(["cc", *target, "-c", "-o", str(tmp_path / "a.o"), str(tmp_path / "a.S")], "a test")
    dump = [sys.executable, "-m", "ziglang", "objcopy", "-O", "binary", "-j", ".text", "a.o", "a.bin"]
    subprocess.run(dump, cwd=tmp_path, check=True, capture_output=True)
    code = (tmp_path / "a.bin").read_bytes()[:-2]
    halves = [int.from_bytes(code[i : i + 2], "little") for i in range(0, len(code), 2)]
    found, at = [], 0
    while at < len(halves):
        wide = halves[at] >> 11 in (0x1D, 0x1E, 0x1F)
        second = halves[at + 1] if wide else 0
        found.append(M_INSTRUCTION_CLASSES[decoder(halves[at], second, 4 if wide else 2)])
        at += 2 if wide else 1
    assert list(zip(lines, found, strict=True)) == [(line, name) for line in lines]
