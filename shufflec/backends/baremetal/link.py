"""The kernels as a static library, and the test firmware for QEMU's board of the core."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from shufflec.targets.target import MACHINES, Target
from shufflec.zig import run_zig

NATIVE = Path(__file__).resolve().parent.parent / "native" / "baremetal"
_FLAGS = (
    "-std=c11", "-Os", "-g0", "-ffreestanding", "-fno-builtin", "-ffunction-sections", "-fdata-sections",
    "-fno-ident", "-ffile-prefix-map=.=", "-fno-sanitize=undefined", "-fno-stack-protector",
)  # fmt: skip
_LINK_FLAGS = ("-static", "--gc-sections", "--build-id=none", "-e", "reset", "--strip-debug")
#: Where constants go on boards whose code memory is small: (origin, bytes).
CONSTANTS = {"mps3-an547": (0x60000000, 16 << 20)}
STACK_BYTES = 8192  # of the test firmware


def compiler_arguments(target: Target) -> list[str]:
    """`zig cc` for a core: its architecture and the float ABI of its triple."""
    abi = "eabihf" if target.triple.endswith("hf") else "eabi"
    return ["cc", "-target", f"thumb-freestanding-{abi}", f"-mcpu={target.llvm_mcpu.replace('-', '_')}"]


def archive(objects: dict[str, bytes]) -> bytes:
    """A static library of the kernels, the same bytes for the same objects."""
    with tempfile.TemporaryDirectory(prefix="shufflec-") as name:
        folder = Path(name)
        for symbol, code in sorted(objects.items()):
            (folder / f"{symbol}.o").write_bytes(code)
        members = [str(folder / f"{symbol}.o") for symbol in sorted(objects)]
        run_zig(["ar", "rcsD", str(folder / "kernels.a"), *members], "the kernels' library")
        return (folder / "kernels.a").read_bytes()


def link_firmware(target: Target, sources: dict[str, str], library: bytes, prefix: str = "shufflec") -> bytes:
    """The ELF file of the test firmware. sources: the generated C files by name; library: of `archive`.

    prefix: of the model's names. A core without a QEMU board is linked for one all the same, to be measured.
    """
    with tempfile.TemporaryDirectory(prefix="shufflec-") as name:
        folder = Path(name)
        for file, text in sources.items():
            (folder / file).write_text(text)
        for file in ("start.c", "start.h", "main.c"):
            shutil.copyfile(NATIVE / file, folder / file)
        (folder / "kernels.a").write_bytes(library)
        (folder / "link.ld").write_text(linker_script(target.machine or "mps2-an385"))
        flags = [
            *compiler_arguments(target), *_FLAGS, "-c", f"-I{folder}", f"-D{prefix.upper()}_TEST", f"-DPREFIX={prefix}",
            f"-DPREFIX_UPPER={prefix.upper()}", f'-DMODEL_HEADER="{prefix}_model.h"',
            f'-DMODEL_TEST_HEADER="{prefix}_test.h"',
        ]  # fmt: skip
        objects = []
        for file in ("start", "main", f"{prefix}_model"):
            objects.append(str(folder / f"{file}.o"))
            run_zig([*flags, "-o", objects[-1], str(folder / f"{file}.c")], "the firmware")
        # The linker itself: `zig cc` strips the symbols, from which the stack's worst case is computed.
        run_zig(
            ["ld.lld", *_LINK_FLAGS, "-T", str(folder / "link.ld"), "-o", str(folder / "firmware.elf"), *objects,
             str(folder / "kernels.a")],
            "the firmware",
        )  # fmt: skip
        return (folder / "firmware.elf").read_bytes()


def linker_script(machine: str) -> str:
    """The memory map of one of QEMU's boards."""
    (flash, flash_bytes), (ram, ram_bytes) = MACHINES[machine]
    constants, constants_bytes = CONSTANTS.get(machine, (0, 0))
    extra = f"\n  LARGE (r) : ORIGIN = {constants:#x}, LENGTH = {constants_bytes}" if constants_bytes else ""
    place = "LARGE" if constants_bytes else "FLASH"
    return f"""ENTRY(reset)
MEMORY {{
  FLASH (rx) : ORIGIN = {flash:#x}, LENGTH = {flash_bytes}{extra}
  RAM (rwx) : ORIGIN = {ram:#x}, LENGTH = {ram_bytes}
}}
stack_top = ORIGIN(RAM) + LENGTH(RAM);
stack_bottom = stack_top - {STACK_BYTES};
SECTIONS {{
  .text : {{ KEEP(*(.vectors)) *(.text*) . = ALIGN(8); }} > FLASH
  /DISCARD/ : {{ *(.ARM.exidx*) *(.ARM.extab*) }}
  .rodata : {{ *(.rodata*) . = ALIGN(8); }} > {place}
  .data : {{ data_begin = .; *(.data*) . = ALIGN(4); data_end = .; }} > RAM AT > FLASH
  data_source = LOADADDR(.data);
  .bss (NOLOAD) : {{ bss_begin = .; *(.bss*) *(COMMON) . = ALIGN(8); bss_end = .; }} > RAM
}}
"""
