"""Which kernel a workload gets: the first family of its ISA that accepts it, or plain loops."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from shufflec.kernels.a64 import (
    dense,
    depthwise,
    global_pooling,
    movement,
    pointwise_conv2d,
    pooling,
    quantize,
    stem,
    weighted_sum,
)
from shufflec.kernels.kernel import Kernel, Workload
from shufflec.kernels.portable import families as portable

#: Hand-shaped families by ISA, the preferred first. A family is a module with NAME, accepts(workload),
#: tilings(workload) (the default first) and build(workload, tiling).
A64 = (pointwise_conv2d, stem, depthwise, pooling, global_pooling, dense, quantize, movement, weighted_sum)
FAMILIES: dict[str, tuple[ModuleType, ...]] = {"portable": (), "neon": A64, "dotprod": A64}

Tiling = tuple[tuple[str, int], ...]


def select(workload: Workload, records: Mapping[str, tuple[str, Tiling]] | None = None) -> Kernel:
    """The kernel of a workload. records: workload key -> (family name, tiling), from tuning."""
    family_name, tiling = (records or {}).get(workload.key, ("", ()))
    accepting = [family for family in FAMILIES[workload.isa] if family.accepts(workload)]
    for family in accepting:
        if family_name == family.NAME and tiling in family.tilings(workload):
            return family.build(workload, tiling)
    for family in accepting[:1]:
        return family.build(workload, family.tilings(workload)[0])
    return portable.build(workload)
