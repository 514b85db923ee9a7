"""Stack depths, returns and sizes read off firmware that is assembled here."""

from __future__ import annotations

import pytest

from shufflec.backends.baremetal.machine_code import _expanded, inspect_firmware
from shufflec.errors import ShufflecError
from shufflec.zig import run_zig

HEAD = ".syntax unified\n.thumb\n.cpu cortex-m4\n.fpu fpv4-sp-d16\n.text\n"


def firmware(tmp_path, body: str) -> bytes:
    """The ELF file of assembled functions."""
    (tmp_path / "a.S").write_text(HEAD + body)
    target = ["-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4"]
    run_zig(["cc", *target, "-c", "-o", str(tmp_path / "a.o"), str(tmp_path / "a.S")], "a test")
    run_zig(["ld.lld", "-static", "-e", "main", "-o", str(tmp_path / "a.elf"), str(tmp_path / "a.o")], "a test")
    return (tmp_path / "a.elf").read_bytes()


def function(name: str, body: str) -> str:
    return f".global {name}\n.type {name},%function\n.thumb_func\n{name}:\n{body}\n.size {name}, .-{name}\n"


RETURN = "bx lr"


def test_the_deepest_kernel_counts_below_the_sequence(tmp_path):
    body = (
        function("main", RETURN)
        + function("shufflec_run_in", "push {r4, lr}; bl helper; blx r4; pop {r4, pc}")
        + function("helper", "sub sp, #24; add sp, #24; bx lr")
        + function("shufflec_small", "push {r4-r7, lr}; pop {r4-r7, pc}")
        + function(
            "shufflec_large", "push.w {r4-r11, lr}; vpush {d8-d9}; sub sp, #512; add sp, #512; pop.w {r4-r11, pc}"
        )
    )
    # 8 + helper's 24, and below that 36 + 16 + 512.
    assert inspect_firmware(firmware(tmp_path, body)).stack_bytes == 8 + 24 + 36 + 16 + 512


@pytest.mark.parametrize(
    ("prologue", "size"),
    [
        ("str r4, [sp, #-4]!", 4),
        ("strd r4, r5, [sp, #-8]!", 8),
        ("sub.w sp, sp, #1000", 1000),
        ("subw sp, sp, #1001", 1001),
        ("sub.w sp, sp, #0x2a8000", 0x2A8000),
        ("nop", 0),
    ],
)
def test_every_way_to_grow_the_stack(tmp_path, prologue, size):
    body = function("main", RETURN) + function("shufflec_run_in", RETURN) + function("shufflec_k", f"{prologue}\nbx lr")
    assert inspect_firmware(firmware(tmp_path, body)).stack_bytes == size


def test_a_kernel_without_a_return_is_refused(tmp_path):
    body = function("main", RETURN) + function("shufflec_bad", "adds r0, #1")
    with pytest.raises(ShufflecError, match="shufflec_bad was miscompiled: it does not return"):
        inspect_firmware(firmware(tmp_path, body))


def test_literals_behind_a_return_are_not_code(tmp_path):
    body = function("main", RETURN) + function("shufflec_k", "ldr r0, =0xb5ffb5ff\nbx lr\n.ltorg")
    assert inspect_firmware(firmware(tmp_path, body)).stack_bytes == 0


def test_a_stack_that_a_register_moves_is_refused(tmp_path):
    body = function("main", RETURN) + function("shufflec_k", "sub.w sp, sp, r3\nbx lr")
    with pytest.raises(ShufflecError, match="SP changes by a register"):
        inspect_firmware(firmware(tmp_path, body))


def test_recursion_has_no_bound(tmp_path):
    body = function("main", RETURN) + function("shufflec_k", "push {lr}; bl other; pop {pc}")
    body += function("other", "push {lr}; bl shufflec_k; pop {pc}")
    with pytest.raises(ShufflecError, match="calls itself"):
        inspect_firmware(firmware(tmp_path, body))


def test_the_test_program_is_not_in_the_flash_figure(tmp_path):
    small = function("shufflec_run_in", RETURN)
    without = inspect_firmware(firmware(tmp_path, small + function("main", RETURN)))
    padded = inspect_firmware(firmware(tmp_path, small + function("main", "nop\n" * 50 + RETURN)))
    assert padded.flash_bytes - without.flash_bytes in range(-4, 5)
    assert padded.code_bytes == without.code_bytes == 2


def test_another_kind_of_file_is_refused():
    with pytest.raises(ValueError, match="32-bit"):
        inspect_firmware(b"\x7fELF\x02\x01" + bytes(100))


def test_expanded_immediates():
    assert [_expanded(v) for v in (0x0AB, 0x1AB, 0x2AB, 0x3AB, 0x4FF)] == [
        0xAB, 0x00AB00AB, 0xAB00AB00, 0xABABABAB, 0x7F800000,
    ]  # fmt: skip
