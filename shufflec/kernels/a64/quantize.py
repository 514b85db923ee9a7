"""Quantizes the float32 NCHW input of three channels to a bordered int8 NHWC plane; a tile is a row of the plane.

FMUL by the reciprocal scale, FCVTNS (round half to even, saturating), SQXTN to int16, SQADD of the zero point, SQXTN
to int8, ST3. Saturation makes the order of rounding and zero point the reference's for every finite input.
"""

from __future__ import annotations

import numpy as np
from tvm import tirx

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.geometry import tile_count, tile_start
from shufflec.kernels.a64.moving import fill_row
from shufflec.kernels.a64.scheduling import MODELS, SCHEDULE, models
from shufflec.kernels.kernel import Kernel, Packed, Workload

NAME = "a64-quantize-1"
PIXELS = 16
CHANNELS = 3

Tiling = tuple[tuple[str, int], ...]


def accepts(workload: Workload) -> bool:
    """Three channels, at least 16 pixels a row."""
    return workload.kind == "quantize" and workload["channels"] == CHANNELS and workload["width"] >= PIXELS


def tilings(workload: Workload) -> list[Tiling]:
    """Only the scheduling model."""
    return [((SCHEDULE, model),) for model in models(workload)]


def build(workload: Workload, tiling: Tiling) -> Kernel:
    """The kernel of a workload with one of `tilings`."""
    height, width, zero_point = workload["height"], workload["width"], workload["zero_point"]
    top, left, bottom, right = workload["pad"]
    row_bytes = (left + width + right) * CHANNELS
    pixels = 2 * PIXELS if width >= 2 * PIXELS else PIXELS
    inverse = float(np.float32(1.0) / np.float32(float.fromhex(workload["scale"])))

    e = Emitter()
    source = e.cast(e.weights, "float32")
    with e.tiles() as tile:
        target = e.at(e.arena, e.out + tile * row_bytes)
        inside = tirx.all(tile >= top, tile < top + height)
        with e.when(tirx.Not(inside)):
            fill_row(e, target, row_bytes, zero_point)
        with e.when(inside):
            fill_row(e, target, left * CHANNELS, zero_point)
            fill_row(e, e.at(target, (left + width) * CHANNELS), right * CHANNELS, zero_point)
            with e.loop(tile_count(width, pixels)) as step:
                first = tile_start(e, step, pixels, width)
                scale = e.splat(tirx.const(inverse, "float32"), "float32x4")
                planes = e.at(source, (tile - top) * width + first)
                sources = [e.at(planes, c * height * width) for c in range(CHANNELS)]
                there = e.at(target, (first + left) * CHANNELS)
                for pixel in range(0, pixels, PIXELS):
                    registers = [_sixteen(e, plane, pixel, scale, zero_point) for plane in sources]
                    e.store_interleaved(registers, there, pixel * CHANNELS)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        return Packed()

    tiles = top + height + bottom
    return Kernel(workload, tiling, NAME, e.function(), tiles, 0, pack, MODELS[dict(tiling)[SCHEDULE]])


def _sixteen(e: Emitter, source: Pointer, pixel: int, scale: Value, zero_point: int) -> Value:
    """16 floats from `pixel` on to int8x16."""
    parts = []
    for first in (0, 8):
        words = []
        for at in (first, first + 4):
            scaled = e.bind(tirx.Mul(e.load(source, pixel + at, "float32x4"), scale), "float32x4")
            words.append(e.op("sqxtn", "int16x4", e.op("fcvtns", "int32x4", scaled)))
        half = e.combine(words[0], words[1], "int16x8")
        if zero_point:
            half = e.op("sqadd", "int16x8", half, e.splat(zero_point, "int16x8"))
        parts.append(e.op("sqxtn", "int8x8", half))
    return e.combine(parts[0], parts[1], "int8x16")
