"""The first convolution: a window over few channels, such as 3x3 over three, gathered with table lookups.

A row of the window is contiguous in NHWC (9 bytes for 3x3x3). The rows, one 16-byte load each, are the table of a
TBL that gathers all taps at once in the form of the micro-kernels of the 1x1 convolution: pairs expanded for four
outputs (NEON), or 16 taps a register for SDOT by element. An index of 255 gives the zero that pads the taps to a
multiple of four.

    for tile (output row)                                        <- threads
      for step of pixels in the row
        gather; all blocks of outputs from registers
"""

from __future__ import annotations

import numpy as np

from shufflec.kernels.a64.emitter import Emitter, Pointer, Value
from shufflec.kernels.a64.geometry import tile_count, tile_start
from shufflec.kernels.a64.pointwise import Shape
from shufflec.kernels.a64.pointwise_cost import epilogue_cost
from shufflec.kernels.a64.pointwise_dot import DotMicroKernel
from shufflec.kernels.a64.pointwise_pairs import PairsMicroKernel
from shufflec.kernels.a64.requantize import Rule
from shufflec.kernels.a64.scheduling import MODELS, SCHEDULE, models
from shufflec.kernels.kernel import Kernel, Packed, Workload

NAME = "a64-stem-1"
ROW = 16
QUAD = 4
MAX_ROWS = 4  # TBL takes up to four registers
MAX_PIXELS = 6
MAX_BLOCKS = 8
REGISTERS = 32
MOST, RESCHEDULED = 8, 3  # tilings with the usual scheduling model, and with each of the others

Tiling = tuple[tuple[str, int], ...]


def accepts(workload: Workload) -> bool:
    """A dense window of at most four rows of 16 bytes, written in order without a residual."""
    params = dict(workload.params)
    if workload.kind != "conv2d" or "in_height" not in params or "pad" in params:
        return False
    rows, columns = params["kernel"]
    fits = rows <= MAX_ROWS and columns * params["in_channels"] <= ROW and params["out_channels"] >= 4
    plain = params["groups"] == 1 and params["shuffle_rows"] == 1 and not params["residual_multiplier"]
    return fits and plain


def tilings(workload: Workload) -> list[Tiling]:
    """Pixels and blocks of four outputs at once, by an instruction count, and the scheduling model."""
    rows, columns = workload["kernel"]
    taps = rows * columns * workload["in_channels"]
    quads, width = -(-taps // QUAD), workload["width"]
    found = []
    for pixels in range(1, min(MAX_PIXELS, width) + 1):
        for blocks in range(1, min(MAX_BLOCKS, workload["out_channels"] // 4) + 1):
            rounds = tile_count(workload["out_channels"], 4 * blocks)
            if workload.isa == "dotprod":
                registers = pixels * (blocks + 1) + 4  # LLVM reloads a second row of taps cheaply
                inner = quads * (pixels * blocks + (blocks + 1) // 2) + pixels * blocks
                gather = pixels * (rows + -(-quads // QUAD)) + 2
            else:
                registers = pixels * (quads + 3) + 3
                inner = blocks * (3 * pixels * quads + (quads + 1) // 2)
                gather = pixels * (rows + quads) + quads
            if registers <= REGISTERS:
                step = gather + rounds * (inner + epilogue_cost(pixels, blocks, False) + 6) + 8
                found.append((tile_count(width, pixels) * step, pixels, blocks))
    shapes = [(("pixels", pixels), ("blocks", blocks)) for _, pixels, blocks in sorted(found)]
    usual, *others = models(workload)
    tilings = [(*shape, (SCHEDULE, usual)) for shape in shapes[:MOST]]
    return tilings + [(*shape, (SCHEDULE, model)) for model in others for shape in shapes[:RESCHEDULED]]


class _PairsGather(PairsMicroKernel):
    """NEON: expanded pairs straight from the window's rows."""

    def __init__(self, shape: Shape, taps: np.ndarray, full_range: bool):
        super().__init__(shape, resident=True, full_range=full_range)
        lanes = np.arange(ROW)
        self.header = _table(taps, QUAD * np.arange(self.quads)[:, None] + lanes % 2 + 2 * (lanes >= 8))

    def gather(self, e: Emitter, windows: list[list[Value]], index: Pointer) -> None:
        tables = list(e.load_pairs(index, 0, ROW, self.quads, "int8x16"))
        for pixel, rows in enumerate(windows):
            for quad, table in enumerate(tables):
                self.activations[pixel, quad] = e.op(f"tbl{len(rows)}", "int8x16", *rows, table)


class _DotGather(DotMicroKernel):
    """Dot product: 16 taps a register."""

    def __init__(self, shape: Shape, taps: np.ndarray):
        super().__init__(shape)
        self.table_at = len(self.header)
        table = _table(taps, np.arange(-(-self.quads // QUAD) * ROW).reshape(-1, ROW))
        self.header = np.concatenate([self.header, table])
        self.gathered: dict[tuple[int, int], Value] = {}

    def gather(self, e: Emitter, windows: list[list[Value]], index: Pointer) -> None:
        for row in range(-(-self.quads // QUAD)):
            table = e.load(index, self.table_at + row * ROW, "int8x16")
            for pixel, rows in enumerate(windows):
                self.gathered[row, pixel] = e.op(f"tbl{len(rows)}", "int8x16", *rows, table)

    def _activations(self, e: Emitter, inputs: list[Pointer], row: int) -> list[Value]:
        return [self.gathered[row, pixel] for pixel in range(self.shape.tile)]


def _table(taps: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Byte positions of taps by number; numbers behind the last tap give 255."""
    padded = np.concatenate([taps, np.full(index.max() + 1, 255)])
    return padded[index].astype(np.uint8).view(np.int8).reshape(-1)


def build(workload: Workload, tiling: Tiling) -> Kernel:
    """The kernel of a workload with one of `tilings`."""
    chosen = dict(tiling)
    (rows, columns), (stride_y, stride_x) = workload["kernel"], workload["stride"]
    depth, outputs, width = workload["in_channels"], workload["out_channels"], workload["width"]
    row_taps = columns * depth
    taps = (np.arange(rows)[:, None] * ROW + np.arange(row_taps)).reshape(-1)
    shape = Shape(width, len(taps), outputs, 1, chosen["pixels"], chosen["blocks"])
    full_range = bool(dict(workload.params).get("full_range_weights", False))
    micro = _DotGather(shape, taps) if workload.isa == "dotprod" else _PairsGather(shape, taps, full_range)
    rule, pitch, in_width = Rule.of(workload), workload["out_pitch"], workload["in_width"]
    sample = len(micro.pack(np.zeros((shape.width, shape.depth), np.int8)))
    pairs = (shape.blocks + 1) // 2
    biased = workload["accumulator_bias"]

    e = Emitter()
    with e.tiles() as line, e.loop(tile_count(width, shape.tile)) as step:
        first = tile_start(e, step, shape.tile, width)
        source = e.at(e.arena, e.in0 + (line * (stride_y * in_width) + first * stride_x) * depth)
        lines = [e.at(source, i * in_width * depth) for i in range(rows)]
        windows = [[e.load(at, p * stride_x * depth, "int8x16") for at in lines] for p in range(shape.tile)]
        micro.gather(e, windows, e.at(e.weights, 0))
        target = e.bind(e.out + (line * workload["out_row"] + first) * pitch)
        with e.loop(shape.rounds) as block:
            channel = shape.first_output(e, block)
            base = e.at(e.arena, target + channel)
            start = None
            if biased:
                start = micro.load_start(e, e.at(e.accumulators, block * shape.width))
            requant = e.at(e.requant, block * (pairs * rule.pair_stride))
            outputs_at = [e.at(base, p * pitch) for p in range(shape.tile)]
            epilogue = micro.epilogue(e, rule, shape.blocks, requant, outputs_at, None)
            weights = e.at(e.weights, block * sample + len(micro.header))
            micro.accumulate(e, [], weights, start, epilogue.push)

    index = shape.channels()

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        weight = constants["weight"].reshape(outputs, len(taps))[index]
        bias = constants["accumulator_bias"][index].astype(np.int32).reshape(-1)
        return Packed(
            np.concatenate([micro.header, micro.pack(weight).reshape(-1)]).astype(np.int8),
            micro.pack_requant(index, constants),
            bias if biased else np.zeros(0, np.int32),
        )

    return Kernel(workload, tiling, NAME, e.function(), workload["height"], 0, pack, MODELS[chosen[SCHEDULE]])
