"""Loops whose cycles follow from a core's ports and latencies by hand."""

from __future__ import annotations

import pytest

from shufflec.timing.cores.core import load_core
from shufflec.timing.cores.decode import decode_block
from shufflec.timing.cores.simulator import simulate

ADD = 0x8B020020  # add x0, x1, x2
NOP = 0xD503201F
SUBS_X9 = 0xF1000529  # subs x9, x9, #1
B_NE = 0x54FFFFC1


def fmla(destination: int) -> int:
    """fmla vD.4s, v30.4s, v31.4s"""
    return 0x4E3FCFC0 | destination


def smull(destination: int) -> int:
    """smull vD.8h, v30.8b, v31.8b"""
    return 0x0E3FC3C0 | destination


def sadalp(destination: int, source: int) -> int:
    """sadalp vD.4s, vS.8h"""
    return 0x4E606800 | source << 5 | destination


def ldr_q(destination: int) -> int:
    """ldr qD, [x1]"""
    return 0x3DC00020 | destination


def cycles(core: str, *words: int) -> float:
    return run(core, *words).cycles


def run(core: str, *words: int):
    return simulate(load_core(core), decode_block(b"".join(word.to_bytes(4, "little") for word in words)))


@pytest.mark.parametrize(("core", "expected"), [("cortex-a53", 8.0), ("cortex-a72", 8.0), ("cortex-a76", 4.0)])
def test_independent_fmla_take_the_simd_pipes(core, expected):
    # 8 of 4 floats: A53 and A72 have 128 bits of multiply-add a cycle, A76 has 256.
    assert cycles(core, *(fmla(i) for i in range(8))) == pytest.approx(expected, abs=0.3)


@pytest.mark.parametrize(("core", "expected"), [("cortex-a53", 4.0), ("cortex-a72", 3.0), ("cortex-a76", 2.0)])
def test_one_accumulator_is_bound_by_its_forwarding(core, expected):
    result = run(core, fmla(0))
    assert result.cycles == pytest.approx(expected, abs=0.01)
    assert result.latency > result.dispatch


def test_a53_issues_two_instructions_a_cycle_in_order():
    assert cycles("cortex-a53", *[ADD] * 8) == pytest.approx(4.0)


def test_a53_vector_load_keeps_simd_waiting():
    # A 128-bit load holds the load pipe and the SIMD pipes for 2 cycles; 8 FMLA then take 8.
    assert cycles("cortex-a53", ldr_q(20), *(fmla(i) for i in range(8))) >= 10.0


def test_a53_integer_load_issues_beside_fmla():
    ldr_x = 0xF9400020  # ldr x0, [x1]
    words = [word for i in range(8) for word in (fmla(i), ldr_x if i % 2 else NOP)]
    assert cycles("cortex-a53", *words) == pytest.approx(8.0, abs=0.3)


def test_a72_widening_multiplies_have_one_pipe():
    result = run("cortex-a72", *(smull(i) for i in range(8)))
    assert result.cycles == pytest.approx(8.0, abs=0.3)


def test_a72_multiply_and_accumulate_are_bound_by_the_decoders():
    # 8 SMULL on F0 and 8 SADALP on F1 could take 8 cycles; each writes 128 bits, two places of the decoders' three.
    words = [word for i in range(8) for word in (smull(i), sadalp(16 + i, i))]
    result = run("cortex-a72", *words)
    assert result.cycles == pytest.approx(32 / 3, abs=0.4)
    assert result.dispatch > 0.9 * result.cycles


def test_out_of_order_hides_what_in_order_waits_for():
    # A load and its use 8 times over: in order every use waits 2 cycles, and the next load issues beside it; out of
    # order the next loads go ahead, two a cycle.
    pair = [0xF9400020, 0x91000402]  # ldr x0, [x1]; add x2, x0, #1
    assert cycles("cortex-a53", *pair * 8) == pytest.approx(16.0)
    assert cycles("cortex-a76", *pair * 8) == pytest.approx(4.0, abs=0.3)


def test_a53_shifters_and_addresses_need_operands_a_stage_early():
    add_shifted = 0x8B000BC0  # add x0, x30, x0, lsl #2
    add_other = 0x8B1E0000  # add x0, x0, x30
    load = 0xF9400000  # ldr x0, [x0]
    assert cycles("cortex-a53", add_shifted) == pytest.approx(2.0)
    assert cycles("cortex-a53", add_other) == pytest.approx(1.0)
    assert cycles("cortex-a53", add_shifted, add_other) == pytest.approx(3.0)  # 1 to the adder, 2 to the shifter
    assert cycles("cortex-a53", load) == pytest.approx(3.0)
    assert cycles("cortex-a53", load, add_other) == pytest.approx(4.0)  # 2 to the adder, 2 to the address


@pytest.mark.parametrize(("core", "expected"), [("cortex-a53", 2.0), ("cortex-a72", 1.0), ("cortex-a76", 1.0)])
def test_a_loop_of_an_addition(core, expected):
    # A53: ADD and SUBS, then the branch. The others find a taken branch a cycle, and the rest beside it.
    assert cycles(core, ADD, SUBS_X9, B_NE) == pytest.approx(expected)


@pytest.mark.parametrize(("core", "expected"), [("cortex-a72", 8.0), ("cortex-a76", 4.0)])
def test_loads_and_the_loop_are_free_beside_a_full_simd_pipe(core, expected):
    # 8 FMLA take both pipes of the A72 for 8 cycles, one of the A76's two for 4; two loads, the count and the branch
    # have ports of their own: 12 places in the decoders are 4 and 3 cycles' worth.
    words = [ldr_q(20), ldr_q(21), *(fmla(i) for i in range(8)), SUBS_X9, B_NE]
    assert cycles(core, *words) == pytest.approx(expected, abs=0.1)


def test_a53_waits_for_each_product_unless_they_are_ahead():
    # A product is there after 4 cycles, SADALP holds the pipes for 2. In pairs: 4 x (4 + 2); products first: 4 + 4 x 2.
    pairs = [word for i in range(4) for word in (smull(i), sadalp(16 + i, i))]
    assert cycles("cortex-a53", *pairs) == pytest.approx(24.0)
    assert cycles("cortex-a53", *(smull(i) for i in range(4)), *pairs[1::2]) == pytest.approx(12.0)


@pytest.mark.parametrize("core", ["cortex-a72", "cortex-a76"])
def test_an_updated_address_is_there_a_cycle_later(core):
    ldr_post = 0x3CC10420  # ldr q0, [x1], #16
    assert cycles(core, *[ldr_post] * 4) == pytest.approx(4.0)


def test_a76_dot_products_take_both_pipes():
    sdot = 0x4F9FE3C0  # sdot v0.4s, v30.16b, v31.4b[0]
    assert cycles("cortex-a76", *(sdot | i for i in range(8))) == pytest.approx(4.0)


@pytest.mark.parametrize("core", ["cortex-a53", "cortex-a72", "cortex-a76"])
def test_waits_add_up_to_the_cycles(core):
    for words in ([fmla(0)], [ADD] * 6, [ldr_q(0), fmla(1), SUBS_X9, B_NE], [smull(0), sadalp(1, 0)] * 3):
        result = run(core, *words)
        assert result.dispatch + result.latency + sum(result.ports.values()) == pytest.approx(result.cycles)


@pytest.mark.parametrize("core", ["cortex-a53", "cortex-a72", "cortex-a76"])
def test_first_repetition_waits_for_the_pipeline(core):
    result = run(core, *(fmla(i) for i in range(4)))
    assert result.first_cycles >= result.cycles


def test_a_busy_port_is_named():
    mul = 0x9BC27C20  # umulh x0, x1, x2
    result = run("cortex-a76", *[mul] * 4)
    assert max(result.ports, key=result.ports.get) == "M"
