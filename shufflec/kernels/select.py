"""Which kernel a workload gets: the first family of its ISA that accepts it, or plain loops."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from shufflec.kernels.kernel import Kernel, Workload
from shufflec.kernels.portable import families as portable

#: Hand-shaped families by ISA, the preferred first. A family is a module with NAME, accepts(workload),
#: tilings(workload) (the default first) and build(workload, tiling).
FAMILIES: dict[str, tuple[ModuleType, ...]] = {"portable": (), "neon": (), "dotprod": ()}

Tiling = tuple[tuple[str, int], ...]


def select(workload: Workload, records: Mapping[str, tuple[str, Tiling]] | None = None) -> Kernel:
    """The kernel of a workload. records: workload key -> (family name, tiling), from tuning."""
    recorded = (records or {}).get(workload.key)
    for family in FAMILIES[workload.isa]:
        if not family.accepts(workload):
            continue
        tilings = family.tilings(workload)
        if recorded is not None and recorded[0] == family.NAME and recorded[1] in tilings:
            return family.build(workload, recorded[1])
        if recorded is None or recorded[0] != family.NAME:
            return family.build(workload, tilings[0])
    return portable.build(workload)
