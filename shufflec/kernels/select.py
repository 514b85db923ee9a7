"""Which kernel a workload gets: the first family of its ISA that accepts it, or plain loops."""

from __future__ import annotations

from types import ModuleType

from shufflec.kernels.a64 import (
    dense,
    depthwise,
    depthwise_dot,
    global_pooling,
    movement,
    pointwise_conv2d,
    pointwise_parts,
    pooling,
    quantize,
    stem,
    stem_pool,
    weighted_sum,
)
from shufflec.kernels.kernel import Kernel, Workload
from shufflec.kernels.portable import families as portable
from shufflec.kernels.records import Records

#: Hand-shaped families by ISA, the preferred first. A family is a module with NAME, accepts(workload),
#: tilings(workload) (the default first) and build(workload, tiling); default(workload, core), if it has that, is the
#: one of its tilings that a core such as "cortex-a53" gets without a record; tuned_as(workload), if it has that, names
#: the workload and the family whose records hold for this one.
A64 = (
    pointwise_conv2d,
    pointwise_parts,
    stem,
    stem_pool,
    depthwise_dot,
    depthwise,
    pooling,
    global_pooling,
    dense,
    quantize,
    movement,
    weighted_sum,
)
FAMILIES: dict[str, tuple[ModuleType, ...]] = {"portable": (), "neon": A64, "dotprod": A64}


def families(workload: Workload) -> list[ModuleType]:
    """The hand-shaped families that accept a workload, the preferred first; none where plain loops have to do."""
    return [family for family in FAMILIES[workload.isa] if family.accepts(workload)]


def tuned_as(workload: Workload, family: ModuleType) -> tuple[Workload, str]:
    """(workload, name and version of the family) that a workload's record is looked up by."""
    stand_in = getattr(family, "tuned_as", None)
    return stand_in(workload) if stand_in else (workload, family.NAME)


def is_hand_shaped(workload: Workload) -> bool:
    """Whether a family of kernels takes a workload, which plain loops might not (`pad`, `in_place`)."""
    return workload.isa in FAMILIES and bool(families(workload))


def select(workload: Workload, records: Records | None = None) -> Kernel:
    """The kernel of a workload; with the tiling of its record where one of `records` fits."""
    return Selection(records)(workload)


class Selection:
    """Selects kernels and keeps which came from records. tuned: the record's file by workload. core: the target's."""

    def __init__(self, records: Records | None = None, core: str = ""):
        self._records, self._core = records or Records(), core
        self.tuned: dict[Workload, str] = {}

    def __call__(self, workload: Workload) -> Kernel:
        """The kernel of a workload. A record whose tiling its family does not have is left alone."""
        for family in families(workload)[:1]:
            tilings = family.tilings(workload)
            found = self._records.find(*tuned_as(workload, family))
            if found is None or found[0].choice not in tilings:
                choose = getattr(family, "default", None)
                return family.build(workload, choose(workload, self._core) if choose else tilings[0])
            self.tuned[workload] = found[1]
            return family.build(workload, found[0].choice)
        return portable.build(workload)
