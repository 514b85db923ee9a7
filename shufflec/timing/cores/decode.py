"""A64 instruction words to what a core model needs: group, width, registers read and written.

Disassembly is Capstone's; which operand is read or written is our table's (Capstone 5 reports loads of several
registers and narrowing into an upper half wrongly).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import capstone
from capstone import arm64

from shufflec.timing.cores.instructions import Group, find_group

# Register numbers: x0..x30 are 0..30, sp 31, v0..v31 are 32..63, NZCV 64. The zero register is no dependency.
STACK_POINTER, SIMD, FLAGS_REGISTER = 31, 32, 64
_WIDE = {arm64.ARM64_VAS_16B, arm64.ARM64_VAS_8H, arm64.ARM64_VAS_4S, arm64.ARM64_VAS_2D, arm64.ARM64_VAS_1Q}
_STRUCTURES = {f"{verb}{count}" for verb in ("ld", "st") for count in range(1, 5)}
_SHORT_SHIFT = 4  # the Cortex-A76 adds a register shifted left by up to 4 in its simple pipes


@dataclass(frozen=True)
class Instruction:
    """One decoded instruction. Register numbers as above.

    group: None for an instruction that the table does not know. wide: works on 128-bit vectors.
    registers: SIMD registers that a load or store moves. accumulator: read late, or None. base: written by an address
    update, or None. addresses: those of `reads` that form an address. branches: an unconditional or conditional branch.
    """

    text: str
    group: Group | None
    wide: bool
    registers: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    accumulator: int | None
    base: int | None
    addresses: frozenset[int]
    branches: bool


@dataclass(frozen=True)
class _Operand:
    kind: str  # one letter, see instructions.toml
    suffix: str  # "", "<" or ">"
    registers: tuple[int, ...]


@cache
def _disassembler() -> capstone.Cs:
    machine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)
    machine.detail = True
    return machine


@cache
def decode_word(word: bytes) -> Instruction:
    """Decodes 4 bytes (little endian). A word that is no instruction gives one without a group."""
    found = next(_disassembler().disasm(word, 0, 1), None)
    if found is None:
        return Instruction(f".word 0x{word[::-1].hex()}", None, False, 0, (), (), None, None, frozenset(), False)
    text = f"{found.mnemonic} {found.op_str}".strip()
    if not all(_modelled(found.reg_name(number)) for operand in found.operands for number in _register_ids(operand)):
        return Instruction(text, None, False, 0, (), (), None, None, frozenset(), False)
    lane = any(operand.vector_index >= 0 for operand in found.operands) and found.mnemonic[:3] in _STRUCTURES
    operands = [_operand(found, operand, lane) for operand in found.operands]
    kinds = "".join(operand.kind + operand.suffix for operand in operands)
    group = find_group(found.mnemonic, kinds)
    moved = [operand for operand in operands if operand.kind in "bhsdqVve"]
    wide = bool(moved) and moved[0].kind in "qV"
    if group is None:
        return Instruction(text, None, wide, 0, (), (), None, None, frozenset(), False)
    memory = next((i for i, operand in enumerate(operands) if operand.kind == "m"), None)
    base = operands[memory].registers[0] if memory is not None and found.writeback else None
    addresses = frozenset(operands[memory].registers if memory is not None else ())
    reads, writes, accumulator = _uses(group, operands, memory)
    branches = group.name in ("branch", "conditional_branch", "call")
    if group.name == "call":
        writes += (30,)
    return Instruction(text, group, wide, max(1, len(moved)), reads, writes, accumulator, base, addresses, branches)


def decode_block(block: bytes) -> list[Instruction]:
    """Decodes a block of whole words."""
    return [decode_word(block[at : at + 4]) for at in range(0, len(block) - len(block) % 4, 4)]


def _uses(
    group: Group, operands: list[_Operand], memory: int | None
) -> tuple[tuple[int, ...], tuple[int, ...], int | None]:
    """Registers read, written, and read late, by the group's `use` and `flags`."""
    first = operands[0].registers if operands else ()
    rest = tuple(register for operand in operands[1:] for register in operand.registers)
    accumulator = None
    if group.use == "load" or (group.use == "update" and memory is not None):
        writes = tuple(register for operand in operands[:memory] for register in operand.registers)
        reads = tuple(register for operand in operands[memory:] for register in operand.registers)
        if group.use == "update":
            reads += writes
    elif group.use in ("store", "read"):
        reads, writes = first + rest, ()
    elif group.use == "update":
        reads, writes = first + rest, first
    elif group.use == "accumulate":
        reads, writes, accumulator = rest, first, first[0]
    elif group.use == "addend":
        addend = operands[-1].registers
        reads, writes, accumulator = rest[: len(rest) - len(addend)], first, addend[0] if addend else None
    else:
        reads, writes = rest, first
    if group.flags in ("read", "update"):
        reads += (FLAGS_REGISTER,)
    if group.flags in ("write", "update"):
        writes += (FLAGS_REGISTER,)
    return tuple(dict.fromkeys(reads)), tuple(dict.fromkeys(writes)), accumulator


def _operand(found: capstone.CsInsn, operand: arm64.Arm64Op, lane: bool) -> _Operand:
    """lane: the instruction loads or stores one element of each of its registers."""
    if operand.type == arm64.ARM64_OP_IMM:
        return _Operand("i", "", ())
    if operand.type == arm64.ARM64_OP_FP:
        return _Operand("f", "", ())
    if operand.type == arm64.ARM64_OP_MEM:
        parts = [found.reg_name(register) for register in _register_ids(operand)]
        return _Operand("m", "", tuple(n for n in map(_number, parts) if n is not None))
    if operand.type != arm64.ARM64_OP_REG:
        return _Operand("c", "", ())
    name = found.reg_name(operand.reg)
    number = _number(name)
    registers = () if number is None else (number,)
    if number is not None and number >= SIMD:
        return _Operand("e" if lane else _simd_kind(name, operand), "", registers)
    return _Operand("w" if name.startswith("w") else "x", _shift_suffix(operand), registers)


def _simd_kind(name: str, operand: arm64.Arm64Op) -> str:
    if operand.vector_index >= 0:
        return "e"
    if operand.vas == arm64.ARM64_VAS_INVALID:
        return name[0] if name[0] in "bhsdq" else "V"
    return "V" if operand.vas in _WIDE else "v"


def _shift_suffix(operand: arm64.Arm64Op) -> str:
    if operand.ext == 0 and (operand.shift.type == 0 or operand.shift.value == 0):
        return ""
    left = operand.shift.type in (0, arm64.ARM64_SFT_LSL)
    return "<" if operand.ext == 0 and left and operand.shift.value <= _SHORT_SHIFT else ">"


def _register_ids(operand: arm64.Arm64Op) -> tuple[int, ...]:
    """Capstone's numbers of an operand's registers."""
    if operand.type == arm64.ARM64_OP_MEM:
        return tuple(register for register in (operand.mem.base, operand.mem.index) if register)
    return (operand.reg,) if operand.type == arm64.ARM64_OP_REG else ()


def _modelled(name: str) -> bool:
    """Whether a register is one of A64 without SVE and SME, whose cores are not modelled."""
    return name in ("sp", "wsp", "xzr", "wzr", "fp", "lr") or (name[0] in "xwbhsdqv" and name[1:].isdigit())


def _number(name: str) -> int | None:
    """Register number; None for the zero register."""
    if name in ("sp", "wsp"):
        return STACK_POINTER
    if name in ("xzr", "wzr"):
        return None
    if name in ("fp", "x29"):
        return 29
    if name in ("lr", "x30"):
        return 30
    return (0 if name[0] in "xw" else SIMD) + int(name[1:])
