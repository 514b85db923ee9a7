"""Which kernel a Cortex-M workload gets: the first family of its ISA that accepts it, or plain loops."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from shufflec.kernels.kernel import Kernel, Workload
from shufflec.kernels.mcu import (
    dsp_depthwise,
    dsp_pointwise,
    dsp_pool,
    dsp_stem,
    loops_conv,
    loops_move,
    loops_window,
    mve_pointwise,
    mve_stem,
    mve_window,
)

#: Families by ISA, the preferred first: modules with accepts(workload) and build(workload).
FAMILIES: dict[str, tuple[ModuleType, ...]] = {
    "portable": (),
    "dsp": (dsp_pointwise, dsp_stem, dsp_depthwise, dsp_pool),
    "mve": (mve_pointwise, mve_stem, mve_window),
}

LOOPS: dict[str, Callable[[Workload], Kernel]] = {
    "conv2d": loops_conv.conv2d,
    "dense": loops_conv.dense,
    "stem_pool": loops_conv.stem_pool,
    "depthwise_conv2d": loops_window.depthwise_conv2d,
    "max_pool2d": loops_window.max_pool2d,
    "avg_pool2d": loops_window.avg_pool2d,
    "global_avg_pool": loops_window.global_avg_pool,
    "add": loops_move.weighted_sum,
    "requantize": loops_move.weighted_sum,
    "copy": loops_move.copy,
    "channel_shuffle": loops_move.copy,
    "border": loops_move.border,
}


def select(workload: Workload) -> Kernel:
    """The kernel of a workload of any kind and shape."""
    for family in FAMILIES[workload.isa]:
        if family.accepts(workload):
            return family.build(workload)
    return LOOPS[workload.kind](workload)
