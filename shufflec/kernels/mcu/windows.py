"""How kernels of all families walk a plane: clipped windows, rows streamed into a pool, rows that are one."""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx

from shufflec.kernels.a64.emitter import Value
from shufflec.kernels.mcu.emitter import MEmitter, const


def span(e: MEmitter, at: Value, p: dict, axis: int, size: str) -> tuple[Value, Value]:
    """(first position, how many) of a window inside the input, along an axis."""
    begin = e.bind(at * p["stride"][axis] - p["pad"][axis])
    first = e.bind(tirx.Max(begin, const(0)))
    stop = e.bind(tirx.Min(begin + p["kernel"][axis], const(p[size])))
    return first, e.bind(tirx.Max(stop - first, const(0)))  # a window may lie in the padding altogether


def stream_rows(e: MEmitter, height: int, convolve: Callable[[Value], None], pool: Callable[[Value], None]) -> None:
    """Tiles of a 3x3 pool of stride 2 with a padding of 1: convolves the rows that a pool row needs and that are new.

    height: rows of the convolution. convolve(row) computes one of them, pool(y) a row of the pool.
    """
    with e.tiles() as y:
        first = e.bind(2 * y - 1)
        with e.loop(3) as i:
            row = e.bind(first + i)
            new = tirx.any(tirx.EQ(y, const(0)), i >= 1)
            with e.when(tirx.all(new, row >= 0, row < height)):
                convolve(row)
        pool(y)


def plane(p: dict) -> tuple[int, int]:
    """(height, width) of a 1x1 convolution's plane: one long row where every row follows the one before."""
    rows = [p["in_row"], p["out_row"]] + ([p["residual_row"]] if p["residual"] else [])
    flat = all(row == p["width"] for row in rows)
    return (1, p["height"] * p["width"]) if flat else (p["height"], p["width"])
