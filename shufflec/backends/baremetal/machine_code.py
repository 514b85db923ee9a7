"""What the linked firmware tells of itself: bytes in flash, the stack's worst case, and that every function returns.

The stack is computed from the code: the bytes that each function pushes or takes from SP, along the longest chain of
calls. The kernels are called through a table, so the deepest of them counts below the run function.
Source: Armv7-M ARM (DDI 0403E), A7.7, encodings of PUSH, STMDB, STR, SUB (SP minus immediate), VPUSH; ELF32 by the
System V ABI and ELF for the Arm Architecture (IHI 0044), 4.5.5, mapping symbols.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shufflec.errors import ShufflecError

_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SECTION = struct.Struct("<IIIIIIIIII")
_SYMBOL = struct.Struct("<IIIBBH")
_SYMTAB, _NOBITS = 2, 8
_ALLOC, _EXECUTE = 2, 4
_FUNCTION = 2
_NOPS = (0x46C0, 0xBF00)
#: Of the model's call sequence, whose kernels are behind function pointers.
_SEQUENCE = "_run_in"
_KERNEL = "shufflec_"
#: What the test program adds: main.c, start.c and the table of tensors.
_HARNESS = ("main", "begin", "reset", "fault", "vectors", "host_", "stack_", "memset", "semihost")
_TABLE = "_tensors"


@dataclass(frozen=True)
class Function:
    """A function of the firmware. frame_bytes: what it takes off the stack; calls: addresses that it branches to
    with a link, or that it ends in."""

    name: str
    address: int
    frame_bytes: int
    calls: tuple[int, ...]


@dataclass(frozen=True)
class MachineCode:
    """Sizes in bytes. flash_bytes: everything in flash but for the test program; code_bytes: of the kernels and the
    functions that call them; stack_bytes: the worst case of one inference, below its caller's frame."""

    flash_bytes: int
    code_bytes: int
    stack_bytes: int


def inspect_firmware(elf: bytes) -> MachineCode:
    """Measures and checks a linked firmware.

    Raises ShufflecError for a generated function that does not return (a miscompiled one) or whose stack is not known.
    """
    sections, symbols = _tables(elf)
    functions = _functions(elf, sections, symbols)
    by_address = {function.address: function for function in functions.values()}
    whole = sum(s[5] for s in sections if s[2] & _ALLOC and s[1] != _NOBITS)
    flash = whole - sum(
        size for name, size in _all_sizes(symbols) if name.startswith(_HARNESS) or name.endswith(_TABLE)
    )
    runs = [function for function in functions.values() if function.name.endswith(_SEQUENCE)]
    sequence = max((_depth(run, by_address, ()) for run in runs), default=0)
    kernels = max((_depth(f, by_address, ()) for f in functions.values() if f.name.startswith(_KERNEL)), default=0)
    depth = sequence + kernels
    code = sum(size for name, _, size in _sized(symbols) if name.startswith(_KERNEL))
    return MachineCode(flash, code, depth)


def _depth(function: Function, by_address: dict[int, Function], callers: tuple[int, ...]) -> int:
    if function.address in callers:
        raise ShufflecError(f"the firmware's {function.name} calls itself: its stack has no bound", "report it")
    inner = (
        _depth(by_address[address], by_address, (*callers, function.address))
        for address in function.calls
        if address in by_address and address != function.address
    )
    return function.frame_bytes + max(inner, default=0)


def _tables(elf: bytes) -> tuple[list[tuple], list[tuple[str, tuple]]]:
    """(section headers, named symbols). Raises ValueError for anything but a 32-bit little-endian ELF file."""
    if len(elf) < _HEADER.size or elf[:6] != b"\x7fELF\x01\x01":
        raise ValueError("not a 32-bit little-endian ELF file")
    head = _HEADER.unpack_from(elf)
    start, count = head[6], head[12]
    sections = [_SECTION.unpack_from(elf, start + _SECTION.size * i) for i in range(count)]
    symbols = []
    for section in sections:
        if section[1] == _SYMTAB:
            names = sections[section[6]][4]
            for at in range(section[4], section[4] + section[5], _SYMBOL.size):
                symbol = _SYMBOL.unpack_from(elf, at)
                end = elf.index(b"\0", names + symbol[0])
                symbols.append((elf[names + symbol[0] : end].decode("ascii", "replace"), symbol))
    return sections, symbols


def _sized(symbols: list[tuple[str, tuple]]) -> list[tuple[str, int, int]]:
    """(name, address, size) of the functions."""
    found = {
        (symbol[1] & ~1): (name, symbol[1] & ~1, symbol[2])
        for name, symbol in symbols
        if symbol[3] & 15 == _FUNCTION and symbol[2]
    }
    return list(found.values())


def _all_sizes(symbols: list[tuple[str, tuple]]) -> list[tuple[str, int]]:
    """(name, size) of everything that lies somewhere once."""
    return list({symbol[1] & ~1: (name, symbol[2]) for name, symbol in symbols if symbol[2]}.values())


def _functions(elf: bytes, sections: list[tuple], symbols: list[tuple[str, tuple]]) -> dict[int, Function]:
    marks = sorted((symbol[1], name[:2]) for name, symbol in symbols if name[:2] in ("$t", "$d"))
    found = {}
    for name, address, size in _sized(symbols):
        section = next((s for s in sections if s[2] & _EXECUTE and s[3] <= address < s[3] + s[5]), None)
        if section is not None:
            code = elf[section[4] + address - section[3] :][:size]
            found[address] = _function(name, address, code, _data_ranges(address, size, marks))
    return found


def _data_ranges(address: int, size: int, marks: list[tuple[int, str]]) -> list[range]:
    """Constants inside of a function: from each `$d` to the next `$t`."""
    ranges = []
    for number, (start, kind) in enumerate(marks):
        if kind == "$d" and start < address + size:
            stop = next((at for at, other in marks[number + 1 :] if other == "$t"), address + size)
            if stop > address:
                ranges.append(range(max(start, address), min(stop, address + size)))
    return ranges


def _function(name: str, address: int, code: bytes, data: list[range]) -> Function:
    frame, calls, at, ends = 0, [], 0, False
    while at + 2 <= len(code):
        inside = next((r for r in data if address + at in r), None)
        if inside is not None:
            at = inside.stop - address
            continue
        first = code[at] | code[at + 1] << 8
        wide = first >> 11 in (0x1D, 0x1E, 0x1F)
        second = code[at + 2] | code[at + 3] << 8 if wide and at + 4 <= len(code) else 0
        grown = _stack_bytes(first, second, wide)
        if grown is None:
            raise ShufflecError(
                f"the stack of the firmware's {name} is not known: SP changes by a register", "report it"
            )
        frame += grown
        target = _branch(first, second, wide, address + at)
        if target is not None and not address <= target < address + len(code):
            calls.append(target)
        if wide or first not in _NOPS:  # they fill up to a literal
            ends = _leaves(first, second, wide)
        at += 4 if wide else 2
    if not ends and name.startswith(_KERNEL):
        raise ShufflecError(
            f"the firmware's {name} was miscompiled: it does not return", "report it with the model and the target"
        )
    return Function(name, address, frame, tuple(dict.fromkeys(calls)))


def _stack_bytes(first: int, second: int, wide: bool) -> int | None:
    """How much deeper an instruction makes the stack; None where the code does not say."""
    if not wide:
        if first & 0xFE00 == 0xB400:  # PUSH
            return 4 * (first & 0x1FF).bit_count()
        if first & 0xFF80 == 0xB080:  # SUB SP, #imm7
            return 4 * (first & 0x7F)
        return 0
    if first == 0xE92D:  # STMDB SP!, PUSH.W
        return 4 * second.bit_count()
    if first == 0xF84D and second & 0x0FFF == 0x0D04:  # STR Rt, [SP, #-4]!
        return 4
    if first == 0xE96D:  # STRD Rt, Rt2, [SP, #-imm8]!
        return 4 * (second & 0xFF)
    if first & 0xFBEF == 0xF1AD and second & 0x8F00 == 0x0D00:  # SUB.W SP, SP, #const
        return _expanded((first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF)
    if first & 0xFBFF == 0xF2AD and second & 0x8F00 == 0x0D00:  # SUBW SP, SP, #imm12
        return (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
    if first & 0xFFBF == 0xED2D and second & 0x0E00 == 0x0A00:  # VPUSH
        return 4 * (second & 0xFF)
    if first & 0xFFEF == 0xEBAD and second & 0x0F00 == 0x0D00:  # SUB SP, SP, Rm
        return None
    return 0


def _expanded(imm12: int) -> int:
    """ThumbExpandImm."""
    if imm12 >> 10 == 0:
        byte = imm12 & 0xFF
        return (byte, byte << 16 | byte, byte << 24 | byte << 8, byte * 0x01010101)[imm12 >> 8]
    value, rotation = 0x80 | imm12 & 0x7F, imm12 >> 7
    return (value >> rotation | value << (32 - rotation)) & 0xFFFFFFFF


def _branch(first: int, second: int, wide: bool, at: int) -> int | None:
    """The address that BL, B.W or B leads to."""
    if wide and first & 0xF800 == 0xF000 and second & 0xD000 in (0xD000, 0x9000):  # BL, B.W
        sign = first >> 10 & 1
        upper = (~((second >> 13 & 1) ^ sign) & 1) << 23 | (~((second >> 11 & 1) ^ sign) & 1) << 22
        offset = upper | (first & 0x3FF) << 12 | (second & 0x7FF) << 1
        return at + 4 + offset - (sign << 24)
    if not wide and first & 0xF800 == 0xE000:
        offset = (first & 0x7FF) << 1
        return at + 4 + offset - ((first & 0x400) << 2)
    return None


def _leaves(first: int, second: int, wide: bool) -> bool:
    """Whether nothing behind an instruction is reached from it: a return, a jump, or a trap."""
    if not wide:
        # BX, POP with PC, B, UDF, and BKPT, which semihosting's exit does not come back from
        return (
            first & 0xFF87 == 0x4700
            or first & 0xFF00 == 0xBD00
            or first & 0xF800 == 0xE000
            or first & 0xFF00 in (0xDE00, 0xBE00)
        )
    if first == 0xE8BD:  # LDMIA SP!, with PC
        return bool(second & 0x8000)
    if first == 0xF85D and second & 0xF000 == 0xF000:  # LDR PC, [SP], #4
        return True
    return first & 0xF800 == 0xF000 and second & 0xD000 == 0x9000  # B.W
