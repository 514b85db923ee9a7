"""Static memory planning: an offset in the arena for every buffer.

Buffers whose lifetimes overlap never share a byte. Greedy by size (the largest buffer first, each at the lowest
offset that is free for its whole life), which meets the lower bound on ShuffleNet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shufflec.backends.program import Buffer
from shufflec.kernels.kernel import ALIGNMENT


@dataclass(frozen=True)
class Placement:
    """A buffer with its place. offset: bytes from the arena's start, a multiple of the plan's alignment."""

    buffer: Buffer
    offset: int

    @property
    def end(self) -> int:
        return self.offset + self.buffer.nbytes


@dataclass(frozen=True)
class MemoryPlan:
    """The arena. peak_bytes: its size; lower_bound_bytes: the most that is live at once, which no plan can beat."""

    placements: dict[str, Placement]
    peak_bytes: int
    lower_bound_bytes: int

    def offset(self, buffer: str) -> int:
        """Byte offset of a buffer in the arena."""
        return self.placements[buffer].offset

    def live(self, layer: int) -> list[Placement]:
        """What lies in the arena while a layer runs, by offset."""
        found = [p for p in self.placements.values() if p.buffer.first <= layer <= p.buffer.last]
        return sorted(found, key=lambda p: (p.offset, p.buffer.name))


def plan(buffers: Iterable[Buffer], alignment: int = ALIGNMENT, fixed: Mapping[str, int] | None = None) -> MemoryPlan:
    """Places every buffer at a multiple of `alignment`. Deterministic: ties are broken by first use, then by name.

    fixed: offsets of buffers that have to lie somewhere, by name.
    """
    buffers, fixed = list(buffers), fixed or {}
    placed = [Placement(buffer, fixed[buffer.name]) for buffer in buffers if buffer.name in fixed]
    for buffer in sorted((b for b in buffers if b.name not in fixed), key=lambda b: (-b.nbytes, b.first, b.name)):
        neighbours = sorted((p for p in placed if _overlap(p.buffer, buffer)), key=lambda p: (p.offset, p.buffer.name))
        offset = 0
        for neighbour in neighbours:
            if offset + buffer.nbytes <= neighbour.offset:
                break
            offset = max(offset, -(-neighbour.end // alignment) * alignment)
        placed.append(Placement(buffer, offset))
    peak = max((p.end for p in placed), default=0)
    return MemoryPlan({p.buffer.name: p for p in placed}, peak, _lower_bound(buffers))


def _overlap(a: Buffer, b: Buffer) -> bool:
    return a.first <= b.last and b.first <= a.last


def _lower_bound(buffers: list[Buffer]) -> int:
    layers = {b.first for b in buffers}
    return max((sum(b.nbytes for b in buffers if b.first <= layer <= b.last) for layer in layers), default=0)
