"""The instruction counter's decoder: assembled instructions fall into the class that their mnemonic says."""

import ctypes
import struct
import subprocess
import sys

import pytest

from shufflec.devices.build import NATIVE
from shufflec.targets.target import INSTRUCTION_CLASSES

INSTRUCTIONS = {
    "load": """
        ldr x0, [x1]; ldr w0, [x1, #4]!; ldr x0, [x1], #8; ldr q0, [x1, x2, lsl #4]; ldr d0, [x1, #-8]
        ldrb w0, [x1]; ldrsb x0, [x1]; ldrsh w0, [x1, x2]; ldrsw x0, [x1]; ldur q3, [x1, #3]; ldr b0, [x1]
        ldr h0, [x1]
        ldp x0, x1, [sp]; ldp q0, q1, [x2], #32; ldnp d0, d1, [x2]; ldpsw x0, x1, [x2]
        ld1 {v0.16b}, [x1]; ld1 {v0.16b-v3.16b}, [x1], #64; ld4 {v0.8h-v3.8h}, [x1]; ld1r {v0.4s}, [x1]
        ld1 {v0.s}[1], [x1], #4; ld2 {v0.16b, v1.16b}, [x1], x2
        ldr x0, 1f; prfm pldl1keep, [x1, #256]; prfm pldl1keep, 1f; ldtr x0, [x1]
        ldxr x0, [x1]; ldaxr w0, [x1]; ldxp x0, x1, [x2]; ldar x0, [x1]; ldapr x0, [x1]; ldapur x0, [x1, #8]
        cas x0, x1, [x2]; casp x0, x1, x2, x3, [x4]; casal w0, w1, [x2]; ldadd x0, x1, [x2]; swpal w0, w1, [x2]
        stadd x0, [x2]; ldraa x0, [x1]
    """,
    "store": """
        str x0, [x1]; str q0, [x1, #16]; str q0, [x1], #16; str q0, [x1, x2]; str d0, [x1]; str s0, [x1, #4]!
        strb w0, [x1]; strh w0, [x1, x2]; stur q0, [x1, #1]; str b0, [x1]; sttr x0, [x1]
        stp x29, x30, [sp, #-16]!; stp q0, q1, [x2]; stnp q0, q1, [x2]; stp d8, d9, [sp]
        st1 {v0.16b}, [x1]; st1 {v0.8b-v3.8b}, [x1], #32; st4 {v0.8h-v3.8h}, [x1]; st1 {v0.b}[3], [x1]
        stxr w0, x1, [x2]; stlxr w0, w1, [x2]; stxp w0, x1, x2, [x3]; stlr x0, [x1]; stlur x0, [x1, #8]
    """,
    "branch": """
        b 1f; bl 1f; b.eq 1f; cbz x0, 1f; cbnz w0, 1f; tbz x0, #3, 1f; tbnz w0, #3, 1f; br x0; blr x1; ret; retaa
    """,
    "widening_multiply": """
        smull v0.8h, v1.8b, v2.8b; smull2 v0.8h, v1.16b, v2.16b; smlal v0.8h, v1.8b, v2.8b; smlal2 v0.4s, v1.8h, v2.8h
        smlsl v0.4s, v1.4h, v2.4h; umull v0.8h, v1.8b, v2.8b; umlal2 v0.8h, v1.16b, v2.16b; umlsl v0.2d, v1.2s, v2.2s
        sqdmull v0.4s, v1.4h, v2.4h; sqdmlal v0.4s, v1.4h, v2.4h; sqdmlsl2 v0.2d, v1.4s, v2.4s
        pmull v0.8h, v1.8b, v2.8b
        smull v0.4s, v1.4h, v2.h[3]; smlal v0.4s, v1.4h, v2.h[3]; smlal2 v0.4s, v1.8h, v2.h[7]
        umull v0.4s, v1.4h, v2.h[0]
        umlsl v0.2d, v1.2s, v2.s[1]; sqdmull v0.4s, v1.4h, v2.h[1]; sqdmlal v0.4s, v1.4h, v2.h[1]
        sqdmull s0, h1, h2; sqdmlal d0, s1, s2; sqdmlsl s0, h1, v2.h[1]; sqdmull d0, s1, v2.s[0]
    """,
    "dot": """
        sdot v0.4s, v1.16b, v2.16b; udot v0.2s, v1.8b, v2.8b; usdot v0.4s, v1.16b, v2.16b
        sdot v0.4s, v1.16b, v2.4b[3]; udot v0.4s, v1.16b, v2.4b[0]; usdot v0.4s, v1.16b, v2.4b[1]
        sudot v0.4s, v1.16b, v2.4b[2]; smmla v0.4s, v1.16b, v2.16b; ummla v0.4s, v1.16b, v2.16b
        usmmla v0.4s, v1.16b, v2.16b
    """,
    "simd": """
        add v0.16b, v1.16b, v2.16b; mul v0.8h, v1.8h, v2.8h; mla v0.4s, v1.4s, v2.4s; mla v0.8h, v1.8h, v2.h[1]
        mul v0.4s, v1.4s, v2.s[2]; sqrdmulh v0.4s, v1.4s, v2.4s; sqrdmulh v0.4s, v1.4s, v2.s[1]
        sqdmulh v0.8h, v1.8h, v2.h[0]
        sqrdmlah v0.4s, v1.4s, v2.4s; sqrdmlah v0.4s, v1.4s, v2.s[1]; sadalp v0.4s, v1.8h; saddlp v0.4s, v1.8h
        saddl v0.8h, v1.8b, v2.8b; saddw v0.4s, v1.4s, v2.4h; ssubl v0.8h, v1.8b, v2.8b; sabdl v0.8h, v1.8b, v2.8b
        sabal v0.8h, v1.8b, v2.8b; addhn v0.8b, v1.8h, v2.8h; sshll v0.8h, v1.8b, #0; sqxtn v0.8b, v1.8h
        srshr v0.4s, v1.4s, #7; sqrshrn v0.4h, v1.4s, #3; dup v0.4s, w1; ins v0.s[1], w2; umov w0, v1.s[1]
        smov x0, v1.h[2]
        tbl v0.16b, {v1.16b}, v2.16b; zip1 v0.16b, v1.16b, v2.16b; ext v0.16b, v1.16b, v2.16b, #3; movi v0.4s, #0
        smax v0.16b, v1.16b, v2.16b; addv s0, v1.4s; cmgt v0.4s, v1.4s, v2.4s; bsl v0.16b, v1.16b, v2.16b
        fmla v0.4s, v1.4s, v2.4s; fmla v0.4s, v1.4s, v2.s[1]; fmul v0.4s, v1.4s, v2.s[0]; fadd d0, d1, d2
        fmadd s0, s1, s2, s3
        fcvtns w0, s1; scvtf v0.4s, v1.4s; fmov w0, s1; fmov d0, x1; frintn v0.4s, v1.4s; fcmp s0, s1; fdiv s0, s1, s2
        fmlal v0.4s, v1.4h, v2.4h; fcmla v0.4s, v1.4s, v2.4s, #90; fcmla v0.4s, v1.4s, v2.s[0], #90
        bfdot v0.4s, v1.8h, v2.8h; bfmmla v0.4s, v1.8h, v2.8h; aese v0.16b, v1.16b; sha256h q0, q1, v2.4s
        sqadd s0, s1, s2
    """,
    "scalar": """
        add x0, x1, x2; add x0, x1, #4; sub w0, w1, w2, lsl #3; subs x0, x0, #1; cmp x0, #3; mov x0, #5
        movk x0, #1, lsl #16
        adrp x0, 1f; adr x0, 1f; and x0, x1, #255; orr w0, w1, w2; ubfx x0, x1, #3, #5; lsl x0, x1, x2
        extr x0, x1, x2, #3
        mul x0, x1, x2; madd w0, w1, w2, w3; smull x0, w1, w2; smaddl x0, w1, w2, x3; smulh x0, x1, x2
        udiv x0, x1, x2
        csel x0, x1, x2, eq; cset w0, ne; ccmp x0, x1, #0, eq; clz x0, x1; rbit x0, x1; rev w0, w1; crc32w w0, w1, w2
        nop; yield; dmb ish; isb; mrs x0, tpidr_el0; msr fpcr, x0; svc #0; brk #1; paciasp; dc zva, x0
    """,
}
TABLE = [
    (name, text.strip())
    for name, lines in INSTRUCTIONS.items()
    for text in lines.replace("\n", ";").split(";")
    if text.strip()
]


def zig(*arguments):
    subprocess.run([sys.executable, "-m", "ziglang", *map(str, arguments)], check=True)


def section(elf: bytes, wanted: bytes) -> bytes:
    """Content of one section of a 64-bit little-endian ELF file."""
    (table,), (entry, count, names) = struct.unpack_from("<Q", elf, 0x28), struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + i * entry) for i in range(count)]
    start = headers[names][4]
    for name, _, _, _, offset, size in headers:
        if elf[start + name :].split(b"\0", 1)[0] == wanted:
            return elf[offset : offset + size]
    raise AssertionError(f"no section {wanted!r}")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a64")
    lines = [".arch armv8.6-a+crypto+fp16+fp16fml+dotprod+i8mm+bf16", *(text for _, text in TABLE), "1: nop"]
    (folder / "table.s").write_text("\n".join(lines) + "\n")
    zig("cc", "-target", "aarch64-linux-gnu", "-c", folder / "table.s", "-o", folder / "table.o")
    code = section((folder / "table.o").read_bytes(), b".text")
    return struct.unpack(f"<{len(code) // 4}I", code)


@pytest.fixture(scope="module")
def decode(tmp_path_factory):
    library = tmp_path_factory.mktemp("decoder") / "a64_class.so"
    zig("cc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", library, NATIVE / "tcg_plugin" / "a64_class.c")
    function = ctypes.CDLL(str(library)).shufflec_a64_class
    function.argtypes, function.restype = [ctypes.c_uint32], ctypes.c_int
    return lambda word: INSTRUCTION_CLASSES[function(word)]


def test_every_instruction_of_the_table_has_its_class(words, decode):
    assert len(words) == len(TABLE) + 1
    wrong = [
        f"{text} ({word:08x}): {decode(word)}, expected {expected}"
        for (expected, text), word in zip(TABLE, words, strict=False)
        if decode(word) != expected
    ]
    assert not wrong, "\n".join(wrong)


def test_every_class_is_in_the_table():
    assert list(INSTRUCTIONS) == list(INSTRUCTION_CLASSES)


def test_any_word_has_a_class(decode):
    # Reserved encodings must not fall outside of the table of counters either.
    for word in range(0, 1 << 32, 0x10001 * 37):
        assert decode(word) in INSTRUCTION_CLASSES
