"""Kernels that only move bytes: pad, copy (into a slice of a concat) and channel_shuffle; a tile is one row."""

from __future__ import annotations

import numpy as np
from tvm import tirx

from shufflec.kernels.a64.emitter import Emitter, Pointer
from shufflec.kernels.a64.moving import copy_row, fill_row
from shufflec.kernels.a64.scheduling import MODELS, SCHEDULE, models
from shufflec.kernels.a64.shuffled_write import ShuffledWrite
from shufflec.kernels.kernel import Kernel, Packed, Workload

NAME = "a64-movement-1"

Tiling = tuple[tuple[str, int], ...]


def accepts(workload: Workload) -> bool:
    """Any shape."""
    return workload.kind in ("pad", "copy", "channel_shuffle")


def tilings(workload: Workload) -> list[Tiling]:
    """Only the scheduling model."""
    return [((SCHEDULE, model),) for model in models(workload)]


def build(workload: Workload, tiling: Tiling) -> Kernel:
    """The kernel of a workload with one of `tilings`."""
    return _pad(workload, tiling) if workload.kind == "pad" else _copy(workload, tiling)


def _pad(workload: Workload, tiling: Tiling) -> Kernel:
    """Surrounds the input with a border of `value`, or of one byte a channel from `weights`."""
    top, left, bottom, right = workload["pad"]
    height, width, channels = workload["height"], workload["width"], workload["channels"]
    value = workload["value"]
    row_bytes = (left + width + right) * channels

    def border(e: Emitter, target: Pointer, pixels: int) -> None:
        if value is not None:
            fill_row(e, target, pixels * channels, value)
        elif pixels:
            with e.loop(pixels) as pixel:
                copy_row(e, e.at(e.weights, 0), e.at(target, pixel * channels), channels)

    e = Emitter()
    with e.tiles() as tile:
        target = e.at(e.arena, e.out + tile * row_bytes)
        inside = tirx.all(tile >= top, tile < top + height)
        with e.when(tirx.Not(inside)):
            border(e, target, left + width + right)
        with e.when(inside):
            border(e, target, left)
            source = e.at(e.arena, e.in0 + (tile - top) * (width * channels))
            copy_row(e, source, e.at(target, left * channels), width * channels)
            border(e, e.at(target, (left + width) * channels), right)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        return Packed(np.ascontiguousarray(constants["pad_value"], np.int8)) if value is None else Packed()

    mcpu = MODELS[dict(tiling)[SCHEDULE]]
    return Kernel(workload, tiling, NAME, e.function(), top + height + bottom, 0, pack, mcpu)


def _copy(workload: Workload, tiling: Tiling) -> Kernel:
    """Copies pixel by pixel, shuffled or not; a row at once if it is contiguous on both sides."""
    height, width, channels = workload["height"], workload["width"], workload["channels"]
    pitch, row = workload["out_pitch"], workload["out_row"]
    rows = dict(workload.params).get("rows", 1)
    write = ShuffledWrite(channels, rows, 1)

    e = Emitter()
    with e.tiles() as tile:
        source = e.at(e.arena, e.in0 + tile * (width * channels))
        target = e.at(e.arena, e.out + tile * (row * pitch))
        if rows == 1 and pitch == channels:
            copy_row(e, source, target, width * channels)
        else:
            with e.loop(width) as pixel:
                write.pixel(e, e.at(source, pixel * channels), e.at(target, pixel * pitch), 0)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        return Packed(write.header)

    return Kernel(workload, tiling, NAME, e.function(), height, 0, pack, MODELS[dict(tiling)[SCHEDULE]])
