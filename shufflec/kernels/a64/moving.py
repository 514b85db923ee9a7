"""Rows of bytes: fills and copies with whole registers, exact to the byte."""

from __future__ import annotations

from shufflec.kernels.a64.emitter import Emitter, Pointer
from shufflec.kernels.a64.shuffled_write import column_steps

ROUND = 128  # bytes in a round of a loop


def _pieces(size: int) -> list[tuple[int, int]]:
    return column_steps(size, tuple(width for width in (16, 8, 4, 1) if width <= size))


def _dtype(width: int) -> str:
    return f"int8x{width}" if width > 1 else "int8"


def fill_row(e: Emitter, target: Pointer, size: int, value: int) -> None:
    """Sets `size` bytes."""
    rounds = size // ROUND
    if rounds > 1:
        with e.loop(rounds) as number:
            here = e.at(target, number * ROUND)
            for at in range(0, ROUND, 16):
                e.store(here, at, e.splat(value, "int8x16"), "int8x16")
        target, size = e.at(target, rounds * ROUND), size % ROUND
    for at, width in _pieces(size) if size else ():
        filler = e.splat(value, _dtype(width)) if width > 1 else e.constant(value, "int8")
        e.store(target, at, filler, _dtype(width))


def copy_row(e: Emitter, source: Pointer, target: Pointer, size: int) -> None:
    """Copies `size` bytes that do not overlap the target."""
    rounds = size // ROUND
    if rounds > 1:
        with e.loop(rounds) as number:
            here, there = e.at(source, number * ROUND), e.at(target, number * ROUND)
            values = [e.load(here, at, "int8x16") for at in range(0, ROUND, 16)]
            for i, value in enumerate(values):
                e.store(there, i * 16, value, "int8x16")
        source, target, size = e.at(source, rounds * ROUND), e.at(target, rounds * ROUND), size % ROUND
    for at, width in _pieces(size) if size else ():
        e.store(target, at, e.load(source, at, _dtype(width)), _dtype(width))
