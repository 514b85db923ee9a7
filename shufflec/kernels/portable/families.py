"""The portable kernel of each operator kind: one explicit table."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from shufflec.kernels.kernel import Kernel, Workload
from shufflec.kernels.portable import (
    avg_pool,
    boundary,
    conv2d,
    dense,
    depthwise,
    global_avg_pool,
    max_pool,
    movement,
    weighted_sum,
)

#: Kernels whose family name starts so are plain loops: they take the longer TIR pipeline.
PREFIX = "portable-"

BUILDERS: dict[str, Callable[[Workload], Kernel]] = {
    "quantize": boundary.build,
    "conv2d": conv2d.build,
    "depthwise_conv2d": depthwise.build,
    "max_pool2d": max_pool.build,
    "avg_pool2d": avg_pool.build,
    "global_avg_pool": global_avg_pool.build,
    "dense": dense.build,
    "add": weighted_sum.build,
    "requantize": weighted_sum.build,
    "channel_slice": movement.build,
    "channel_shuffle": movement.build,
    "copy": movement.build,
    "pad": movement.build,
    "dequantize": boundary.build,
}


@lru_cache(maxsize=1024)
def build(workload: Workload) -> Kernel:
    """The portable kernel of a workload of any kind and any shape."""
    return BUILDERS[workload.kind](workload)
