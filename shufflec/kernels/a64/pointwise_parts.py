"""The family of dense 1x1 convolutions whose output channels go to several tensors.

A workload `conv2d` with `parts`, ((channels, out_pitch), ...): the channels of each part in computed order, and the
bytes between pixels where it is written. The kernel is that of pointwise_conv2d.py but for its write (parted_write.py),
which is a small share of the work: a tiling that is fast for the plain convolution is so here, and is taken over.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shufflec.kernels.a64 import pointwise_conv2d
from shufflec.kernels.a64.parted_write import PartedWrite
from shufflec.kernels.a64.pointwise import Shape, build_pointwise
from shufflec.kernels.a64.scheduling import MODELS, SCHEDULE
from shufflec.kernels.kernel import Kernel, Packed, Workload

NAME = "a64-pointwise-parts-1"

Tiling = tuple[tuple[str, int], ...]


def accepts(workload: Workload) -> bool:
    """One group, 1x1, no residual, no shuffle; output rows without a margin."""
    params = dict(workload.params)
    if workload.kind != "conv2d" or "parts" not in params or "in_height" in params:
        return False
    plain = params["groups"] == 1 and params["shuffle_rows"] == 1 and not params["residual_multiplier"]
    return plain and params["out_row"] == params["width"]


def tuned_as(workload: Workload) -> tuple[Workload, str]:
    """The plain convolution, and the family, under whose records this one's tiling stands.

    Its output lies as the last part's does, as that of a convolution does which has only that part.
    """
    params = dict(workload.params)
    pitch = params.pop("parts")[-1][1]
    return Workload.of(workload.kind, workload.isa, **(params | {"out_pitch": pitch})), pointwise_conv2d.NAME


def tilings(workload: Workload) -> list[Tiling]:
    """Those of the plain convolution."""
    return pointwise_conv2d.tilings(tuned_as(workload)[0])


def default(workload: Workload, core: str) -> Tiling:
    """The plain convolution's."""
    return pointwise_conv2d.default(tuned_as(workload)[0], core)


def build(workload: Workload, tiling: Tiling) -> Kernel:
    """The kernel of a workload with one of `tilings`.

    Its accumulator constants end with an int32 for each part: zero when packed, and to be replaced by the part's byte
    offset in the arena.
    """
    chosen = dict(tiling)
    micro = pointwise_conv2d.micro_kernel(workload, tiling)
    shape: Shape = micro.shape
    biases = shape.rounds * shape.width if workload["accumulator_bias"] else 0
    write = PartedWrite(workload["parts"], shape.tile, biases)
    kernel = build_pointwise(workload, tiling, NAME, micro, MODELS[chosen[SCHEDULE]], write)

    def pack(constants: dict[str, np.ndarray]) -> Packed:
        packed = kernel.pack(constants)
        table = np.zeros(len(write.parts), np.int32)
        return replace(packed, accumulators=np.concatenate([packed.accumulators, table]))

    return replace(kernel, pack=pack)
