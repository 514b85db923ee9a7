"""Size of the machine code in an ELF file, read from its section headers (ELF64 little-endian, System V ABI)."""

from __future__ import annotations

import struct

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_EXECUTABLE = 4  # SHF_EXECINSTR


def code_bytes(library: bytes) -> int:
    """Bytes of all executable sections. Raises ValueError for anything but a 64-bit little-endian ELF file."""
    if len(library) < _HEADER.size or library[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    header = _HEADER.unpack_from(library)
    start, size, count = header[6], header[11], header[12]
    if size != _SECTION.size or start + size * count > len(library):
        raise ValueError("its section headers are outside the file")
    sections = (_SECTION.unpack_from(library, start + size * index) for index in range(count))
    return sum(section[5] for section in sections if section[2] & _EXECUTABLE)
