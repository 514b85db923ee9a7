"""Grouped or dense 1x1 convolution: the loops, addresses and packing around a micro-kernel.

    for tile (pixels at once)                                    <- threads
      for group
        micro.begin_group        activations that stay in registers or scratch
        for block (4 * blocks outputs)
          micro.accumulate -> int32x4 accumulators -> Epilogue (rounding rule, store)
      shuffled write             only if the outputs went to scratch

Outputs are stored in place if the channels are written in computed order; a shuffled write (and fewer than four
outputs a group) goes through a scratch row per pixel. K and N need not be multiples of anything: missing input
channels have zero weights (the over-read bytes do not matter), the last block of outputs is moved back to end
with the group, computing some outputs twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shufflec.kernels.a64.emitter import Emitter, FarPointer, Pointer, Value
from shufflec.kernels.a64.geometry import OutputView, tile_count, tile_start
from shufflec.kernels.a64.parted_write import PartedWrite
from shufflec.kernels.a64.requantize import Epilogue, Rule, pack_pairs
from shufflec.kernels.a64.shuffled_write import ShuffledWrite
from shufflec.kernels.kernel import Kernel, Packed, Workload

WINDOW_STEP = np.array([FarPointer.SIZE, 0, 0, 0], np.int32).view(np.int8)


@dataclass(frozen=True)
class Shape:
    """depth: input channels a group (K); outputs: output channels a group (N); blocks: of 4 outputs at once."""

    pixels: int
    depth: int
    outputs: int
    groups: int
    tile: int
    blocks: int

    @staticmethod
    def of(workload: Workload, tile: int, blocks: int) -> Shape:
        groups = workload["groups"]
        pixels = workload["height"] * workload["width"]
        outputs = workload["out_channels"] // groups
        blocks = max(1, min(blocks, outputs // 4))
        return Shape(pixels, workload["in_channels"] // groups, outputs, groups, min(tile, pixels), blocks)

    @property
    def width(self) -> int:
        """Outputs that are computed at once."""
        return 4 * self.blocks

    @property
    def rounds(self) -> int:
        """Blocks that cover a group's outputs."""
        return tile_count(self.outputs, self.width)

    def first_output(self, e: Emitter, block: Value) -> Value:
        """First output, in its group, of a block."""
        if self.rounds == 1:
            return 0
        return tile_start(e, block, self.width, self.outputs)

    def channels(self) -> np.ndarray:
        """The computed channel of every output: int64 (groups, rounds, width), -1 for none."""
        starts = np.minimum(np.arange(self.rounds) * self.width, max(self.outputs - self.width, 0))
        local = starts[:, None] + np.arange(self.width)
        every = local + self.outputs * np.arange(self.groups)[:, None, None]
        return np.where(local < self.outputs, every, -1)


class MicroKernel(ABC):
    """Computes `4 * blocks` outputs of `tile` pixels of one group. Subclasses: pointwise_*.py."""

    #: Constants at the start of the packed weights; the first four bytes are the step of emitter.FarPointer.
    header = WINDOW_STEP
    #: What requantizes and stores the sums, and packs its constants.
    epilogue: type = Epilogue
    pack_requant: Callable[[np.ndarray, dict[str, np.ndarray]], np.ndarray] = staticmethod(pack_pairs)

    def __init__(self, shape: Shape):
        self.shape = shape

    def scratch_bytes(self) -> int:
        """Scratch that begin_group needs."""
        return 0

    def begin_group(self, e: Emitter, inputs: list[Pointer], scratch: Pointer | None) -> None:
        """Reads what stays for all outputs of the group: nothing, for most."""
        del e, inputs, scratch

    def load_start(self, e: Emitter, biases: Pointer) -> object:
        """What `accumulate` takes as start: the accumulator bias int32x4 of each block."""
        return [e.load(biases, 4 * j, "int32x4") for j in range(self.shape.blocks)]

    @abstractmethod
    def accumulate(self, e: Emitter, inputs: list[Pointer], weights: Pointer, start: object, push) -> None:
        """Calls push(block, [int32x4 per pixel]) for every block, in order. start: of load_start; None for zero."""

    @abstractmethod
    def pack(self, weight: np.ndarray) -> np.ndarray:
        """int8 (..., 4 * blocks, depth) to int8 (..., bytes) in the order that accumulate reads."""


def build_pointwise(
    workload: Workload,
    tiling,
    family: str,
    micro: MicroKernel,
    llvm_mcpu: str,
    write: ShuffledWrite | PartedWrite | None = None,
) -> Kernel:
    """The kernel of a workload `conv2d` without a window around a micro-kernel.

    write: how outputs leave scratch; None for what the workload's shuffle needs, which may be no scratch at all.
    """
    shape = micro.shape
    rule, view = Rule.of(workload), OutputView.of(workload)
    channels = workload["out_channels"]
    rows = workload["shuffle_rows"]
    if write is None and (rows > 1 or shape.outputs < 4):
        write = ShuffledWrite(channels, rows, shape.tile)
    row_bytes = write.row_bytes if write else 0
    micro_scratch = shape.tile * row_bytes
    header = np.concatenate([micro.header, write.header if write else np.zeros(0, np.int8)])
    index = shape.channels()
    sample = micro.pack(np.zeros((shape.width, shape.depth), np.int8))
    pairs = (shape.blocks + 1) // 2

    e = Emitter()
    in_channels = workload["in_channels"]
    window_step = e.load(e.cast(e.weights, "int32"), 0, "int32")
    with e.tiles() as tile:
        first = tile_start(e, tile, shape.tile, shape.pixels)
        offsets = view.pixel_offsets(e, first, shape.tile) if not write else None
        with e.loop(shape.groups) as group:
            base = e.at(e.arena, e.in0 + first * in_channels + group * shape.depth)
            inputs = [e.at(base, p * in_channels) for p in range(shape.tile)]
            scratch = None
            if micro.scratch_bytes():
                scratch = FarPointer(e.at(e.arena, e.scratch + micro_scratch), window_step)
            micro.begin_group(e, inputs, scratch)
            with e.loop(shape.rounds) as block:
                number = group * shape.rounds + block
                output = e.bind(group * shape.outputs + shape.first_output(e, block))
                if write:
                    row = e.at(e.arena, e.scratch + output)
                    outputs = [e.at(row, p * row_bytes) for p in range(shape.tile)]
                else:
                    outputs = view.pointers(e, offsets, output)
                residuals = None
                if rule.residual_multiplier:
                    residual = e.at(e.arena, e.in1 + first * channels + output)
                    residuals = [e.at(residual, p * channels) for p in range(shape.tile)]
                start = None
                if workload["accumulator_bias"]:
                    start = micro.load_start(e, e.at(e.accumulators, number * shape.width))
                requant = e.at(e.requant, number * (pairs * rule.pair_stride))
                epilogue = micro.epilogue(e, rule, shape.blocks, requant, outputs, residuals)
                weights = e.at(e.weights, number * len(sample) + len(header))
                micro.accumulate(e, inputs, FarPointer(weights, window_step), start, epilogue.push)
        if write:
            write.emit(e, view, first, len(micro.header))

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        weight = constants["weight"].reshape(channels, shape.depth)
        weight = np.concatenate([weight, np.zeros((1, shape.depth), np.int8)])[index]
        bias = np.append(constants["accumulator_bias"], 0)[index].astype(np.int32).reshape(-1)
        return Packed(
            np.concatenate([header, micro.pack(weight).reshape(-1)]).astype(np.int8),
            micro.pack_requant(index, constants),
            bias if workload["accumulator_bias"] else np.zeros(0, np.int32),
        )

    tiles, scratch_bytes = tile_count(shape.pixels, shape.tile), micro_scratch + micro.scratch_bytes()
    return Kernel(workload, tiling, family, e.function(), tiles, scratch_bytes, pack, llvm_mcpu)
