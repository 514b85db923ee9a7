"""Windows that are clipped to their input: what pools of all families share."""

from __future__ import annotations

from tvm import tirx

from shufflec.kernels.a64.emitter import Value
from shufflec.kernels.mcu.emitter import MEmitter, const


def span(e: MEmitter, at: Value, p: dict, axis: int, size: str) -> tuple[Value, Value]:
    """(first position, how many) of a window inside the input, along an axis."""
    begin = e.bind(at * p["stride"][axis] - p["pad"][axis])
    first = e.bind(tirx.Max(begin, const(0)))
    stop = e.bind(tirx.Min(begin + p["kernel"][axis], const(p[size])))
    return first, e.bind(tirx.Max(stop - first, const(0)))  # a window may lie in the padding altogether
