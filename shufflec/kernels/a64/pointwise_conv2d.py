"""The family of 1x1 convolutions, grouped or dense: picks the micro-kernel that a tiling names."""

from __future__ import annotations

from shufflec.kernels.a64 import pointwise_cost
from shufflec.kernels.a64.pointwise import MicroKernel, Shape, build_pointwise
from shufflec.kernels.a64.pointwise_chains import ChainsMicroKernel
from shufflec.kernels.a64.pointwise_dot import DotMicroKernel
from shufflec.kernels.a64.pointwise_lanes import LanesMicroKernel
from shufflec.kernels.a64.pointwise_pairs import PairsMicroKernel
from shufflec.kernels.a64.scheduling import MODELS, SCHEDULE, models
from shufflec.kernels.kernel import Kernel, Workload

NAME = "a64-pointwise-2"
RESCHEDULED = 4  # tilings that are also tried with other scheduling models

Tiling = tuple[tuple[str, int], ...]


def accepts(workload: Workload) -> bool:
    """1x1, stride 1, no padding; `height` without `in_height` says so."""
    params = dict(workload.params)
    pointwise = workload.kind == "conv2d" and "in_height" not in params and "parts" not in params
    return pointwise and (not params.get("in_place") or pointwise_cost.overwrites(workload))


def tilings(workload: Workload) -> list[Tiling]:
    """Tilings worth measuring, the default first; the best ones also with other scheduling models."""
    shapes, schedules = pointwise_cost.tilings(workload), models(workload)
    first = [(*shape, (SCHEDULE, schedules[0])) for shape in shapes]
    return first + [(*shape, (SCHEDULE, model)) for model in schedules[1:] for shape in shapes[:RESCHEDULED]]


def default(workload: Workload, core: str) -> Tiling:
    """The tiling for a core, as in "cortex-a53", that has no record."""
    return (*pointwise_cost.default(workload, core), (SCHEDULE, models(workload)[0]))


def build(workload: Workload, tiling: Tiling) -> Kernel:
    """The kernel of a workload with one of `tilings`."""
    return build_pointwise(workload, tiling, NAME, micro_kernel(workload, tiling), MODELS[dict(tiling)[SCHEDULE]])


def micro_kernel(workload: Workload, tiling: Tiling) -> MicroKernel:
    """What computes the sums of a tile, as a tiling says."""
    chosen = dict(tiling)
    shape = Shape.of(workload, chosen["pixels"], chosen["blocks"])
    full_range = bool(dict(workload.params).get("full_range_weights", False))
    if chosen["form"] == pointwise_cost.DOT:
        return DotMicroKernel(shape)
    if chosen["form"] == pointwise_cost.LANES:
        return LanesMicroKernel(shape, full_range)
    if chosen["form"] == pointwise_cost.CHAINS:
        return ChainsMicroKernel(shape)
    return PairsMicroKernel(shape, chosen["form"] == pointwise_cost.RESIDENT, full_range)
