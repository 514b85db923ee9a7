"""Decoding: operand roles where they are easy to get wrong."""

from __future__ import annotations

import pytest

from shufflec.timing.cores.decode import FLAGS_REGISTER, STACK_POINTER, decode_block, decode_word

V = 32  # number of v0


def decode(word: int):
    return decode_word(word.to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("word", "group", "reads", "writes"),
    [
        (0x8B020020, "alu", {1, 2}, {0}),  # add x0, x1, x2
        (0x8B020C20, "alu_shifted_left", {1, 2}, {0}),  # add x0, x1, x2, lsl #3
        (0x8B024420, "alu_shifted", {1, 2}, {0}),  # add x0, x1, x2, lsl #17
        (0x910043FF, "alu", {STACK_POINTER}, {STACK_POINTER}),  # add sp, sp, #16
        (0xEB02003F, "compare", {1, 2}, {FLAGS_REGISTER}),  # cmp x1, x2
        (0x54000041, "conditional_branch", {FLAGS_REGISTER}, set()),  # b.ne
        (0x94000001, "call", set(), {30}),  # bl
        (0x9A821020, "select", {1, 2, FLAGS_REGISTER}, {0}),  # csel x0, x1, x2, ne
        (0x9B020C20, "multiply_64", {1, 2, 3}, {0}),  # madd x0, x1, x2, x3
        (0x1B020C20, "multiply_32", {1, 2, 3}, {0}),  # madd w0, w1, w2, w3
        (0xF8627820, "load", {1, 2}, {0}),  # ldr x0, [x1, x2, lsl #3]
        (0xA9400440, "load_pair", {2}, {0, 1}),  # ldp x0, x1, [x2]
        (0x29400440, "load_pair_32", {2}, {0, 1}),  # ldp w0, w1, [x2]
        (0xF9000020, "store", {0, 1}, set()),  # str x0, [x1]
        (0x4EA14820, "simd_narrow_saturating_high", {V, V + 1}, {V}),  # sqxtn2 v0.4s, v1.2d
        (0x4E020C20, "duplicate_general", {1}, {V}),  # dup v0.8h, w1
        (0x4E0A1C20, "general_to_element", {1, V}, {V}),  # mov v0.h[2], w1
        (0x0D408041, "load_lane", {2, V + 1}, {V + 1}),  # ld1 {v1.s}[0], [x2]
        (0x4C40A841, "load_multiple", {2}, {V + 1, V + 2}),  # ld1 {v1.4s, v2.4s}, [x2]
    ],
)
def test_registers(word, group, reads, writes):
    instruction = decode(word)
    assert instruction.group is not None
    assert (instruction.group.name, set(instruction.reads), set(instruction.writes)) == (group, reads, writes)


def test_accumulator_is_read_late():
    fmla = decode(0x4E23CC41)  # fmla v1.4s, v2.4s, v3.4s
    assert (fmla.accumulator, set(fmla.reads), fmla.writes) == (V + 1, {V + 2, V + 3}, (V + 1,))


def test_addend_of_a_fused_multiply_is_read_late():
    fmadd = decode(0x1F020C20)  # fmadd s0, s1, s2, s3
    assert (fmadd.accumulator, set(fmadd.reads), fmadd.writes) == (V + 3, {V + 1, V + 2}, (V,))


def test_address_update():
    ldr = decode(0x3CC10420)  # ldr q0, [x1], #16
    assert (ldr.base, ldr.writes, ldr.wide) == (1, (V,), True)


def test_zero_register_is_no_dependency():
    assert decode(0xAA0103E0).reads == (1,)  # mov x0, x1 is orr x0, xzr, x1


@pytest.mark.parametrize(("word", "wide"), [(0x4E228420, True), (0x0E228420, False), (0x1E222820, False)])
def test_width_is_of_the_first_register(word, wide):  # add v0.16b; add v0.8b; fadd s0
    assert decode(word).wide is wide


@pytest.mark.parametrize("word", [0x2518E3E0, 0x85804000, 0x04E0E3E0])  # ptrue p0.b; ldr z0, [x0]; cntd x0
def test_sve_is_unknown_not_an_error(word):
    instruction = decode_word(word.to_bytes(4, "little"))
    assert instruction.group is None


def test_word_that_is_no_instruction():
    instruction = decode(0xFFFFFFFF)
    assert instruction.group is None
    assert instruction.text == ".word 0xffffffff"


def test_block_is_decoded_word_by_word():
    texts = [one.text for one in decode_block(bytes.fromhex("1f2003d5") * 3)]
    assert texts == ["nop"] * 3
