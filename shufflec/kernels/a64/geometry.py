"""Where tiles and pixels lie: the address arithmetic that the kernels share."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value


def tile_start(e: Emitter, tile: Value, step: int, extent: int) -> Value:
    """First element of a tile of `step` elements; the last tile is moved back to end at `extent`."""
    start = tile * step
    return e.bind(start if extent % step == 0 else tirx.min(start, extent - step))


def tile_count(extent: int, step: int) -> int:
    """Tiles of `step` elements that cover `extent`."""
    return -(-extent // step)


@dataclass(frozen=True)
class OutputView:
    """An output buffer: pixel (y, x) starts at out + (y * row + x) * pitch. width: pixels written in a row."""

    width: int
    pitch: int
    row: int

    @staticmethod
    def of(workload) -> OutputView:
        return OutputView(workload["width"], workload["out_pitch"], workload["out_row"])

    def pixel_offsets(self, e: Emitter, first: Value, count: int) -> list[Value]:
        """Byte offsets in the arena of `count` pixels, numbered row by row, from number `first` on."""
        if self.row == self.width:
            base = e.bind(e.out + first * self.pitch)
            return [base + p * self.pitch for p in range(count)]
        return [e.bind(e.out + self._position(e, first + p if p else first) * self.pitch) for p in range(count)]

    def _position(self, e: Emitter, number: Value) -> Value:
        line = tirx.Cast("int32", tirx.truncdiv(tirx.Cast("uint32", number), tirx.const(self.width, "uint32")))
        return number + e.bind(line) * (self.row - self.width)

    def pointers(self, e: Emitter, offsets: list[Value], channel: Value | int) -> list[Pointer]:
        """Pointers to a channel of those pixels."""
        if self.row == self.width:
            base = e.at(e.arena, offsets[0] + channel)
            return [e.at(base, p * self.pitch) for p in range(len(offsets))]
        return [e.at(e.arena, offset + channel) for offset in offsets]
