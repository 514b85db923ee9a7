"""Caches of a board: their geometry, and which geometries no cache can have."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

LEVELS = ("l1d", "l2", "l3")
# Larger ones are a slip of the pen; the emulator's cache model takes 8 bytes of this machine for every line.
MAX_BYTES = {"l1d": 1 << 20, "l2": 64 << 20, "l3": 256 << 20}
MAX_WAYS = 64
LINE_BYTES = (16, 256)


@dataclass(frozen=True)
class Cache:
    """One cache level. size_bytes and line_bytes in bytes; ways: associativity; shared: by all cores."""

    size_bytes: int
    ways: int
    line_bytes: int
    shared: bool

    @property
    def sets(self) -> int:
        return self.size_bytes // (self.ways * self.line_bytes)


def geometry(caches: dict[str, Cache]) -> str:
    """Sets and ways of each level, nearest first, as in "256x2, 1024x16"."""
    return ", ".join(f"{caches[level].sets}x{caches[level].ways}" for level in LEVELS if level in caches)


def impossible(caches: dict[str, Cache]) -> tuple[str, str] | None:
    """The key that is wrong, as in "l2.size_bytes", and what was expected; None for caches that can be.

    Sets are picked by bits of the address, so lines and sets are powers of two. A level holds no less than the one
    above it, and below a level that all cores share there is none of each core's own.
    """
    levels = [level for level in LEVELS if level in caches]
    for level in levels:
        cache = caches[level]
        if cache.line_bytes & (cache.line_bytes - 1):
            return f"{level}.line_bytes", f"expected a power of two, found {cache.line_bytes}"
        way = cache.ways * cache.line_bytes
        if cache.size_bytes % way or cache.sets & (cache.sets - 1):
            multiple = f"{cache.ways} ways x {cache.line_bytes} bytes"
            return f"{level}.size_bytes", f"expected {multiple} times a power of two of sets, found {cache.size_bytes}"
    for above, below in pairwise(levels):
        if caches[below].size_bytes < caches[above].size_bytes:
            least = caches[above].size_bytes
            return f"{below}.size_bytes", f"expected at least {above}'s {least}, found {caches[below].size_bytes}"
        if caches[above].shared and not caches[below].shared:
            return f"{below}.shared", f"expected true, as {above} above it is shared"
    return None
